"""Answers to be kept, and where."""

from understudy import clock
from understudy.cache import Entry, Slot, digest
from understudy.cache.entry import packed
from understudy.canon import Usage


def slot(name="one", route="gpt", key="k1"):
    return Slot(route, key, digest(name.encode(), route.encode(), key.encode()))


def entry(place, body=b"An answer.", *, ttl=60.0):
    now = clock.wall()
    headers = [(b"content-type", b"application/json")]
    return Entry(place.digest, "ex_1", "first/ok", now, now + ttl, headers, body, Usage(3, 4, extra={"told": "x"}))


def data(place, body=b"An answer.", *, ttl=60.0):
    return packed(entry(place, body, ttl=ttl))
