"""What is read from a file is hostile until it is checked: refused with its place, and nothing else suffers."""

import contextlib
import json
import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.ledger.making import NOW, ask, exchange, ids, whole
from tests.moving.test_round_trip import brought, filled, taken
from understudy.ledger import Feedback
from understudy.ledger.database import open_engine
from understudy.moving import bring, jsonl, lines
from understudy.moving.lines import BadFileError, BadLineError


@pytest.fixture
def exported(tmp_path):
    """The lines of an export of two exchanges and a word about one, and where an import would go."""
    url = f"sqlite:///{tmp_path}/a.db"
    filled(url, [exchange(id="one", wall=NOW), whole(id="two", wall=NOW + 1), Feedback("fb", "two", NOW)])
    taken(url, tmp_path / "x.jsonl")
    return (tmp_path / "x.jsonl").read_bytes().splitlines(keepends=True), f"sqlite:///{tmp_path}/b.db"


def read(tmp_path, content, url):
    (tmp_path / "y.jsonl").write_bytes(content)
    return brought(url, tmp_path / "y.jsonl")


def test_a_file_that_is_cut_short_is_not_complete(exported, tmp_path):
    whole_file, url = exported
    for cut in (3, 4):
        result = read(tmp_path, b"".join(whole_file[:cut]), url)
        assert (result.complete, result.refused) == (False, 0)
    assert ids(url) == ["one", "two"]


def test_a_changed_line_is_noticed(exported, tmp_path):
    whole_file, url = exported
    assert read(tmp_path, b"".join(whole_file).replace(b'"gpt-5"', b'"gpt-6"'), url).complete is False


def test_two_exports_in_one_file_are_each_looked_at(exported, tmp_path):
    whole_file, url = exported
    twice = read(tmp_path, b"".join(whole_file) * 2, url)
    assert (twice.complete, twice.new, twice.known) == (True, 3, 3)
    assert read(tmp_path, b"".join(whole_file[:-1] + whole_file), url).complete is False


def test_lines_without_header_and_end_are_read_too(exported, tmp_path):
    whole_file, url = exported
    result = read(tmp_path, b"\xef\xbb\xbf" + b"\r\n".join(line.strip() for line in whole_file[1:3]) + b"\n\n", url)
    assert (result.complete, result.new) == (None, 2)


BAD = {
    b"[1]": "Expected `object`, got `array`",
    b"{": "no JSON",
    b'{"type": "exchange"}': "missing required field `id`",
    b'{"type": "spaceship"}': "Invalid value 'spaceship' - at `$.type`",
    b"\xff\xfe": "no JSON",
    b'{"type":"feedback","id":"f","exchange":"x","wall":"yesterday"}': "Expected `float`, got `str` - at `$.wall`",
    b'{"type":"feedback","id":"f","exchange":"x","wall":1,"mood":"fine"}': "unknown field `mood`",
    b'{"type":"event","id":"e","wall":null,"kind":"x"}': "Expected `float`, got `null`",
    b"[" * 100_000: "Expected `object`",
    b'{"type":"event","id":"e","wall":1,"kind":' + b"[" * 100_000: "Expected `str`",
}


@pytest.mark.parametrize("bad", BAD, ids=str)
def test_a_bad_line_is_refused_by_its_number_and_the_others_go_in(exported, tmp_path, bad):
    whole_file, url = exported
    result = read(tmp_path, whole_file[0] + bad + b"\n" + whole_file[1], url)
    assert (result.new, result.refused) == (1, 1)
    assert result.refusals[0].where == "line 2"
    assert BAD[bad] in result.refusals[0].why


@pytest.mark.parametrize(
    ("bodies", "why"),
    [
        ([{"side": "request"}], "either `text` or `data` - at `$.bodies[0]`"),
        ([{"side": "request", "text": "a", "data": "YQ==", "size": 1}], "either `text` or `data`"),
        ([{"side": "request", "text": "abc", "size": 2}], "the body is longer: 3 bytes"),
        ([{"side": "request", "text": "", "size": 0}] * 2, "two bodies of one side"),
        ([{"side": "request", "data": "no base64!", "size": 9}], "Invalid base64"),
        ([{"side": "elsewhere", "text": "", "size": 0}], "Invalid enum value 'elsewhere'"),
    ],
)
def test_bodies_that_contradict_themselves_are_refused(exported, tmp_path, bodies, why):
    whole_file, url = exported
    line = json.dumps(json.loads(whole_file[1]) | {"bodies": bodies}).encode()
    result = read(tmp_path, line, url)
    assert (result.new, result.refused) == (0, 1)
    assert why in result.refusals[0].why


def test_a_line_without_end_is_refused_and_not_held_in_memory(exported, tmp_path, monkeypatch):
    whole_file, url = exported
    monkeypatch.setattr(lines, "LONGEST", 5000)
    monkeypatch.setattr(jsonl.raw, "__defaults__", (5000,))
    monkeypatch.setattr(jsonl, "_SKIPPED", 1000)
    result = read(tmp_path, b'"' + b"x" * 50_000 + b'"\n' + whole_file[1] + b"y" * 9000, url)
    assert [(refused.where, refused.why) for refused in result.refusals] == [
        ("line 1", "longer than 5000 bytes"), ("line 3", "longer than 5000 bytes"),
    ]  # fmt: skip
    assert ids(url) == ["one"]


@pytest.mark.parametrize(("name", "value"), [("format", "something"), ("version", 2), ("version", 0)])
def test_another_format_or_version_is_not_read_at_all(exported, tmp_path, name, value):
    whole_file, url = exported
    header = json.dumps(json.loads(whole_file[0]) | {name: value}).encode() + b"\n"
    result = read(tmp_path, header + b"".join(whole_file[1:]), url)
    assert (result.new, result.refused) == (0, 1)
    assert str(value) in result.refusals[0].why


def test_a_packed_file_that_is_damaged_says_after_which_line(exported, tmp_path):
    whole_file, url = exported
    packed = jsonl.zstd.compress(b"".join(whole_file))
    for content in (packed[:-9], packed[:40] + bytes(9) + packed[49:]):
        with pytest.raises(BadFileError, match="cannot be unpacked after line"):
            read(tmp_path, content, url)


def test_what_the_database_refuses_goes_in_without_it_or_is_named(url, tmp_path):
    odd = lines.encoded(lines.Exchange("nul", NOW, "r\0", "d", "m", "answered"))
    never = lines.encoded(lines.Exchange("far", 1e300, "r", "d", "m", "answered"))
    result = read(tmp_path, odd + never + lines.encoded(lines.Exchange("fine", NOW, "r", "d", "m", "answered")), url)
    assert (result.new, result.refused) == (2, 1)
    assert result.refusals[0].where == "line 2"
    assert result.changed == (1 if url.startswith("postgresql") else 0)
    assert ids(url) == ["fine", "nul"]


def test_only_so_many_refusals_are_told_one_by_one(exported, tmp_path):
    _, url = exported
    result = read(tmp_path, b"{}\n" * 500, url)
    assert (result.refused, len(result.refusals)) == (500, 100)


def test_a_rehearsal_counts_and_writes_nothing(exported, tmp_path):
    whole_file, url = exported
    read(tmp_path, whole_file[1], url)
    (tmp_path / "y.jsonl").write_bytes(b"".join(whole_file) + b"{}\n")
    for connected, counts in ((True, (2, 1, 1)), (False, (3, 0, 1))):
        result = bring.Brought()
        with open_engine(url).begin() as connection:
            list(bring.rehearse(jsonl.read(tmp_path / "y.jsonl"), connection if connected else None, result))
        assert (result.new, result.known, result.refused) == counts
    assert ids(url) == ["one"]


@given(st.binary(max_size=80) | st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5), lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["type", "id", "wall", "bodies", "tokens", "exchange"]), inner), max_leaves=6,
).map(lambda value: json.dumps(value).encode()))  # fmt: skip
def test_whatever_stands_in_a_line_is_a_record_or_a_reason(line):
    with contextlib.suppress(BadLineError):
        assert isinstance(lines.decoded(line), lines.Header | lines.End | lines.Line)


# --- Parquet ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path):
    url = f"sqlite:///{tmp_path}/a.db"
    filled(url, [whole(id=f"w{number}", wall=NOW + number) for number in range(3)])
    taken(url, tmp_path / "p", "parquet")
    return tmp_path / "p"


def changed(path, change):
    table = pq.read_table(path)
    pq.write_table(change(table), path)


def refusals(folder):
    result = brought(f"sqlite:///{folder.parent}/b.db", folder, "parquet")
    return result, [f"{refused.where}: {refused.why}" for refused in result.refusals]


def test_a_missing_or_foreign_file_is_named(folder):
    shutil.copy(folder / "losses.parquet", folder / "events.parquet")
    with pytest.raises(BadFileError, match=r"events.parquet has other columns than the format: attempt int64"):
        refusals(folder)
    (folder / "events.parquet").write_bytes(b"PAR1 not really PAR1")
    with pytest.raises(BadFileError, match=r"events.parquet is no sound Parquet file"):
        refusals(folder)
    (folder / "events.parquet").unlink()
    with pytest.raises(BadFileError, match=r"events.parquet is missing"):
        refusals(folder)


def test_rows_that_belong_to_nothing_are_refused(folder):
    changed(folder / "attempts.parquet", lambda table: pa.concat_tables([table, table.slice(0, 1)]))
    changed(folder / "losses.parquet", lambda table: table.set_column(1, "attempt", pa.array([7] * len(table))))
    result, told = refusals(folder)
    assert result.new == 0
    assert "exchanges.parquet row 1: losses.parquet has a loss of attempt 7, which is not there" in told
    assert "attempts.parquet: 1 rows belong to no exchange, or stand in another order" in told
    assert result.complete is False


def test_attempts_that_are_missing_are_noticed(folder):
    changed(folder / "attempts.parquet", lambda table: table.slice(1))
    result, told = refusals(folder)
    assert (result.new, result.refused) == (2, 1)
    assert told == ["exchanges.parquet row 1: attempt 0 is missing from attempts.parquet"]


def test_values_of_the_right_type_are_still_checked(folder):
    changed(
        folder / "exchanges.parquet", lambda table: table.set_column(5, "outcome", pa.array(["won", None, "failed"]))
    )
    result, told = refusals(folder)
    assert result.new == 1
    assert [line.split(":")[0] for line in told] == ["exchanges.parquet row 1", "exchanges.parquet row 2"]
    assert "Invalid enum value 'won'" in told[0]


def test_a_file_that_breaks_off_within_is_named(folder):
    content = bytearray((folder / "bodies.parquet").read_bytes())
    content[10:200] = bytes(190)
    (folder / "bodies.parquet").write_bytes(content)
    with pytest.raises(BadFileError, match=r"bodies.parquet"):
        refusals(folder)


def test_each_table_can_be_read_by_itself(folder):
    table = pq.read_table(folder / "exchanges.parquet").to_pylist()
    assert [row["id"] for row in table] == ["w0", "w1", "w2"]
    assert table[0]["tags"] == ["blue", "red"]
    assert table[0]["seams"] == [{"characters": 120, "attempt": 1, "way": "prefill"}]
    bodies = pq.read_table(folder / "bodies.parquet").to_pylist()
    assert [(body["exchange"], body["side"]) for body in bodies][:2] == [("w0", "request"), ("w0", "answer")]
    assert bodies[1]["data"] == b"\0\xff"
    assert ask(f"sqlite:///{folder.parent}/a.db", "SELECT count(*) FROM bodies") == [(len(bodies),)]
