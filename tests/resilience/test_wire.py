"""Every fault of the catalogue as the bytes a provider sends, and what is made of it.

A fixture is a file `tests/wire/<dialect>/<fault>.http`: comment lines (`# source:` says where the shape is documented,
`# row:` which rows of the catalogue it shows, `# body: hex` that the body is written in hexadecimal), the answer's
status line, headers, an empty line and body, a line of dashes, and what should come out, one `name: value` a line.

All values are made up. Providers document their statuses and fields, but seldom a whole body: then its shape is that of
recorded traffic, and its words are the provider's only where a sign goes by them.
"""

import re
from email.utils import parsedate_to_datetime
from pathlib import Path

import msgspec
import pytest

from understudy import dialects
from understudy.canon import Fault
from understudy.gateway import surface
from understudy.resilience import State, classify, react, row, table

WIRE = Path(__file__).parents[1] / "wire"
DASHES = b"-----\n"
FIXTURES = [(name, path) for name in dialects.DIALECTS for path in sorted((WIRE / name).glob("*.http"))]
each_fixture = pytest.mark.parametrize(("name", "path"), FIXTURES, ids=lambda v: v.stem if isinstance(v, Path) else v)

NOW = 1_795_179_600.0
"""Friday, 20 November 2026, 13:00 UTC: when an answer without a `date` came."""

ELSEWHERE = {
    1: ("no answer at all", "upstream/test_dial.py"),
    2: ("no answer at all", "upstream/test_pool.py"),
    3: ("nothing comes: a clock", "upstream/test_clocks.py"),
    26: ("a 400 as any other, but to a call that was translated", "gateway/test_provider_faults.py"),
    38: ("no content comes: a clock", "upstream/test_clocks.py"),
    39: ("content comes late: a clock", "gateway/test_matrix.py"),
    40: ("nothing comes: a clock", "upstream/test_clocks.py"),
    41: ("content comes slowly, which is no fault", "gateway/test_matrix.py"),
}
"""Rows that are not recognised by bytes: why, and where they are tested."""


def read(path):
    """Comments by name, status, headers (lower-case names), body, and what is expected."""
    wire, _, expected = path.read_bytes().rpartition(DASHES)
    notes = {}
    while wire.startswith(b"#"):
        line, _, wire = wire.partition(b"\n")
        key, _, value = line.decode().removeprefix("#").strip().partition(": ")
        notes.setdefault(key, []).append(value)
    head, _, body = wire.partition(b"\n\n")
    first, *lines = head.decode("latin-1").split("\n")
    headers = {}
    for line in lines:
        key, _, value = line.partition(": ")
        headers[key.lower()] = value
    if notes.get("body") == ["hex"]:
        body = bytes.fromhex(body.decode())
    wanted = dict(line.split(": ", 1) for line in expected.decode().splitlines())
    return notes, int(first.split(" ")[1]), headers, body, wanted


def seen(name, status, headers, body, step=None):
    """The fault in an answer as it was decoded (None if there is none), its finish, and whether content came first.

    As the gateway does it: an answer that is no 200 is an error, a 200 is a stream by its type, else a whole answer.
    """
    if status != 200:
        return dialects.get(name).decode_fault(status, headers, body), None, False
    if not surface.is_stream(headers["content-type"].encode(), name):
        fault = dialects.answer_fault(name, body, streamed=False)
        finish = None if fault else dialects.get(name).decode_answer(body).choices[0].finish
        return fault, finish, False
    watch = dialects.watch(name)
    for piece in [body] if step is None else [body[at : at + step] for at in range(0, len(body), step)]:
        watch.feed(piece)
        if watch.done or watch.fault is not None:
            break
    else:
        watch.close()
    if watch.fault is None and not watch.content and watch.finish in (None, "stop", "error"):
        return Fault("empty_answer", status=200, phase="stream"), None, False
    return watch.fault, None if watch.fault else watch.finish, watch.content


def told(fault, finish, content, wall):
    """The same as a fixture says it. The reaction is that before commit, with a retry and another target left."""
    if fault is None:
        return {"kind": "none", "finish": finish or "open"}
    out = {"kind": fault.kind}
    for field in ("status", "code", "type", "param", "retry_after"):
        value = getattr(fault, field)
        if value is not None:
            out[field] = f"{value:.10g}" if isinstance(value, float) else str(value)
    out["phase"] = fault.phase
    if fault.message:
        out["message"] = fault.message
    if content:
        out["content"] = "first"
    reaction = react(fault, State(retries=1, others=1, wall=wall))
    after = react(fault, State(retries=0, others=1, free=0, wall=wall))
    out["action"] = reaction.action if reaction.action == after.action else f"{reaction.action}, {after.action}"
    if row(fault.kind).without is not None:
        out["without"] = react(fault, State(retries=1, others=1, without=True)).without
    if after.cooling is not None:
        seconds = f"{after.cooling.seconds:.10g}".replace("inf", "until restart")
        out["cools"] = f"{after.cooling.scope} {seconds}"
    out["tells"] = "yes" if reaction.tell else "no"
    return out


@each_fixture
def test_a_fault_is_seen_in_its_bytes_and_reacted_to(name, path):
    _, status, headers, body, wanted = read(path)
    wall = parsedate_to_datetime(headers["date"]).timestamp() if "date" in headers else NOW
    fault, finish, content = seen(name, status, headers, body)
    got = told(fault and classify(fault, name), finish, content, wall)
    if got.get("message", "").startswith(wanted.get("message", "\0")):
        got["message"] = wanted["message"]
    assert got == wanted


STREAMED = [
    (name, path)
    for name, path in FIXTURES
    if read(path)[1] == 200 and surface.is_stream(read(path)[2]["content-type"].encode(), name)
]


@pytest.mark.parametrize(("name", "path"), STREAMED, ids=lambda v: v.stem if isinstance(v, Path) else v)
def test_a_stream_says_the_same_in_single_bytes(name, path):
    _, status, headers, body, _ = read(path)
    assert seen(name, status, headers, body, step=1) == seen(name, status, headers, body)


@each_fixture
def test_a_fixture_says_where_its_shape_is_from_and_which_row_it_shows(name, path):
    notes, *_ = read(path)
    assert all(source.startswith("https://") for source in notes["source"]), notes
    assert all(1 <= int(number) <= 53 for number in rows(notes))


def rows(notes):
    return [number for line in notes["row"] for number in line.split(", ")]


def test_every_row_of_the_catalogue_has_a_fixture_or_a_test_elsewhere():
    shown = {int(number) for _, path in FIXTURES for number in rows(read(path)[0])}
    assert shown.isdisjoint(ELSEWHERE)
    assert shown | set(ELSEWHERE) == set(range(1, 54))


@pytest.mark.parametrize("number", ELSEWHERE)
def test_what_is_tested_elsewhere_is_there(number):
    _, where = ELSEWHERE[number]
    assert (WIRE.parent / where).is_file()


def test_every_sign_has_a_fixture_that_shows_it(monkeypatch):
    """Each sign is the first to match in at least one fixture: none is dead, none is hidden by an earlier one."""
    faults = [(name, seen(name, *read(path)[1:4])[0]) for name, path in FIXTURES]
    signs = table().signs
    numbered = [msgspec.structs.replace(sign, kind=str(number)) for number, sign in enumerate(signs)]
    instead = msgspec.structs.replace(table(), signs=numbered)
    monkeypatch.setattr("understudy.resilience.faults.table", lambda: instead)
    met = {classify(fault, name).kind for name, fault in faults if fault is not None}
    assert [sign for number, sign in enumerate(signs) if str(number) not in met] == []


def test_a_phrase_counts_only_at_the_start_of_a_message():
    """An echoed prompt that quotes another provider's words changes nothing."""
    said = {wanted["message"] for _, path in FIXTURES if "message" in (wanted := read(path)[4])}
    phrases = {sign.phrase for sign in table().signs if sign.phrase is not None}
    assert [(p, m) for p in phrases for m in said if re.match(p, f"You wrote: {m}")] == []
