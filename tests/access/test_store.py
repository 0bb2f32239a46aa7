"""The key store: atomic, seen by a running gateway at once, and without a secret in it."""

import asyncio
import sqlite3
import stat
import threading

import psycopg
import pytest

from understudy import clock
from understudy.access import Budget, Denied, Key, Limit, Local, Ring, database
from understudy.access.budgets import Spent
from understudy.access.keys import ROTATED
from understudy.access.store import Keeper, Store, StoreError

SETTINGS = {
    "owner": "anna", "role": "operator", "routes": ("gpt-*", "local/*"), "expires": 2e9, "tags": {"team": "ö"},
    "limits": (Limit("requests", 5, "minute"), Limit("parallel", 2)),
    "budgets": (Budget("usd", 5, "day", zone="Asia/Tokyo"),),
}  # fmt: skip


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keys.sqlite"


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request, path):
    """An empty store of either kind."""
    return path if request.param == "sqlite" else request.getfixturevalue("postgres_server").url()


@pytest.fixture
def store(place):
    opened = Store(place)
    yield opened
    opened.close()


def test_a_key_comes_back_as_it_was_made(store, place):
    made, secret = store.create("mine", **SETTINGS)
    store.close()
    again = Store(place)
    assert again.records() == [made]
    assert again.record("mine") == again.record(made.key.id) == made
    assert made.digest == secret.digest()
    assert made.key.hint == secret.reveal()[-4:]
    for name, value in SETTINGS.items():
        assert getattr(made.key, name) == value
    again.close()


def test_no_key_is_in_the_file_and_none_but_its_owner_reads_it(path):
    store = Store(path)
    _, first = store.create("mine")
    _, second = store.rotate("mine", 60)
    store.close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for file in path.parent.iterdir():
        for secret in (first, second):
            assert secret.reveal().encode()[11:-6] not in file.read_bytes()


def test_rotation_keeps_the_former_key_for_the_overlap_and_ends_all_without_one(store):
    with clock.frozen() as time:
        _, first = store.create("mine")
        record, second = store.rotate("mine", 60)
        time.advance(30)
        record, third = store.rotate("mine", 60)
        assert [former.until - clock.wall() for former in record.former] == [30, 60]
        ring = Ring([record])
        opens = [isinstance(ring.find(one.reveal().encode(), clock.wall() + 31), Key) for one in (first, second, third)]
        assert opens == [False, True, True]
        record, fourth = store.rotate("mine", 0)
        ring.put(record)
        assert record.former == ()
        assert isinstance(ring.find(third.reveal().encode(), clock.wall()), Denied)
        assert isinstance(ring.find(fourth.reveal().encode(), clock.wall()), Key)
        assert ring.find(first.reveal().encode(), clock.wall()) is not ROTATED


def test_names_are_unique_and_errors_repeat_nothing(store):
    store.create("mine")
    with pytest.raises(StoreError, match="named 'mine' already"):
        store.create(" mine ")
    for name in (" ", "a\x1b[31m", "a\nb", "n" * 201):
        with pytest.raises(StoreError, match="needs a name"):
            store.create(name)
    for call in (store.record, store.change, store.remove, lambda name: store.rotate(name, 0)):
        with pytest.raises(StoreError) as raised:
            call("understudy-canary")
        assert "canary" not in str(raised.value)


def test_changes_and_removal(store):
    made, _ = store.create("mine", budgets=(Budget("usd", 5, "day"),))
    assert store.change("mine", disabled=True, owner="ben").key.owner == "ben"
    assert store.record("mine").key.disabled
    local = Local()
    local.settle(local.admit(made.key, 1, 3, 0.0, 1e9), 1, 3)
    store.note({made.key.id: "2026-01-02"}, local.spent())
    assert store.record("mine").key.used == "2026-01-02"
    assert store.spent()[made.key.id][0].spent == 3
    assert store.remove(made.key.id).name == "mine"
    assert store.records() == []
    assert store.spent() == {}
    store.note({made.key.id: "2026-01-02"}, local.spent())
    assert store.spent() == {}, "a key that is gone comes back in no way"


def test_a_file_that_is_none_a_later_one_and_a_folder_are_refused_with_the_reason(path, tmp_path):
    path.write_bytes(b"this is no database, but long enough to be looked at" * 50)
    with pytest.raises(StoreError, match="not a database"):
        Store(path)
    with pytest.raises(StoreError, match="directory"):
        Store(tmp_path)
    later = tmp_path / "later.sqlite"
    with sqlite3.connect(later) as raw:
        raw.execute("PRAGMA user_version = 99")
    raw.close()
    with pytest.raises(StoreError, match="later version"):
        Store(later)


def test_writers_in_two_places_lose_nothing(store, place):
    other = Store(place)
    store.create("mine", tags={})
    failed = []

    def write(to, letter):
        try:
            for n in range(20):
                to.create(f"{letter}{n}")
                to.change("mine", **{"owner" if letter == "a" else "expires": str(n) if letter == "a" else float(n)})
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=args) for args in ((store, "a"), (other, "b"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    other.close()
    assert not failed
    assert len(store.records()) == 41
    mine = store.record("mine").key
    assert (mine.owner, mine.expires) == ("19", 19.0)


async def kept(store, other):
    ring, local = Ring(), Local()
    keeper = Keeper(store, ring, local)
    keeper.load()
    record, secret = other.create("mine", budgets=(Budget("usd", 100, "day"),))
    shown = secret.reveal().encode()
    assert isinstance(ring.find(shown, 1e9), Denied)
    await keeper.look()
    key = ring.find(shown, 1e9)
    assert key == record.key
    await keeper.note()
    await keeper.look()
    assert ring.find(shown, 1e9) is key, "nothing is reread where nothing changed"
    _, second = await keeper.change(store.create, "second")
    assert ring.find(second.reveal().encode(), 1e9).name == "second"
    key = ring.find(shown, 1e9)
    other.change("mine", disabled=True)
    await keeper.look()
    assert isinstance(ring.find(shown, 1e9), Denied)
    local.settle(local.admit(key, 1, 40, 0.0, 1e9), 1, 40)
    await keeper.note()
    assert ring.used == {}
    assert other.record("mine").key.used == "2001-09-09"
    assert other.spent()[key.id][0].spent == 40
    again = Local()
    Keeper(other, Ring(), again).load()
    assert not again.admit(key, 1, 61, 0.0, 1e9).ok, "a restart does not fill a budget up again"
    assert again.admit(key, 1, 60, 0.0, 1e9).ok


def test_a_running_gateway_sees_changes_and_writes_down_what_was_used(store, place):
    other = Store(place)
    asyncio.run(kept(store, other))
    other.close()


def test_a_store_that_is_locked_stops_nobody_and_nothing_is_missed(path, caplog, monkeypatch):
    monkeypatch.setattr(database, "BUSY", 0.01)
    store = Store(path)
    _, secret = store.create("mine")
    shown = secret.reveal().encode()
    ring = Ring()
    keeper = Keeper(store, ring, Local())
    keeper.load()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("UPDATE access_keys SET owner = 'ben'")
    other.execute("BEGIN IMMEDIATE")

    async def look():
        for _ in range(3):
            await keeper._safely(keeper.look())
            assert ring.find(shown, 1e9).owner == ""
            await keeper._safely(keeper.note())
        other.execute("ROLLBACK")
        await keeper._safely(keeper.look())
        await keeper._safely(keeper.note())

    asyncio.run(look())
    other.close()
    assert ring.find(shown, 1e9).owner == "ben"
    assert store.record("mine").key.used == "2001-09-09"
    assert len(caplog.records) == 1
    assert secret.reveal() not in caplog.text
    store.close()


# -- PostgreSQL alone --------------------------------------------------------------------------------------------------


@pytest.fixture
def url(postgres_server):
    return postgres_server.url()


def test_replicas_that_start_at_once_make_the_tables_once(url):
    opened, failed = [], []

    def start():
        try:
            opened.append(Store(url))
        except StoreError as error:
            failed.append(error)

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    opened[0].create("mine")
    assert [len(store.records()) for store in opened] == [1] * 6
    assert all(store.changed() for store in opened)
    assert not any(store.changed() for store in opened)
    for store in opened:
        store.close()


def test_what_one_replica_knows_to_be_spent_is_never_replaced_by_less(url):
    store = Store(url)
    key = store.create("mine")[0].key.id

    def noted(start, spent):
        store.note({}, {key: [Spent("usd", "day", "UTC", start, spent, 0)]})
        return [(row.start, row.spent) for row in store.spent()[key]]

    large = 3_000 * 10**6
    assert noted(86_400.0, large) == [(86_400.0, large)], "thousands of dollars fit"
    assert noted(86_400.0, 5) == [(86_400.0, large)]
    assert noted(172_800.0, 7) == [(172_800.0, 7)], "another day begins with nothing"
    assert noted(86_400.0, large) == [(172_800.0, 7)], "and the one before does not come back"
    store.close()


def test_a_database_that_is_away_is_explained_without_its_password_and_found_again(postgres_server):
    url = postgres_server.url().replace("test@", "test:hidden-word@")
    store = Store(url)
    _, secret = store.create("mine")
    ring, failures = Ring(), []
    keeper = Keeper(store, ring, Local())
    keeper.load()
    postgres_server.stop()
    try:
        for call in (store.records, store.changed, lambda: store.create("other"), lambda: Store(url)):
            with pytest.raises(StoreError) as raised:
                call()
            failures.append(str(raised.value))
    finally:
        postgres_server.start()
    assert isinstance(ring.find(secret.reveal().encode(), 1e9), Key), "keys stay as they were"
    assert all("127.0.0.1" in failure and "hidden-word" not in failure and "\n" not in failure for failure in failures)
    assert [record.key.name for record in store.records()] == ["mine"]
    store.close()


def test_a_later_version_of_the_tables_is_refused(url):
    Store(url).close()
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE access_state SET version = 99")
    with pytest.raises(StoreError, match="later version"):
        Store(url)


@pytest.mark.parametrize("place", ["mysql://host/name", "postgresql://host", "http://x/y", "postgresql://:x:y:z/n"])
def test_what_is_neither_a_file_nor_a_database_is_refused(place):
    with pytest.raises(StoreError, match=r"write a path or postgresql://"):
        Store(place)


def test_without_its_driver_postgresql_is_refused_with_the_remedy(monkeypatch):
    monkeypatch.setattr(database.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(StoreError, match=r"pip install understudy\[postgres\]"):
        Store("postgresql://host/name")
