"""What the replicas of an installation know of each other's findings: the last word on each thing, and the wire's form.

A word is about one thing: the cooldown of one scope, the breaker of one place, whether one model is drained. The word
spoken last counts, whoever hears it when (a last-writer-wins map, as in Shapiro et al., "Conflict-free replicated data
types"), so messages may come late, twice, or again from storage after a replica was cut off.

Spoken when? By one clock, Redis', which `sharing.py` compares with this process' own: times here are `clock.monotonic`
seconds, those on the wire are Redis' Unix time, and the replicas' own wall clocks are never asked. Pure.
"""

from __future__ import annotations

import functools
import hashlib
import ipaddress
import math
import socket
from collections.abc import Iterable
from typing import Annotated, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta

from understudy.resilience import Change, Place, table
from understudy.resilience.faults import Scope

VERSION: Final = 1

LONGEST = 31 * 86400.0
"""Seconds that a word about something running may hold, unless it is open-ended; longer than an operator can say."""

REMEMBERED = 3600.0
"""Seconds for which the end of something is remembered, so that a replica that was cut off does not bring it back."""

AHEAD = 5.0
"""Seconds by which a word may seem to come from the future. With more, it would be the last one for ever."""

MOST = 4096
"""Things that are remembered. Others' words about further ones are refused, own ones displace the oldest."""

OWN = frozenset({"unreachable", "untrusted", "no_credentials", "address_refused", "region_refused"})
"""Kinds of fault that speak of where this replica stands and not of the provider: another may fare better. A replica
whose own network is broken must not take every provider from all the others.
"""

Name = tuple[str, ...]

_Word = Annotated[str, Meta(max_length=512)]
_Moment = Annotated[float, Meta(ge=0, le=1e11)]
_Amount = Annotated[float, Meta(ge=0, le=1e13)]
_Id = Annotated[str, Meta(min_length=1, max_length=32)]

What = Literal["cooldown", "cooldown_over", "breaker_open", "breaker_closed", "drained", "reopened"]

_ENDS = frozenset({"cooldown_over", "breaker_closed", "reopened"})


class Spot(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Place` on the wire. `machine` is set where its address means something on one machine only."""

    provider: _Word
    model: _Word
    endpoint: _Word = ""
    key: _Word = ""
    machine: _Id | None = None

    def place(self) -> Place:
        return Place(self.provider, self.model, self.endpoint, self.key)


class Word(msgspec.Struct, frozen=True, omit_defaults=True):
    """A `Change`, said `at` by Redis' clock and true `until` then; None: open-ended, or an end."""

    what: What
    spot: Spot
    at: _Moment
    scope: Scope = "key-model"
    kind: Annotated[str, Meta(max_length=64)] = ""
    until: _Moment | None = None


class Window(msgspec.Struct, frozen=True):
    """One of `Quotas.left`."""

    name: Annotated[str, Meta(max_length=64)]
    limit: _Amount
    left: _Amount
    full_in: Annotated[float, Meta(ge=0, le=LONGEST)]


class Rest(msgspec.Struct, frozen=True):
    """What was left of a place's limits `at`, by Redis' clock."""

    spot: Spot
    at: _Moment
    windows: Annotated[list[Window], Meta(max_length=16)]


class Message(msgspec.Struct, frozen=True, omit_defaults=True):
    """What goes over the channel, and what is stored. With neither `word` nor `rest` it only says that `by` lives."""

    v: Literal[1]
    by: _Id
    word: Word | None = None
    rest: Rest | None = None


class Entry(msgspec.Struct, frozen=True):
    """A word as this process keeps it, in its own seconds. `until` is infinite for what is open-ended."""

    change: Change
    at: float
    until: float

    @property
    def over(self) -> bool:
        return self.change.what in _ENDS

    def running(self, now: float) -> bool:
        return not self.over and self.until > now

    def kept(self, now: float) -> float:
        """The seconds for which it is worth keeping; not above zero: no longer."""
        left = self.at + REMEMBERED - now if self.over else self.until - now
        return min(left, LONGEST)


class Words:
    """The last word on each thing, own and heard."""

    def __init__(self) -> None:
        self.entries: dict[Name, Entry] = {}

    def said(self, change: Change, now: float) -> list[Name]:
        """Note what happened here; returns the names of what others are to know of it."""
        what, place = change.what, change.place
        if what == "limited" or (change.kind != "operator" and (change.kind in OWN or embedded(place))):
            return []
        if what == "reopened":
            ended = [
                (name, msgspec.structs.replace(self.entries[name].change, what=_END[name[0]], seconds=None))
                for name in _under(place)
                if name in self.entries and self.entries[name].running(now)
            ]
            return [self._note(name, Entry(end, now, 0.0)) for name, end in (*ended, (_drain(place), change))]
        name = name_of(change)
        if what in _ENDS:
            known = self.entries.get(name)
            if known is None or known.over:
                return []  # nobody was told that it began
            return [self._note(name, Entry(change, now, 0.0))]
        return [self._note(name, Entry(change, now, math.inf if change.seconds is None else now + change.seconds))]

    def heard(self, entry: Entry, now: float) -> Name | None:
        """Take over what another has said; None if this is known better, or there is no more room."""
        name = name_of(entry.change)
        known = self.entries.get(name)
        if known is not None and known.at >= entry.at:
            return None
        if known is None and len(self.entries) >= MOST:
            self.tidy(now)
            if len(self.entries) >= MOST:
                return None
        self.entries[name] = entry
        return name

    def tidy(self, now: float) -> None:
        """Forget what no longer matters."""
        for name in [name for name, entry in self.entries.items() if entry.kept(now) <= 0]:
            del self.entries[name]

    def _note(self, name: Name, entry: Entry) -> Name:
        if name not in self.entries and len(self.entries) >= MOST:
            self.tidy(entry.at)
            if len(self.entries) >= MOST:
                del self.entries[next(iter(self.entries))]
        self.entries[name] = entry
        return name


_END: dict[str, Literal["cooldown_over", "breaker_closed", "reopened"]] = {
    "cooldown": "cooldown_over",
    "breaker": "breaker_closed",
    "drain": "reopened",
}
_SCOPES: tuple[Scope, ...] = ("endpoint", "key", "key-model", "account", "model", "provider")


def name_of(change: Change) -> Name:
    """What `change` is about."""
    if change.what in ("drained", "reopened"):
        return _drain(change.place)
    if change.what in ("breaker_open", "breaker_closed"):
        return _breaker(change.place)
    return ("cooldown", machine_of(change.place) or "", *change.place.within(change.scope))


def rest_name(place: Place) -> Name:
    """The name under which what is left of `place`'s limits is kept."""
    return ("rest", machine_of(place) or "", place.provider, place.model, place.endpoint, place.key)


def key_of(name: Name) -> str:
    """A name of fixed length for `name`, whatever clients call their models."""
    return hashlib.sha256("\0".join(name).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def _drain(place: Place) -> Name:
    return ("drain", "", place.provider, place.model)


def _breaker(place: Place) -> Name:
    return ("breaker", machine_of(place) or "", place.provider, place.model, place.endpoint, place.key)


def _under(place: Place) -> Iterable[Name]:
    """The names of all that may keep calls from `place`, besides being drained."""
    yield _breaker(place)
    for scope in _SCOPES:
        yield ("cooldown", machine_of(place) or "", *place.within(scope))


# -- where a place means the same ------------------------------------------------------------------------------------


def embedded(place: Place) -> bool:
    """Whether `place` is an engine inside this very gateway, which no other replica has anything to do with."""
    return "://" not in place.endpoint


@functools.cache
def this_machine() -> str:
    """A name for this machine that tells nobody what it is called."""
    return hashlib.sha256(socket.gethostname().encode("utf-8", "surrogatepass")).hexdigest()[:16]


def machine_of(place: Place) -> str | None:
    """This machine, if `place`'s address is one that each machine has for itself."""
    return this_machine() if _loopback(place.endpoint) else None


@functools.lru_cache(1024)
def _loopback(endpoint: str) -> bool:
    host = urlsplit(endpoint).hostname if "://" in endpoint else None
    try:
        return host is not None and (host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        return False


# -- the wire -------------------------------------------------------------------------------------------------------

LARGEST = 8192
"""Bytes of a message; one of ours with the longest names has about 5,000."""

_decoder = msgspec.json.Decoder(Message)


class RefusedError(ValueError):
    """A message that is none of ours, or says what cannot be."""


def read(data: object) -> Message:
    """Parse what the channel or the store gave. Raises RefusedError: whoever can write there can write anything."""
    if not isinstance(data, bytes) or len(data) > LARGEST:
        raise RefusedError("not bytes, or too many")
    try:
        message = _decoder.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError("not a message") from error
    word = message.word
    if word is not None and word.what not in _ENDS:
        if word.until is not None and word.until - word.at > LONGEST:
            raise RefusedError("too long")
        if word.until is None and word.what == "breaker_open":
            raise RefusedError("a breaker without an end")
    return message


def spot_of(place: Place) -> Spot:
    return Spot(place.provider, place.model, place.endpoint, place.key, machine_of(place))


def word_of(entry: Entry, offset: float) -> Word:
    """`entry` for the wire. `offset` is what Redis' clock shows more than `clock.monotonic`."""
    change = entry.change
    until = None if entry.over or math.isinf(entry.until) else entry.until + offset
    what = change.what
    assert what != "limited"  # or else `said` would not have noted it
    return Word(what, spot_of(change.place), entry.at + offset, change.scope, change.kind, until)


def entry_of(word: Word, offset: float, now: float) -> Entry:
    """A word from the wire in this process' seconds. Raises RefusedError if it comes from the future."""
    at = word.at - offset
    if at > now + AHEAD:
        raise RefusedError("from the future")
    over = word.what in _ENDS
    until = 0.0 if over else math.inf if word.until is None else word.until - offset
    kind = word.kind if not word.kind or word.kind in table().kinds else "unknown"  # a newer replica may know more
    seconds = None if over or word.what == "drained" else until - now
    return Entry(Change(word.what, word.spot.place(), word.scope, kind, seconds), min(at, now), until)
