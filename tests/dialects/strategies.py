"""What the property tests of every dialect draw from, and how they break bodies.

What a dialect can carry differs, so each builds its own requests and answers of these.
"""

import json
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from understudy.canon import Url

quick = settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
small = st.integers(0, 10**6)
urls = st.builds(Url, st.just("https://pictures.example/1.png"))
objects = st.fixed_dictionaries({"type": st.just("object")}, optional={"title": words})

VALUES = ["null", "true", "1", "-1e3", '""', '"x"', "[]", "{}", "[null]", '[{"type":1}]', '{"type":"text"}', "[[1]]"]


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


def plain(value: Any, *others: str) -> Any:
    """Builtins without notes of spelling, without the dialect's name and without the fields called `others`."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value), *others)
    if isinstance(value, dict):
        kept = {key: plain(item, *others) for key, item in value.items() if not key.startswith("~")}
        kept = {key: item for key, item in kept.items() if key != "dialect" and key not in others}
        return {key: item for key, item in kept.items() if item != {} or not key.endswith("extra")}
    return [plain(item, *others) for item in value] if isinstance(value, list | tuple) else value


@st.composite
def mutations(draw: st.DrawFn, seeds: Iterable[bytes]) -> bytes:
    """One of `seeds` with some of its bytes replaced by others."""
    seed = draw(st.sampled_from(list(seeds)))
    start = draw(st.integers(0, len(seed)))
    end = draw(st.integers(start, min(len(seed), start + 20)))
    return seed[:start] + draw(st.binary(max_size=4)) + seed[end:]


def wrong_types(body: Any, values: Iterable[str] = VALUES) -> Iterator[bytes]:
    """`body` as JSON with each of `values`, JSON too, in the place of the whole and then of each of its fields."""
    for path in paths(body):
        for value in values:
            changed = json.loads(json.dumps(body)) if path else json.loads(value)
            place = changed
            for key in path[:-1]:
                place = place[key]
            if path:
                place[path[-1]] = json.loads(value)
            yield json.dumps(changed).encode()


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in items for deeper in paths(item, (*path, key)))]
