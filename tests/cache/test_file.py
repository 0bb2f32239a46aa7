"""Answers in a real SQLite file: found while fresh, gone for good afterwards, and never in the way."""

import asyncio
import contextlib
import sqlite3

import pytest

from tests.cache.making import data, slot
from understudy import clock
from understudy.cache import StoreError
from understudy.cache.entry import unpacked
from understudy.cache.file import MEMORY, File

SECRET = b"The word in question is zabaglione."


@pytest.fixture(params=["file", "memory"])
def where(request, tmp_path):
    return MEMORY if request.param == "memory" else tmp_path / "made/cache.sqlite"


def using(path, scenario, *, max_bytes=1_000_000, patience=5.0):
    async def run():
        store = File(path, max_bytes=max_bytes, patience=patience)
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(run())


def keep(store, place, body=b"An answer.", ttl=60.0):
    return store.write(place, data(place, body, ttl=ttl), clock.wall() + ttl)


def test_what_was_written_is_read_and_nothing_else(where):
    async def scenario(store):
        assert await store.read(slot()) is None
        await keep(store, slot(), b"first")
        await keep(store, slot(), b"second")
        assert await store.read(slot("two")) is None
        assert unpacked(await store.read(slot()), slot(), 1000).body == b"second"

    using(where, scenario)


def test_an_answer_expires_and_is_deleted_for_good(tmp_path):
    file = tmp_path / "cache.sqlite"

    async def scenario(store):
        with clock.frozen() as time:
            place = slot()
            await store.write(place, SECRET, time.now + 60)
            time.advance(59.9)
            assert await store.read(place) == SECRET
            time.advance(0.2)
            assert await store.read(place) is None
            assert SECRET in b"".join(one.read_bytes() for one in tmp_path.iterdir())
            await store.tidy()
            assert SECRET not in b"".join(one.read_bytes() for one in tmp_path.iterdir())

    using(file, scenario)


def test_what_was_kept_first_goes_first_when_there_is_no_room(where):
    async def scenario(store):
        with clock.frozen() as time:
            for number in range(20):
                await store.write(slot(str(number)), bytes(1000), time.now + 60)
                time.advance(0.001)
            return [number for number in range(20) if await store.read(slot(str(number)))]

    left = using(where, scenario, max_bytes=10_000)
    assert left == list(range(20 - len(left), 20))
    assert 8 <= len(left) <= 10


def test_an_answer_larger_than_all_room_displaces_nothing(where):
    async def scenario(store):
        await store.write(slot(), bytes(100), clock.wall() + 60)
        await store.write(slot("two"), bytes(10_001), clock.wall() + 60)
        assert await store.read(slot())
        assert await store.read(slot("two")) is None

    using(where, scenario, max_bytes=10_000)


def test_answers_are_cleared_by_route_and_by_key(where):
    places = [slot("a", "gpt", "k1"), slot("a", "gpt", "k2"), slot("a", "claude", "k1"), slot("b", "claude", "k1")]

    async def scenario(store):
        for place in places:
            await store.write(place, SECRET, clock.wall() + 60)
        assert await store.clear("gpt", "k1") == 1
        assert [bool(await store.read(place)) for place in places] == [False, True, True, True]
        assert await store.clear("claude", None) == 2
        assert await store.clear(None, "k2") == 1
        assert await store.clear(None, None) == 0

    using(where, scenario)


def test_only_its_owner_can_read_the_file(tmp_path):
    file = tmp_path / "cache.sqlite"
    file.touch(0o644)

    async def scenario(store):
        await keep(store, slot())
        return {one.name: oct(one.stat().st_mode & 0o777) for one in tmp_path.iterdir()}

    rights = using(file, scenario)
    assert len(rights) >= 2
    assert set(rights.values()) == {"0o600"}


def test_looking_and_tidying_make_no_file(tmp_path):
    async def scenario(store):
        assert await store.read(slot()) is None
        await store.tidy()
        assert await store.clear(None, None) == 0

    using(tmp_path / "cache.sqlite", scenario)
    assert list(tmp_path.iterdir()) == []


def test_two_processes_share_one_file(tmp_path):
    file = tmp_path / "cache.sqlite"

    async def scenario(store):
        async def other(second):
            await keep(second, slot())
            assert await store.read(slot())
            await keep(store, slot("two"))
            assert await second.read(slot("two"))

        second = File(file, max_bytes=1_000_000)
        await asyncio.gather(other(second))
        await second.close()

    using(file, scenario)


def fails(path, step, **options):
    async def scenario(store):
        with pytest.raises(StoreError) as caught:
            await step(store)
        return str(caught.value)

    return using(path, scenario, **options)


def test_a_file_of_something_else_is_never_touched(tmp_path):
    file = tmp_path / "ledger.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("CREATE TABLE exchanges (id)")
    before = file.read_bytes()
    assert "something else" in fails(file, lambda store: keep(store, slot()))
    assert file.read_bytes() == before

    async def scenario(store):
        assert await store.read(slot()) is None

    using(file, scenario)


def test_a_file_of_another_version_is_refused(tmp_path):
    file = tmp_path / "cache.sqlite"
    using(file, lambda store: keep(store, slot()))
    with contextlib.closing(sqlite3.connect(file)) as db:
        db.execute("PRAGMA user_version = 7")
    assert "delete it" in fails(file, lambda store: keep(store, slot()))
    assert "delete it" in fails(file, lambda store: store.read(slot()))


def test_a_file_that_is_no_database_is_told(tmp_path):
    file = tmp_path / "cache.sqlite"
    file.write_bytes(b"no database at all " * 1000)
    assert "not a database" in fails(file, lambda store: keep(store, slot()))
    assert "not a database" in fails(file, lambda store: store.read(slot()))


def test_a_locked_file_is_told_within_the_patience(tmp_path):
    file = tmp_path / "cache.sqlite"

    async def scenario(store):
        await keep(store, slot())
        with contextlib.closing(sqlite3.connect(file, isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            assert await store.read(slot())  # a writer does not keep readers out
            with pytest.raises(StoreError, match="locked"):
                await keep(store, slot("two"))

    using(file, scenario)


def test_a_closed_store_is_told_and_may_be_closed_again(where):
    async def scenario(store):
        await keep(store, slot())
        await store.close()
        await store.close()
        with pytest.raises(StoreError):
            await store.read(slot())

    using(where, scenario)


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    assert "cache.sqlite" in fails(tmp_path / "file/cache.sqlite", lambda store: keep(store, slot()))
