import asyncio
import sqlite3
import stat
import subprocess
import sys
import time
import zlib

import msgspec
import pytest

from understudy import clock
from understudy.gateway import stored
from understudy.gateway.stored import Entry, Stored, StoredError, default_path, new_id, owner_of

NOW = int(clock.wall())  # one for all: a second may end between two calls of `entry`
ME, OTHER = owner_of(b"sk-me"), owner_of(b"sk-other")
OUTPUT = [{"type": "reasoning", "id": "rs_1", "summary": []}, {"type": "message", "id": "msg_1", "role": "assistant"}]


def entry(name="resp_1", owner=ME, created=None, text="Hello", output=OUTPUT):
    when = NOW if created is None else created
    given = [{"type": "message", "role": "user", "content": text}]
    return Entry(name, owner, when, "m", "openai/m", given, {"id": name, "object": "response", "output": output})


def with_store(path, scenario, **settings):
    """Run `scenario(store)`; the store is closed after it."""

    async def main():
        store = Stored(path, **settings)
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(main())


@pytest.fixture(params=["file", "memory"])
def path(request, tmp_path):
    return tmp_path / "state/responses.db" if request.param == "file" else ":memory:"


def noise(n):
    """Text that does not compress."""
    return clock.token(n)


def test_what_was_put_is_there_at_once_and_after_writing(path):
    async def scenario(store):
        store.put(entry())
        at_once = await store.get("resp_1", ME)
        await store.flush()
        assert not store._pending
        return at_once, await store.get("resp_1", ME)

    assert with_store(path, scenario) == (entry(), entry())


def test_it_survives_reopening(tmp_path):
    async def put(store):
        store.put(entry())

    async def get(store):
        return await store.get("resp_1", ME)

    with_store(tmp_path / "r.db", put)
    assert with_store(tmp_path / "r.db", get) == entry()


@pytest.mark.parametrize("text", ["short", "long " * 2000])
def test_long_ones_are_compressed_and_all_come_back_whether_they_are_or_not(path, text):
    async def scenario(store):
        store.put(entry(text=text))
        await store.flush()
        ((data,),) = store._writing.execute("SELECT input FROM responses").fetchall()
        assert (data[:1] == b"[") == (text == "short")
        assert len(data) < 4096
        packed = zlib.compress(msgspec.json.encode(entry(text=text).input), 1)  # as all were in earlier versions
        first = await store.get("resp_1", ME)
        store._writing.execute("UPDATE responses SET input = ?", (packed,))
        return first, await store.get("resp_1", ME)

    assert with_store(path, scenario) == (entry(text=text), entry(text=text))


def test_another_keys_response_is_not_found_written_or_not(path):
    async def scenario(store):
        store.put(entry())
        found = [await store.get("resp_1", OTHER)]
        await store.flush()
        found += [await store.get("resp_1", OTHER), await store.expand("resp_1", OTHER)]
        assert not await store.delete("resp_1", OTHER)
        assert await store.get("resp_1", ME) == entry()
        return found

    assert with_store(path, scenario) == [None, None, None]


def test_two_owners_may_have_the_same_id(path):
    async def scenario(store):
        store.put(entry())
        store.put(entry(owner=OTHER, text="Other"))
        await store.flush()
        return await store.get("resp_1", ME), await store.get("resp_1", OTHER)

    assert with_store(path, scenario) == (entry(), entry(owner=OTHER, text="Other"))


def test_a_conversation_is_its_input_then_its_output_reasoning_included(path):
    async def scenario(store):
        store.put(entry())
        await store.flush()
        return await store.expand("resp_1", ME), await store.expand("resp_0", ME)

    assert with_store(path, scenario) == ([*entry().input, *OUTPUT], None)


def test_deleting_says_whether_there_was_something_and_leaves_nothing(path):
    async def scenario(store):
        store.put(entry())
        early = await store.delete("resp_1", ME)
        store.put(entry())
        await store.flush()
        late = await store.delete("resp_1", ME)
        return early, late, await store.delete("resp_1", ME), await store.get("resp_1", ME), store._pending

    assert with_store(path, scenario) == (True, True, False, None, {})


def test_what_a_client_deletes_is_gone_from_the_file(tmp_path):
    secret = "resp_" + noise(40)

    async def scenario(store):
        store.put(entry(secret))
        await store.flush()
        await store.delete(secret, ME)

    with_store(tmp_path / "r.db", scenario)
    assert all(secret.encode() not in file.read_bytes() for file in tmp_path.iterdir())


def test_putting_again_replaces(path):
    async def scenario(store):
        store.put(entry())
        store.put(entry(text="Later"))
        await store.flush()
        return await store.get("resp_1", ME)

    assert with_store(path, scenario) == entry(text="Later")


def test_what_is_too_old_is_not_found_and_goes_with_the_next_write(path):
    async def scenario(store):
        now = int(clock.wall())
        store.put(entry("resp_old", created=now - 99))
        store.put(entry("resp_edge", created=now - 80))
        await store.flush()
        assert await store.get("resp_old", ME) is None
        assert await store.get("resp_edge", ME) is not None
        return list(store._writing.execute("SELECT id FROM responses"))

    assert with_store(path, scenario, max_age=90.0) == [("resp_edge",)]


def test_the_oldest_go_when_all_together_are_too_big(path):
    async def scenario(store):
        now = int(clock.wall())
        for n in range(10):
            store.put(entry(f"resp_{n}", created=now + n, text=noise(2000)))
        await store.flush()
        (total,) = store._writing.execute("SELECT SUM(size) FROM responses").fetchone()
        assert total <= 10_000
        return [n for n in range(10) if await store.get(f"resp_{n}", ME) is not None], store.lost

    kept, lost = with_store(path, scenario, max_bytes=10_000)
    assert kept == list(range(10 - len(kept), 10))
    assert kept
    assert lost == 0


def test_one_that_is_bigger_than_everything_allowed_is_lost_and_pushes_nothing_out(path):
    async def scenario(store):
        store.put(entry("resp_small"))
        store.put(entry("resp_big", text=noise(10_000)))
        await store.flush()
        return await store.get("resp_small", ME) is not None, await store.get("resp_big", ME), store.lost

    assert with_store(path, scenario, max_bytes=5000) == (True, None, 1)


def test_an_entry_that_cannot_be_written_spoils_no_other(path):
    async def scenario(store):
        store.put(entry("resp_1"))
        store.put(entry("resp_2", text="half a pair: \ud800"))
        store.put(entry("resp_3", created=2**70))
        store.put(entry("resp_4"))
        await store.flush()
        assert not await store.delete("resp_\ud800", ME)
        assert await store.get("resp_\ud800", ME) is None
        return [await store.get(f"resp_{n}", ME) is not None for n in range(1, 5)], store.lost

    assert with_store(path, scenario) == ([True, False, False, True], 2)


def test_a_locked_database_blocks_nobody_and_costs_only_what_was_to_be_written(tmp_path, caplog):
    async def scenario(store):
        store.put(entry("resp_before"))
        await store.flush()
        other = sqlite3.connect(tmp_path / "r.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        started = time.monotonic()
        for n in range(20):
            store.put(entry(f"resp_{n}"))
        assert await store.get("resp_before", ME) is not None
        took = time.monotonic() - started
        await store.flush()
        with pytest.raises(StoredError, match="locked"):
            await store.delete("resp_before", ME)
        other.close()
        assert await store.get("resp_before", ME) is not None
        store.put(entry("resp_after"))
        await store.flush()
        assert await store.get("resp_after", ME) is not None
        return took, store.lost

    took, lost = with_store(tmp_path / "r.db", scenario, busy=0.1)
    assert lost == 20
    assert took < 1  # the writer may wait, callers do not
    assert len(caplog.records) == 1


def test_a_file_that_is_no_database_loses_entries_and_says_so_once(tmp_path, caplog):
    (tmp_path / "r.db").write_bytes(b"hello" * 1000)

    async def scenario(store):
        for n in range(3):
            store.put(entry(f"resp_{n}"))
            await store.flush()
        return await store.get("resp_0", ME), store.lost

    assert with_store(tmp_path / "r.db", scenario) == (None, 3)
    assert len(caplog.records) == 1
    assert "r.db" in caplog.text


def test_a_folder_that_cannot_be_made_loses_entries(tmp_path):
    (tmp_path / "file").write_bytes(b"")

    async def scenario(store):
        store.put(entry())
        await store.flush()
        return await store.get("resp_1", ME), store.lost

    assert with_store(tmp_path / "file/r.db", scenario) == (None, 1)


def test_a_full_disk_loses_entries_and_works_again_when_there_is_room(tmp_path):
    async def scenario(store):
        store.put(entry())
        await store.flush()
        store._writing.execute("PRAGMA max_page_count = 1")  # SQLite's own "database or disk is full"
        store.put(entry("resp_2", text=noise(100_000)))
        await store.flush()
        store._writing.execute("PRAGMA max_page_count = 100000")
        store.put(entry("resp_3", text=noise(100_000)))
        await store.flush()
        return [await store.get(f"resp_{n}", ME) is not None for n in (1, 2, 3)], store.lost

    assert with_store(tmp_path / "r.db", scenario) == ([True, False, True], 1)


def test_a_database_of_a_newer_version_is_left_alone(tmp_path):
    db = sqlite3.connect(tmp_path / "r.db")
    db.execute("PRAGMA user_version = 99")
    db.close()

    async def scenario(store):
        store.put(entry())
        await store.flush()
        return store.lost

    assert with_store(tmp_path / "r.db", scenario) == 1


def test_a_damaged_entry_is_not_found(tmp_path):
    async def scenario(store):
        store.put(entry())
        await store.flush()
        store._writing.execute("UPDATE responses SET input = x'00'")
        return await store.get("resp_1", ME)

    assert with_store(tmp_path / "r.db", scenario) is None


def test_a_disk_too_slow_for_the_traffic_loses_entries_instead_of_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "MAX_PENDING", 5)

    async def scenario(store):
        with store._write_lock:
            for n in range(8):
                store.put(entry(f"resp_{n}"))
            return store.lost

    assert with_store(tmp_path / "r.db", scenario) == 3


def test_after_closing_nothing_is_taken_and_nothing_hangs(tmp_path):
    async def scenario(store):
        await store.close()
        store.put(entry())
        await store.flush()
        with pytest.raises(StoredError):
            await store.delete("resp_1", ME)
        assert await store.get("resp_1", ME) is None
        return store.lost

    assert with_store(tmp_path / "r.db", scenario) == 1


def test_a_store_that_is_never_used_opens_nothing(tmp_path):
    async def scenario(store):
        await store.flush()

    with_store(tmp_path / "r.db", scenario)
    assert not list(tmp_path.iterdir())


def test_being_killed_loses_only_what_had_not_been_flushed(tmp_path):
    program = f"""
import asyncio, os, signal, sys
sys.path[:0] = {sys.path!r}
from understudy.gateway.stored import Stored
from tests.gateway.test_stored import entry

async def main():
    store = Stored({str(tmp_path / "r.db")!r})
    for n in range(30):
        store.put(entry(f"resp_{{n}}"))
    await store.flush()
    for n in range(30, 40):
        store.put(entry(f"resp_{{n}}"))
    os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == -9

    async def scenario(store):
        return [await store.get(f"resp_{n}", ME) is not None for n in range(40)]

    assert all(with_store(tmp_path / "r.db", scenario)[:30])


def test_only_the_user_can_read_the_file(tmp_path):
    async def scenario(store):
        store.put(entry())
        await store.flush()
        return {file.name: stat.S_IMODE(file.stat().st_mode) for file in (tmp_path / "s").iterdir()}

    modes = with_store(tmp_path / "s/r.db", scenario)
    assert len(modes) == 3
    assert set(modes.values()) == {0o600}


def test_the_key_is_stored_nowhere(tmp_path):
    async def scenario(store):
        store.put(entry())

    with_store(tmp_path / "r.db", scenario)
    assert all(b"sk-me" not in file.read_bytes() for file in tmp_path.iterdir())
    assert owner_of(None) == ""
    assert owner_of(b"") != owner_of(None)


def test_the_default_place_is_the_users_state_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert default_path() == tmp_path / "understudy/responses.db"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert default_path() == tmp_path / ".local/state/understudy/responses.db"


def test_ids_look_like_the_apis_own_and_differ():
    assert new_id().startswith("resp_")
    assert len({new_id() for _ in range(100)}) == 100
