"""What is purged is gone: from the tables, from the files, from the spool; and the proof of it stays."""

import hashlib
import random

import msgspec
import pytest

from tests.ledger.making import NOW, ask, exchange, ids, summed, whole
from understudy.canon import Loss
from understudy.ledger import Attempt, Audit, Body, Event, Feedback, purging
from understudy.ledger.bodies import packed
from understudy.ledger.database import open_engine
from understudy.ledger.purging import Which
from understudy.ledger.store import Store

CANARY = "canary-7f3a9c51"


@pytest.fixture
def store(url):
    store = Store(url)
    yield store
    store.close()


def purge(url, **which):
    with open_engine(url, writing=True).begin() as connection:
        return purging.purge(connection, Which(**which), NOW)


def marked(**given):
    """An exchange with the canary wherever there is room for words."""
    return exchange(
        session=f"{CANARY} s", end_user=CANARY, tags=(CANARY,), model=CANARY,
        attempts=(Attempt("a/b", 0.0, fault="x", fault_message=CANARY, request_id=CANARY,
                          losses=(Loss(CANARY, CANARY),)),),
        bodies=(Body("request", f"{CANARY} {random.Random(1).randbytes(900).hex()}".encode()),
                packed(Body("answer", CANARY.encode() * 2), limit=10**6, level=3)),
        **given,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({"before": NOW + 10}, "cd"),
        ({"key": "k"}, "abd"),
        ({"end_user": ("u", "hmac:u")}, "c"),
        ({"session": "s"}, "abc"),
        ({"exchanges": ("a", "d", "x")}, "bc"),
        ({"before": NOW + 10, "end_user": ("u",)}, "bcd"),
    ],
)
def test_what_matches_all_that_is_given_is_gone_with_what_belongs_to_it(store, url, which, left):
    store.write([
        whole(id="a", wall=NOW, key=None, session=None, end_user="u"),
        whole(id="b", wall=NOW + 9, key=None, session=None, end_user="hmac:u"),
        whole(id="c", wall=NOW + 10, key="k", session=None, end_user=None),
        whole(id="d", wall=NOW + 11, key=None, session="s", end_user="u"),
        *(Feedback(f"f{name}", name, NOW + 20) for name in "abcd"),
        *(Event(f"e{name}", NOW + 20, "x", name) for name in "abcd"),
    ])  # fmt: skip
    proof = purge(url, **which)
    assert "".join(ids(url)) == left
    for table in ("attempts", "losses", "bodies", "exchange_tags", "feedback", "events"):
        assert {row[0] for row in ask(url, f"SELECT exchange FROM {table}")} == set(left), table
    gone = 4 - len(left)
    assert proof.exchanges == proof.deleted["exchanges"] == proof.deleted["feedback"] == gone
    assert (proof.deleted["attempts"], proof.deleted["losses"], proof.deleted["bodies"]) == (
        2 * gone,
        3 * gone,
        2 * gone,
    )
    assert proof.by == list(which)
    assert summed(url) == 4


def test_bodies_alone_can_go(store, url):
    store.write([whole(id="a"), exchange(id="b")])
    proof = purge(url, before=NOW * 2, bodies_only=True)
    assert ids(url) == ["a", "b"]
    assert (proof.deleted, proof.exchanges, proof.sha256) == ({"bodies": 2}, 1, purging.digest(["a"]))


def test_what_belongs_to_no_exchange_goes_by_age_and_feedback_by_its_key(store, url):
    store.write([
        exchange(id="a", wall=NOW + 50), Feedback("f1", "gone", NOW), Feedback("f2", "a", NOW), Event("e1", NOW, "x"),
        Event("e2", NOW + 50, "x"), Feedback("f3", "gone", NOW + 50, "k"), Audit("au", NOW, "me", "y"),
    ])  # fmt: skip
    purge(url, before=NOW + 10)
    assert ask(url, "SELECT id FROM feedback ORDER BY id") == [("f2",), ("f3",)]
    assert ask(url, "SELECT id FROM events") == [("e2",)]
    purge(url, key="k")
    assert ask(url, "SELECT id FROM feedback") == [("f2",)]
    assert ("au",) in ask(url, "SELECT id FROM audit")


def test_the_proof_stays_and_says_which_were_deleted_only_to_who_knows_them(store, url):
    store.write([exchange(id=name, end_user=CANARY) for name in ("b", "ä", "a")])
    proof = purge(url, end_user=(CANARY,))
    assert proof.sha256 == hashlib.sha256("a\nb\nä\n".encode()).hexdigest()
    with open_engine(url).begin() as connection:
        assert purging.proofs(connection) == purging.proofs(connection, proof.id) == [proof]
        assert purging.proofs(connection, "another") == []
    assert CANARY not in str(ask(url, "SELECT * FROM audit"))


def test_more_than_one_statement_holds_is_deleted_at_once(store, url, monkeypatch):
    monkeypatch.setattr(purging, "_ASKED", 3)
    store.write([exchange(session="s") for _ in range(10)] + [exchange(id="stays")])
    assert purge(url, session="s").exchanges == 10
    assert ids(url) == ["stays"]


def traces(folder):
    return [path.name for path in folder.iterdir() if CANARY.encode() in path.read_bytes()]


def test_no_byte_of_it_is_left_in_any_file(tmp_path):
    """Rows of all sizes, deleted and written in between, so that pages are split, joined and moved."""
    url, chance = f"sqlite:///{tmp_path}/ledger.db", random.Random(7)
    store = Store(url)
    for turn in range(12):
        names = [f"{turn}-{number}" for number in range(40)]
        store.write([marked(id=name) if number % 2 else whole(id=name, session="x" * chance.randrange(600))
                     for number, name in enumerate(names)])  # fmt: skip
        some = ", ".join(f"'{name}'" for name in chance.sample(names, 15))
        with store.connection().begin():  # as retention does: without overwriting what it deletes
            for table in ("exchange_tags", "losses", "bodies", "attempts", "exchanges"):
                column = "id" if table == "exchanges" else "exchange"
                store.connection().exec_driver_sql(f"DELETE FROM {table} WHERE {column} IN ({some})")
    assert traces(tmp_path)
    proof = purge(url, end_user=(CANARY,))
    # The writer's connection stays open, as that of a gateway would.
    assert purging.erase(open_engine(url, writing=True), proof.id) is True
    assert traces(tmp_path) == []
    with open_engine(url).begin() as connection:
        assert [found.erased for found in purging.proofs(connection)] == [True]
    store.close()


def test_a_reader_that_goes_on_reading_keeps_traces_which_is_said(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = Store(url)
    store.write([marked()])
    with open_engine(url).begin() as reader:
        reader.exec_driver_sql("SELECT count(*) FROM exchanges").scalar()
        proof = purge(url, end_user=(CANARY,))
        assert purging.erase(open_engine(url, writing=True, patience=0.05), proof.id) is False
        assert traces(tmp_path)
    assert purging.erase(open_engine(url, writing=True), proof.id) is True
    with open_engine(url).begin() as connection:
        assert [found.erased for found in purging.proofs(connection)] == [True]
    store.close()


def test_without_a_rewrite_only_the_log_is_emptied(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = Store(url)
    store.write([marked()])
    proof = purge(url, end_user=(CANARY,))
    assert purging.erase(open_engine(url, writing=True), proof.id, rewrite=False) is False
    assert (tmp_path / "ledger.db-wal").stat().st_size < 50_000  # no more than the note about it
    with open_engine(url).begin() as connection:
        assert [found.erased for found in purging.proofs(connection)] == [None]
    store.close()


def test_a_servers_files_are_its_own_business(postgres_server):
    url = postgres_server.url()
    Store(url).write([marked()])
    proof = purge(url, end_user=(CANARY,))
    assert purging.erase(open_engine(url, writing=True), proof.id) is None
    assert proof.exchanges == 1
    for table in ("exchanges", "attempts", "losses", "bodies", "exchange_tags", "feedback", "events"):
        assert ask(url, f"SELECT count(*) FROM {table}") == [(0,)]
    assert msgspec.json.encode(proof)
