import pytest

from tests.ledger.making import NOW, ask, exchange, ids, summed, whole
from understudy.ledger import Audit, Cost, Event, Feedback, Tokens
from understudy.ledger.queries import one
from understudy.ledger.rows import cleaned
from understudy.ledger.store import RefusedError, Store, UnavailableError


@pytest.fixture
def store(url):
    store = Store(url, patience=0.2)
    yield store
    store.close()


def test_an_exchange_comes_back_as_it_was_put(store):
    put = whole()
    store.write([put])
    with store.connection().begin():
        found = one(store.connection(), put.id)
    for field in ("id", "wall", "route", "dialect", "model", "stream", "outcome", "status", "target", "key", "session",
                  "task", "end_user", "tags", "tokens", "cost", "first_content", "total", "seams"):  # fmt: skip
        assert getattr(found.exchange, field) == getattr(put, field), field
    assert tuple(found.attempts) == put.attempts
    assert [(body.side, body.data, body.content_type) for body in found.bodies] == [
        (body.side, body.data, body.content_type) for body in put.bodies
    ]


def test_what_was_not_said_is_null_and_not_zero(store, url):
    store.write([exchange(tokens=None, cost=None, target=None, status=None, total=None)])
    assert ask(url, 'SELECT input, "output", cost_usd, target, status, total, tags FROM exchanges') == [(None,) * 7]
    assert ask(url, "SELECT usage_unknown, cost_unknown FROM hours") == [(1, 1)]


def test_feedback_events_and_audit_are_kept(store, url):
    put = exchange()
    feedback = Feedback("f1", put.id, NOW, "key_1", 0.5, "good", "nice", "better")
    event = Event("e1", NOW, "cooldown", put.id, "openai/gpt-5", "{}")
    audit = Audit("a1", NOW, "key_1", "keys.create", "key_2")
    store.write([put, feedback, event, audit])
    store.write([feedback, event, audit])
    with store.connection().begin():
        found = one(store.connection(), put.id)
    assert (found.feedback, found.events) == ([feedback], [event])
    assert ask(url, "SELECT id, actor, action, subject, outcome FROM audit") == [
        ("a1", "key_1", "keys.create", "key_2", "done")
    ]


def test_nothing_is_written_or_counted_twice(store, url):
    first, second, third = exchange(), whole(), exchange()
    store.write([first, second])
    store.write([second, third, first])
    store.write([third, third])
    assert ids(url) == sorted([first.id, second.id, third.id])
    assert summed(url) == 3
    assert ask(url, "SELECT count(*) FROM attempts") == [(2,)]
    assert ask(url, "SELECT count(*) FROM losses") == [(3,)]


def test_an_exchange_that_comes_twice_in_one_batch_counts_once(store, url):
    put = exchange()
    store.write([put, put])
    assert (ids(url), summed(url)) == ([put.id], 1)


def test_sums_add_up_per_hour_route_target_key_and_task(store, url):
    store.write([exchange(wall=NOW, tokens=Tokens(1, 2), cost=Cost(0.5, "v")), exchange(wall=NOW + 1, cost=None)])
    store.write(
        [exchange(wall=NOW + 2, outcome="failed", tokens=Tokens(5, 0, estimated=True)), exchange(route="other")]
    )
    assert ask(
        url,
        'SELECT exchanges, answered, input, "output", usage_estimated, cost_usd, cost_unknown FROM hours '
        "WHERE route = 'gpt-5' AND hour = :hour",
        hour=NOW // 3600,
    ) == [(3, 2, 106, 22, 1, 0.75, 1)]


def test_text_and_numbers_that_no_database_takes_are_refused_and_can_be_cleaned(store, url):
    bad = exchange(status=2**63, model="a\0b")
    with pytest.raises(RefusedError):
        store.write([bad])
    store.write([cleaned(bad)])
    assert ask(url, "SELECT model, status FROM exchanges") == [("a\N{REPLACEMENT CHARACTER}b", 2**31 - 1)]


@pytest.mark.parametrize("absurd", [-1, 10**12 + 1, 2**63, 2**70])
def test_token_counts_that_cannot_be_are_unknown_and_ruin_no_sums(store, url, absurd):
    store.write([exchange(tokens=Tokens(absurd, 1)), exchange(tokens=Tokens(5, 1))])
    assert ask(url, 'SELECT sum(input), sum("output"), sum(usage_unknown) FROM hours') == [(5, 2, 0)]
    assert ask(url, "SELECT count(*) FROM exchanges WHERE input IS NULL") == [(1,)]


@pytest.mark.parametrize("usd", [float("nan"), float("inf")])
def test_a_price_that_is_no_number_is_unknown(store, url, usd):
    store.write([exchange(cost=Cost(usd, "v")), exchange()])
    assert ask(url, "SELECT sum(cost_usd), sum(cost_unknown) FROM hours") == [(0.25, 1)]


def test_a_refused_batch_leaves_nothing_behind(store, url):
    with pytest.raises(RefusedError):
        store.write([exchange(), exchange(status=2**70)])
    assert (ids(url), summed(url)) == ([], 0)


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("nonsense", "cannot be read"),
        ("mysql://me:secret@host/name", "not in mysql"),
        ("sqlite://", "needs a file"),
        ("postgresql://me:secret@127.0.0.1:1/name", "OperationalError"),
        ("sqlite:////no/such/folder/ledger.db", "unable to open"),
    ],
)
def test_a_database_that_cannot_be_opened_says_why_without_the_password(url, words):
    with pytest.raises(UnavailableError, match=words) as raised:
        Store(url, patience=0.1).write([exchange()])
    assert "secret" not in str(raised.value)


def test_a_database_of_a_newer_version_is_left_alone(store, url):
    store.write([exchange()])
    with store.connection().begin():
        store.connection().exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    with pytest.raises(UnavailableError, match="9999, which this version does not know"):
        Store(url).write([exchange()])


def test_a_file_that_is_taken_away_is_noticed(tmp_path):
    file = tmp_path / "ledger.db"
    store = Store(f"sqlite:///{file}")
    store.write([exchange()])
    for left in tmp_path.iterdir():
        left.rename(left.with_name("old-" + left.name))
    put = exchange()
    store.write([put])
    store.close()
    assert ids(f"sqlite:///{file}") == [put.id]


def test_a_file_that_is_no_database_is_unavailable_and_untouched(tmp_path):
    file = tmp_path / "ledger.db"
    file.write_bytes(b"something else entirely " * 100)
    with pytest.raises(UnavailableError, match="not a database"):
        Store(f"sqlite:///{file}").write([exchange()])
    assert file.read_bytes() == b"something else entirely " * 100
