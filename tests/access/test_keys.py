"""Who shows which key, and that no key is ever shown again."""

import copy
import logging
import pickle
import re
import traceback

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy import clock
from understudy.access import Denied, Key, Ring, may
from understudy.access.keys import (
    DISABLED,
    EXPIRED,
    LENGTH,
    MISTYPED,
    PREFIX,
    RIGHTS,
    ROTATED,
    UNKNOWN,
    Former,
    Record,
    digest,
    mint,
    well_formed,
)  # fmt: skip


def record(secret, former=(), **settings):
    return Record(Key("key_1", "mine", **settings), secret.digest(), tuple(former))


def found(ring, secret, wall=0.0):
    return ring.find(secret.reveal().encode(), wall)


def test_a_key_has_its_prefix_256_random_bits_and_a_checksum():
    with clock.frozen():
        plain = mint().reveal()
    assert re.fullmatch(r"understudy-[0-9A-Za-z]{49}", plain)
    assert len(plain) == LENGTH
    assert well_formed(plain)
    assert len({mint().reveal() for _ in range(100)}) == 100


@given(st.integers(len(PREFIX), LENGTH - 1), st.sampled_from("0aZ_"))
def test_one_wrong_character_is_told_from_a_key_that_is_gone(place, character):
    plain = mint().reveal()
    if plain[place] != character:
        wrong = plain[:place] + character + plain[place + 1 :]
        assert not well_formed(wrong)
        assert Ring().find(wrong.encode(), 0) is MISTYPED
    assert Ring().find(plain.encode(), 0) is UNKNOWN


@given(st.binary(max_size=200))
def test_whatever_is_sent_is_no_key(given):
    assert isinstance(Ring([record(mint())]).find(given, 0), Denied)


def test_a_key_opens_until_it_expires_or_is_disabled():
    secret = mint()
    ring = Ring([record(secret, expires=100.0)])
    assert found(ring, secret, 99.9).name == "mine"
    assert found(ring, secret, 100.0) is EXPIRED
    ring.put(record(secret, disabled=True))
    assert found(ring, secret) is DISABLED
    ring.drop("key_1")
    assert found(ring, secret) is UNKNOWN


def test_after_a_rotation_both_keys_open_until_the_overlap_ends():
    before, after = mint(), mint()
    ring = Ring([record(before)])
    ring.put(record(after, [Former(before.digest(), 50.0)]))
    assert found(ring, before, 49.9) is found(ring, after, 49.9)
    assert found(ring, before, 50.0) is ROTATED
    assert isinstance(found(ring, after, 50.0), Key)


def test_a_disabled_key_does_not_open_by_its_former_one():
    before, after = mint(), mint()
    ring = Ring([record(after, [Former(before.digest(), 50.0)], disabled=True)])
    assert found(ring, before, 1.0) is DISABLED


def test_the_day_of_use_is_noted_once_a_day():
    secret = mint()
    ring = Ring([record(secret)])
    found(ring, secret, 86_400.0 * 20_000)
    assert ring.used == {"key_1": "2024-10-04"}
    ring.used.clear()
    found(ring, secret, 86_400.0 * 20_000 + 80_000)
    assert ring.used == {}
    found(ring, secret, 86_400.0 * 20_001)
    assert ring.used == {"key_1": "2024-10-05"}
    ring.used.clear()
    ring.replace([record(mint())])
    found(ring, secret, 86_400.0 * 20_002)
    assert ring.used == {}, "who is refused has not used anything"


def test_routes_are_globs():
    key = Key("k", "k", routes=("gpt-*", "local/?b"))
    assert key.allows("gpt-5")
    assert key.allows("local/7b")
    assert not key.allows("local/70b")
    assert not key.allows("my-gpt-5")
    assert not key.allows("GPT-5")
    assert Key("k", "k").allows("anything/at:all")
    assert not Key("k", "k", routes=()).allows("gpt-5")


def test_what_roles_may():
    assert may("admin", "administer")
    assert may("user", "call")
    assert [role for role in RIGHTS if may(role, "administer")] == ["admin"]
    assert RIGHTS["auditor"] == {"read", "inspect"}, "reads, and nothing else"
    assert not may("user", "read")


def test_no_secret_and_no_hash_in_any_text():
    secret, other = mint(), mint()
    entry = record(secret, [Former(other.digest(), 5.0)])
    ring = Ring([entry])
    denied = ring.find(mint().reveal().encode(), 0)
    shown = [
        repr(thing) for thing in (secret, entry, entry.former, ring, denied, found(ring, secret), vars(ring).keys())
    ]
    shown += [str(secret), f"{entry}", str(entry.former)]
    shown += traceback.format_exception(ValueError(secret, entry))
    text = " ".join(shown)
    for one in (secret, other):
        assert one.reveal() not in text
        assert one.digest().hex() not in text
        assert repr(one.digest())[2:-1] not in text
    logging.getLogger("test").warning("%s %s", secret, entry)
    for steal in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="reveal"):
            steal(secret)


def test_only_the_hash_of_the_whole_value_finds_a_key():
    secret = mint()
    ring = Ring([record(secret)])
    assert ring.find(secret.digest(), 0) is UNKNOWN, "who has the hash has no key"
    assert ring.find(secret.digest().hex().encode(), 0) is UNKNOWN
    assert digest(secret.reveal().encode()) == secret.digest()
