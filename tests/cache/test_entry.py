"""What is read is what was kept, or nothing."""

import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.cache.making import data, entry, slot
from understudy.cache.entry import packed, unpacked

PLACE = slot()
LARGEST = 1024
WHOLE = data(PLACE)


def test_an_entry_comes_back_as_it_was():
    kept = entry(PLACE)
    assert unpacked(packed(kept), PLACE, LARGEST) == kept


@given(st.data())
def test_a_damaged_entry_is_none(given):
    whole = WHOLE
    at = given.draw(st.integers(0, len(whole) - 1))
    other = given.draw(st.integers(0, 255).filter(lambda byte: byte != whole[at]))
    found = unpacked(whole[:at] + bytes([other]) + whole[at + 1 :], PLACE, LARGEST)
    assert found is None or found == unpacked(whole, PLACE, LARGEST)  # a bit that says nothing, such as zlib's level


@given(st.integers(0, 100))
def test_an_entry_cut_short_is_none(size):
    whole = WHOLE
    assert unpacked(whole[: min(size, len(whole) - 1)], PLACE, LARGEST) is None


def test_the_entry_of_another_slot_is_none():
    assert unpacked(data(PLACE), slot("two"), LARGEST) is None


@pytest.mark.parametrize("hostile", [
    b"", b"x" * 50, zlib.compress(b"x"), zlib.compress(msgspec.msgpack.encode([1, 2])),
    zlib.compress(b"\0" * 500 * 1024 * 1024),
])  # fmt: skip
def test_what_is_no_entry_is_none_whatever_it_unpacks_to(hostile):
    assert unpacked(hostile, PLACE, LARGEST) is None
