"""The same call has the same digest, and no other has."""

import json
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.cache import NotExactError, canonical, digest

LEAVES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
VALUES = st.recursive(LEAVES, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4))
BODIES = st.dictionaries(st.text(), VALUES, max_size=5)


def shuffled(value, chance):
    if isinstance(value, dict):
        items = [(name, shuffled(inner, chance)) for name, inner in value.items()]
        chance.shuffle(items)
        return dict(items)
    return [shuffled(inner, chance) for inner in value] if isinstance(value, list) else value


def places(value, path=()):
    """The ways to every leaf of `value`, empty lists and objects among them."""
    if isinstance(value, dict | list) and value:
        steps = value.items() if isinstance(value, dict) else enumerate(value)
        return [place for step, inner in steps for place in places(inner, (*path, step))]
    return [path]


def replaced(value, path, leaf):
    if not path:
        return leaf
    copy = value.copy()
    copy[path[0]] = replaced(value[path[0]], path[1:], leaf)
    return copy


def written(value):
    """JSON that tells what Python takes for equal apart: 1, 1.0 and true, 0.0 and -0.0."""
    return json.dumps(value, sort_keys=True)


@given(BODIES, st.integers(), st.sampled_from([None, 1, 4]), st.booleans())
def test_order_white_space_and_escapes_do_not_count(body, seed, indent, ascii_only):
    plain = json.dumps(body).encode()
    other = json.dumps(shuffled(body, random.Random(seed)), indent=indent, ensure_ascii=ascii_only)
    try:
        again = other.encode()
    except UnicodeEncodeError:  # half a surrogate pair, which only an escape can write
        again = json.dumps(body, indent=indent).encode()
    assert digest(canonical(plain)) == digest(canonical(b" \n" + again + b"\t"))


@given(BODIES, st.data())
def test_any_changed_leaf_is_another_digest(body, data):
    path = data.draw(st.sampled_from(places(body)))
    other = replaced(body, path, data.draw(LEAVES))
    before, after = (digest(canonical(written(one).encode())) for one in (body, other))
    assert (before == after) is (written(body) == written(other))


@given(BODIES, st.data())
def test_a_member_more_is_another_digest(body, data):
    name = data.draw(st.text().filter(lambda name: name not in body))
    more = {**body, name: data.draw(LEAVES)}
    assert digest(canonical(json.dumps(body).encode())) != digest(canonical(json.dumps(more).encode()))


@given(st.lists(st.binary(), max_size=4), st.lists(st.binary(), max_size=4))
def test_parts_do_not_run_into_each_other(one, other):
    assert (digest(*one) == digest(*other)) is (one == other)


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"\\u0062":2}}',  # one name, written in two ways
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1e999}',
        b'{"a":"\xff"}',
        b"[1",
        b"",
        b"[" * 200_000,
        b'{"a":' + b"1" * 5000 + b"}",
    ],
)
def test_what_has_no_one_meaning_is_never_the_same(body):
    with pytest.raises(NotExactError):
        canonical(body)
