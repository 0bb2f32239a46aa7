"""An export is read back as it was: the same digest, whatever is in the ledger, and whatever form it took."""

import io
import itertools
import json
import random
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from tests.ledger.making import NOW, ask, exchange, summed, whole
from understudy.canon import Loss
from understudy.ledger import Attempt, Audit, Body, Cost, Event, Exchange, Feedback, Seam, Tokens
from understudy.ledger.bodies import packed
from understudy.ledger.database import open_engine
from understudy.ledger.store import Store
from understudy.moving import bring, jsonl, parquet
from understudy.moving.take import stream, take
from understudy.moving.walk import Walk, Which, snapshot

_COUNT = itertools.count()

_word = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=8)
_maybe = st.none() | _word
_time = st.floats(0, 4e9)
_number = st.none() | st.floats(allow_nan=False, allow_infinity=False)
_few = st.none() | st.integers(0, 10**12)
_tokens = st.none() | st.builds(Tokens, _few, _few, _few, _few, _few, st.booleans())
_cost = st.none() | st.builds(Cost, st.floats(0, 1e6), _word)
_attempt = st.builds(
    Attempt, target=_word, started=_time, ended=_number, head=_number, first_content=_number, reaction=_maybe,
    fault=_maybe, fault_status=st.none() | st.integers(0, 999), fault_message=_word, retry_after=_number,
    request_id=_maybe, skipped=st.integers(0, 99), way=_maybe, tokens=_tokens, cost=_cost,
    losses=st.lists(st.builds(Loss, _word, _word), max_size=2).map(tuple),
)  # fmt: skip
_bodies = st.tuples(st.binary(max_size=40) | _word.map(str.encode), st.binary(max_size=40), st.integers(0, 9)).map(
    lambda three: (
        Body("request", three[0], "application/json"),
        Body("answer", three[1], size=len(three[1]) + three[2]),
    )
)
_exchange = st.builds(
    Exchange, id=st.builds(lambda word: f"{word}{next(_COUNT)}", _word), wall=_time, route=_word, dialect=_word,
    model=_word, outcome=st.sampled_from(["answered", "failed", "broken", "client_left", "stopped"]),
    stream=st.booleans(), status=st.none() | st.integers(0, 999), target=_maybe, key=_maybe, session=_maybe,
    end_user=_maybe, tags=st.lists(_word, max_size=3, unique=True).map(tuple), tokens=_tokens, cost=_cost,
    total=_number, seams=st.lists(st.builds(Seam, _few, st.integers(0, 9), _word), max_size=2).map(tuple),
    attempts=st.lists(_attempt, max_size=3).map(tuple), bodies=st.just(()) | _bodies,
)  # fmt: skip
_other = st.one_of(
    st.builds(Feedback, id=st.builds(lambda: f"f{next(_COUNT)}"), exchange=_word, wall=_time, score=_number),
    st.builds(Event, id=st.builds(lambda: f"e{next(_COUNT)}"), wall=_time, kind=_word, exchange=_maybe, detail=_word),
    st.builds(Audit, id=st.builds(lambda: f"a{next(_COUNT)}"), wall=_time, actor=_word, action=_word),
)


def filled(url, records):
    store = Store(url)
    store.write([_stored(record) for record in records])
    store.close()


def _stored(record):
    if not isinstance(record, Exchange):
        return record
    return type(record)(**{name: getattr(record, name) for name in record.__struct_fields__ if name != "bodies"},
                        bodies=tuple(packed(body, limit=10**6, level=3) for body in record.bodies))  # fmt: skip


def taken(url, path=None, form="jsonl", which=None):
    which = which or Which()
    with open_engine(url).begin() as connection:
        snapshot(connection)
        walk = Walk(connection, which)
        if path is None:
            return stream(walk, which, io.BytesIO(), lambda _: None)
        return take(walk, which, path, form, lambda _: None)


def brought(url, path, form="jsonl"):
    result = bring.Brought()
    store = Store(url)
    for _ in bring.bring(parquet.read(path) if form == "parquet" else jsonl.read(path), store, result):
        pass
    store.close()
    return result


def emptied(url, kind, request):
    """A second, empty database of the same kind."""
    if kind == "sqlite":
        return url.replace("ledger.db", f"other{next(_COUNT)}.db")
    return request.getfixturevalue("postgres_server").url()


@pytest.mark.parametrize("form", ["jsonl", "jsonl.zst", "parquet"])
@pytest.mark.parametrize("kind", ["sqlite", "postgresql"])
def test_what_was_taken_away_and_brought_back_is_the_same(kind, form, request):
    new = request.getfixturevalue("postgres_server").url if kind == "postgresql" else None

    # Without shrinking: each example makes two databases, and a failure would take minutes to become smaller.
    @settings(
        max_examples=20 if kind == "sqlite" else 8,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.reuse, Phase.generate],
    )
    @given(st.lists(_exchange, max_size=6), st.lists(_other, max_size=4))
    def holds(exchanges, others):
        with tempfile.TemporaryDirectory() as folder:
            first, second = (new() if new else f"sqlite:///{folder}/{name}.db" for name in "ab")
            filled(first, [*exchanges, *others])
            file = Path(folder) / "x"
            before = taken(first, file, form)
            result = brought(second, file, form)
            assert (result.new, result.known, result.refusals) == (len(exchanges) + len(others), 0, [])
            assert result.complete is True
            assert taken(second).sha256 == before.sha256
            assert summed(first) == summed(second)
            again = brought(second, file, form)
            assert (again.new, again.known, again.refused) == (0, before.records, 0)
            assert summed(first) == summed(second)

    holds()


def test_the_digest_does_not_depend_on_database_or_form(tmp_path, postgres_server):
    records = [whole(wall=NOW), *(exchange(wall=NOW, id=name) for name in ("ä", "B", "a", "_", "Z"))]
    random.Random(1).shuffle(records)
    digests = set()
    for number, url in enumerate([f"sqlite:///{tmp_path}/a.db", postgres_server.url()]):
        filled(url, records)
        for form in ("jsonl", "jsonl.zst", "parquet"):
            digests.add(taken(url, tmp_path / f"{number}.{form}", form).sha256)
    assert len(digests) == 1


def test_an_export_is_oldest_first_and_says_what_it_is(url, tmp_path):
    filled(url, [exchange(wall=NOW + 5, id="b"), exchange(wall=NOW, id="c"), exchange(wall=NOW + 5, id="a"),
                 Audit("au", NOW, "me", "purge"), Feedback("fb", "a", NOW)])  # fmt: skip
    result = taken(url, tmp_path / "x.jsonl")
    header, *lines, end = [json.loads(line) for line in (tmp_path / "x.jsonl").read_text().splitlines()]
    assert (header["type"], header["format"], header["version"]) == ("header", "understudy-ledger", 1)
    assert [(line["type"], line["id"]) for line in lines] == [
        ("exchange", "c"), ("exchange", "a"), ("exchange", "b"), ("feedback", "fb"), ("audit", "au"),
    ]  # fmt: skip
    assert end == {"type": "end", "records": 5, "sha256": result.sha256}
    assert result.kinds == {"exchange": 3, "feedback": 1, "event": 0, "audit": 1}


@pytest.mark.parametrize(
    ("which", "ids"),
    [
        (Which(), "abcfgevxy"),
        (Which(since=NOW + 1), "bcgvy"),
        (Which(until=NOW + 1), "afex"),
        (Which(route="r1"), "afe"),
        (Which(key="k1"), "b"),
        (Which(end_user="u1"), "cg"),
        (Which(end_user="u1", until=NOW + 2), "g"),
        (Which(session="nobody's"), ""),
    ],
)
def test_a_filter_takes_exchanges_and_what_belongs_to_them(url, which, ids):
    filled(url, [
        exchange(id="a", wall=NOW, route="r1"), exchange(id="b", wall=NOW + 1, key="k1"),
        exchange(id="c", wall=NOW + 2, end_user="u1"),
        Feedback("f", "a", NOW), Feedback("g", "c", NOW + 1), Event("e", NOW, "x", "a"), Event("v", NOW + 1, "x"),
        Audit("x", NOW, "me", "y"), Audit("y", NOW + 1, "me", "y"),
    ])  # fmt: skip
    with open_engine(url).begin() as connection:
        walk = Walk(connection, which)
        assert "".join(line.id for line in walk.each()) == ids
        assert walk.count() == len(ids)


def test_many_pages_and_row_groups_are_read_as_one(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet, "_ROWS", 100)
    monkeypatch.setattr("understudy.moving.walk._AT_ONCE", 10_000)
    url = f"sqlite:///{tmp_path}/a.db"
    filled(url, [whole() if number % 3 else exchange() for number in range(1200)])
    first = taken(url, tmp_path / "p", "parquet")
    assert brought(f"sqlite:///{tmp_path}/b.db", tmp_path / "p", "parquet").new == 1200
    assert taken(f"sqlite:///{tmp_path}/b.db").sha256 == first.sha256


def test_a_body_that_cannot_be_unpacked_is_left_out_and_named(url, tmp_path):
    broken = Body("request", b"no zstd", encoding="zstd", kept=9)
    store = Store(url)
    store.write([exchange(id="broken", bodies=(broken, Body("answer", b"fine")))])
    store.close()
    result = taken(url, tmp_path / "x.jsonl")
    assert result.damaged == ("broken",)
    assert [body["side"] for body in json.loads((tmp_path / "x.jsonl").read_text().splitlines()[1])["bodies"]] == [
        "answer"
    ]


def test_an_export_that_fails_leaves_what_was_there(tmp_path, monkeypatch):
    url = f"sqlite:///{tmp_path}/a.db"
    filled(url, [exchange()])
    (tmp_path / "x.jsonl").write_text("the old one")
    monkeypatch.setattr(jsonl.Writer, "close", lambda self: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space"):
        taken(url, tmp_path / "x.jsonl")
    assert sorted(path.name for path in tmp_path.iterdir() if "db" not in path.name) == ["x.jsonl"]
    assert (tmp_path / "x.jsonl").read_text() == "the old one"


def test_a_folder_with_something_in_it_is_not_written_over(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    filled(url, [exchange()])
    taken(url, tmp_path / "p", "parquet")
    with pytest.raises(FileExistsError, match="not an empty folder"):
        taken(url, tmp_path / "p", "parquet")


def test_what_was_brought_is_found_as_if_it_had_been_written_here(url, tmp_path):
    filled(url, [whole(id="w")])
    taken(url, tmp_path / "x.jsonl")
    other = f"sqlite:///{tmp_path}/other.db"
    brought(other, tmp_path / "x.jsonl")
    for question in (
        "SELECT * FROM exchanges", "SELECT * FROM attempts ORDER BY number",
        "SELECT * FROM losses ORDER BY attempt, number",
        "SELECT * FROM exchange_tags ORDER BY tag", "SELECT * FROM bodies ORDER BY side", "SELECT * FROM hours",
    ):  # fmt: skip
        assert ask(other, question) == ask(url, question)
