import pytest

from tests.ledger.making import NOW, ask, ids, summed, whole
from understudy.ledger import Body, Event, Feedback, Retention
from understudy.ledger.retention import step
from understudy.ledger.store import Store

KEEP = Retention(bodies_seconds=None, bodies_bytes=None)


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


def tidy(store, policy, now):
    steps = 1
    while step(store.connection(), policy, now):
        steps += 1
    return steps


def bodies(url):
    return {row[0] for row in ask(url, "SELECT exchange FROM bodies")}


def put(store, walls, **given):
    records = [whole(wall=wall, **given) for wall in walls]
    store.write(records)
    return [record.id for record in records]


def test_nothing_goes_where_no_bound_is_set(store, url):
    names = put(store, [0, NOW])
    tidy(store, KEEP, NOW)
    assert bodies(url) == set(names)


def test_bodies_go_by_age_and_their_exchanges_stay(store, url):
    _old, edge, new = put(store, [NOW - 101, NOW - 100, NOW])
    tidy(store, Retention(bodies_seconds=100), NOW)
    assert bodies(url) == {edge, new}
    assert len(ids(url)) == 3


def test_bodies_go_by_size_oldest_first_and_no_more_than_needed(store, url):
    names = put(store, [NOW + n for n in range(10)], bodies=(Body("request", bytes(100), encoding="zstd"),))
    tidy(store, Retention(bodies_seconds=None, bodies_bytes=450), NOW)
    assert bodies(url) == set(names[6:])


def test_a_step_is_small_and_says_that_there_is_more(store, url, monkeypatch):
    monkeypatch.setattr("understudy.ledger.retention._ROWS", 4)
    names = put(store, [NOW - 1000 + n for n in range(10)])
    assert tidy(store, Retention(bodies_seconds=100), NOW) == 6
    assert bodies(url) == set()
    put(store, [NOW], bodies=(Body("request", bytes(100), encoding="zstd"),))
    assert tidy(store, Retention(exchanges_seconds=500), NOW) == 3
    assert len(ids(url)) == 1
    assert names


def test_exchanges_go_with_all_that_belongs_to_them_and_sums_stay(store, url):
    old, new = put(store, [NOW - 101, NOW])
    store.write(
        [
            Feedback("f1", old, NOW), Event("e1", NOW, "x", old), Event("e2", NOW - 101, "y"), Event("e3", NOW, "z"),
            Feedback("f2", new, NOW),
        ]
    )  # fmt: skip
    tidy(store, Retention(exchanges_seconds=100), NOW)
    assert ids(url) == [new]
    for table in ("attempts", "losses", "bodies", "exchange_tags", "feedback"):
        assert {row[0] for row in ask(url, f"SELECT exchange FROM {table}")} == {new}, table
    assert ask(url, "SELECT id FROM events") == [("e3",)]
    assert summed(url) == 2


def test_a_file_gives_back_the_room_of_what_was_deleted(tmp_path):
    store = Store(f"sqlite:///{tmp_path}/ledger.db")
    put(store, [NOW] * 20, bodies=(Body("request", bytes(range(256)) * 200, encoding="zstd"),))
    store.connection().connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = (tmp_path / "ledger.db").stat().st_size
    tidy(store, Retention(bodies_seconds=0), NOW + 1)
    store.connection().connection.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    store.close()
    assert (tmp_path / "ledger.db").stat().st_size < before / 2
