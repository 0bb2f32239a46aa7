"""Every answer is compared with what a few lines over the records themselves say."""

import contextlib
import datetime as dt

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.ledger.making import NOW, exchange, whole
from understudy.ledger import Cost, Event, Exchange, Tokens
from understudy.ledger.database import open_engine
from understudy.ledger.queries import BadCursorError, Filter, body, one, page, usage
from understudy.ledger.schema import metadata
from understudy.ledger.store import Store

SEVERAL = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])

_word = st.sampled_from(["a", "b", "c"])
_maybe = st.none() | _word
_count = st.none() | st.integers(0, 1000)
EXCHANGES = st.lists(
    st.builds(
        Exchange,
        id=st.uuids().map(str),
        # Hours and days to either side of midnight, and several at the same moment.
        wall=st.integers(-40, 40).map(lambda quarter: 1_800_057_600.0 + quarter * 900) | st.floats(NOW, NOW + 200_000),
        route=_word,
        dialect=st.just("openai-chat"),
        model=_word,
        outcome=st.sampled_from(["answered", "answered", "failed", "broken"]),
        status=st.none() | st.sampled_from([200, 503]),
        target=_maybe,
        key=_maybe,
        session=_maybe,
        task=_maybe,
        end_user=_maybe,
        tags=st.lists(_word, unique=True, max_size=3).map(tuple),
        tokens=st.none() | st.builds(Tokens, _count, _count, _count, _count, _count, st.booleans()),
        # Eighths add up exactly, in whatever order.
        cost=st.none() | st.builds(Cost, st.integers(0, 80).map(lambda eighths: eighths / 8), st.just("v")),
        total=st.none() | st.integers(0, 80).map(lambda eighths: eighths / 8),
    ),
    max_size=30,
)
TIMES = st.none() | st.integers(-50, 50).map(lambda quarter: 1_800_057_600.0 + quarter * 900 + 0.5)


class Filled:
    """One database for many examples: emptied and filled again for each."""

    def __init__(self, url):
        self.store = Store(url)
        self.reading = open_engine(url)

    @contextlib.contextmanager
    def __call__(self, records):
        with self.store.connection().begin():
            for table in metadata.tables.values():
                self.store.connection().execute(table.delete())
        self.store.write(records)
        with self.reading.connect() as connection:
            yield connection


@pytest.fixture
def filled(url):
    filled = Filled(url)
    yield filled
    filled.store.close()


def group_of(record, by):
    names = {}
    for name in by:
        if name in ("day", "hour"):
            at = dt.datetime.fromtimestamp(record.wall, dt.UTC)
            names[name] = at.strftime("%Y-%m-%d" if name == "day" else "%Y-%m-%dT%H:00Z")
        else:
            names[name] = getattr(record, name)
    return names


def reckoned(records, by):
    sums = {}
    for record in records:
        tokens, cost = record.tokens or Tokens(), record.cost
        row = sums.setdefault(tuple(group_of(record, by).values()), [0] * 11)
        for place, value in enumerate(
            (
                1, record.outcome == "answered", tokens.input or 0, tokens.output or 0, tokens.cached_read or 0,
                tokens.cached_write or 0, tokens.reasoning or 0, tokens.estimated,
                tokens.input is None and tokens.output is None, cost.usd if cost else 0, cost is None,
            )
        ):  # fmt: skip
            row[place] += value
    return {group: (*row[:9], None if row[10] == row[0] else row[9], row[10]) for group, row in sums.items()}


@SEVERAL
@given(
    records=EXCHANGES,
    by=st.lists(st.sampled_from(["route", "target", "key", "task", "day", "hour"]), unique=True, max_size=3),
    span=st.tuples(TIMES, TIMES),
    wanted=st.tuples(st.none() | _word, st.none() | _word),
)
def test_usage_is_what_the_exchanges_add_up_to(filled, records, by, span, wanted):
    (since, until), (route, key) = span, wanted
    meant = [
        record
        for record in records
        if (since is None or record.wall >= since)
        and (until is None or record.wall < until)
        and route in (None, record.route)
        and key in (None, record.key)
    ]
    with filled(records) as connection:
        found = usage(connection, by, since=since, until=until, route=route, key=key)
    assert {
        tuple(row.group.values()): (
            row.exchanges, row.answered, row.input, row.output, row.cached_read, row.cached_write, row.reasoning,
            row.usage_estimated, row.usage_unknown, row.cost_usd, row.cost_unknown,
        )
        for row in found
    } == reckoned(meant, by)  # fmt: skip
    assert len({tuple(row.group.items()) for row in found}) == len(found)
    assert [row.exchanges for row in found] == sorted((row.exchanges for row in found), reverse=True)
    assert sum(row.seconds for row in found) == sum(record.total or 0 for record in meant)


@SEVERAL
@given(
    records=EXCHANGES,
    which=st.builds(
        Filter, TIMES, TIMES, *[st.none() | _word] * 8, st.none() | st.sampled_from(["answered", "failed"]),
        st.none() | st.just(503), st.booleans(),
    ),
    limit=st.integers(1, 7),
)  # fmt: skip
def test_pages_hold_every_match_once_newest_first(filled, records, which, limit):
    def matches(record):
        return (
            (which.since is None or record.wall >= which.since)
            and (which.until is None or record.wall < which.until)
            and (which.tag is None or which.tag in record.tags)
            and not (which.failed and record.outcome == "answered")
            and all(
                getattr(which, name) in (None, getattr(record, name))
                for name in ("route", "target", "key", "task", "session", "end_user", "model", "outcome", "status")
            )
        )

    found, after = [], None
    with filled(records) as connection:
        while True:
            some = page(connection, which, after=after, limit=limit)
            assert len(some.lines) <= limit
            found += [line.id for line in some.lines]
            after = some.next
            if after is None:
                break
    meant = sorted(filter(matches, records), key=lambda record: (record.wall, record.id), reverse=True)
    assert found == [record.id for record in meant]


def test_a_page_is_not_disturbed_by_what_comes_in_meanwhile(filled):
    records = [exchange() for _ in range(6)]
    with filled(records) as connection:
        first = page(connection, Filter(), limit=3)
        filled.store.write([exchange() for _ in range(3)])
    with filled.reading.connect() as connection:
        second = page(connection, Filter(), after=first.next, limit=3)
    assert [line.id for line in (*first.lines, *second.lines)] == [record.id for record in reversed(records)]


@pytest.mark.parametrize("after", ["", "x", "1.5", "~", "now~ex_1", "1e999999x~ex_1"])
def test_a_place_that_is_none_is_refused(filled, after):
    with filled([]) as connection, pytest.raises(BadCursorError, match="not where a page ended"):
        page(connection, Filter(), after=after)


def test_usage_by_something_else_is_refused(filled):
    with filled([]) as connection, pytest.raises(ValueError, match="grouped by colour"):
        usage(connection, ["colour"])


def test_one_exchange_is_found_with_its_events_and_bodies(filled):
    put, other = whole(), whole()
    event = Event("e1", NOW, "cooldown", put.id)
    with filled([put, other, event, Event("e2", NOW, "cooldown", other.id)]) as connection:
        found = one(connection, put.id)
        assert found.events == [event]
        assert tuple(found.attempts) == put.attempts
        assert body(connection, put.id, "request").data == put.bodies[0].data
        assert body(connection, put.id, "answer").data == put.bodies[1].data
        assert body(connection, "ex_none", "answer") is None
        assert one(connection, "ex_none") is None


def test_whoever_asks_cannot_write(tmp_path):
    url = f"sqlite:///{tmp_path}/ledger.db"
    store = Store(url)
    store.write([exchange()])
    store.close()
    with open_engine(url).connect() as connection, pytest.raises(Exception, match="readonly"):
        connection.exec_driver_sql("DELETE FROM exchanges")
