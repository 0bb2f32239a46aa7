"""What every dialect must do. A new dialect adds its fixtures under tests/wire/<name>/ and its row in WHOLE.

A fixture is a stream's bytes, a line of dashes, and the events that they are, one JSON object a line. Where the name
ends in `.hex`, the bytes are written as hexadecimal digits: a binary format has no text of its own.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from tests.dialects.recorded_anthropic_messages import anthropic_messages_whole
from tests.dialects.recorded_bedrock_converse import bedrock_converse_whole
from tests.dialects.recorded_cohere_ollama import cohere_chat_whole, ollama_whole
from tests.dialects.recorded_gemini import gemini_whole
from tests.dialects.recorded_openai_completions import openai_completions_whole
from tests.dialects.recorded_openai_responses import openai_responses_whole
from understudy import dialects
from understudy.canon import (
    Delta,
    Ended,
    Event,
    Failed,
    Fault,
    Finished,
    PartEnded,
    PartStarted,
    Ping,
    Skipped,
    Started,
)

WIRE = Path(__file__).parents[1] / "wire"
DASHES = b"-----\n"
FIXTURES = [
    (name, path)
    for name in dialects.DIALECTS
    for path in sorted((WIRE / name).glob("*.*"))
    if path.suffix != ".http"  # faults, which resilience/test_wire.py reads
]
each_fixture = pytest.mark.parametrize(("name", "path"), FIXTURES, ids=lambda v: v.stem if isinstance(v, Path) else v)
each_dialect = pytest.mark.parametrize("name", dialects.DIALECTS)


def openai_chat_whole(prefix: bytes) -> bool:
    """Every choice that a whole event began has a finish reason: from there on, a cut cannot be told from an end."""
    reasons: dict[int, object] = {}
    text = prefix.decode("utf-8-sig", "ignore").replace("\r\n", "\n").replace("\r", "\n")
    for block in text.split("\n\n"):
        lines = [line.removeprefix("data:") for line in block.split("\n") if line.startswith("data:")]
        try:
            chunk = json.loads("\n".join(lines))
        except ValueError:
            continue
        if not isinstance(chunk, dict) or chunk.get("error"):
            continue
        for choice in chunk.get("choices") or []:
            if isinstance(choice.get("delta"), dict):
                reasons[choice["index"]] = choice.get("finish_reason") or reasons.get(choice["index"])
    return bool(reasons) and all(reasons.values())


WHOLE: dict[str, Callable[[bytes], bool]] = {
    "openai-chat": openai_chat_whole,
    "openai-responses": openai_responses_whole,
    "anthropic-messages": anthropic_messages_whole,
    "gemini": gemini_whole,
    "cohere-chat": cohere_chat_whole,
    "ollama": ollama_whole,
    "bedrock-converse": bedrock_converse_whole,
    "openai-completions": openai_completions_whole,
}


def read(path: Path) -> tuple[bytes, list[Event]]:
    wire, _, expected = path.read_bytes().rpartition(DASHES)
    if path.suffix == ".hex":
        wire = bytes.fromhex(wire.decode())
    return wire, [msgspec.json.decode(line, type=Event) for line in expected.splitlines()]


def decode(name: str, *pieces: bytes) -> list[Event]:
    decoder = dialects.get(name).StreamDecoder()
    return [event for piece in pieces for event in decoder.feed(piece)] + decoder.close()


def assert_well_formed(events: list[Event]) -> None:
    opened: dict[tuple[int, int], bool] = {}
    finished: set[int] = set()
    terminals = [event for event in events if isinstance(event, Failed | Ended)]
    assert terminals == events[-1:]
    after_pings = [event for event in events if not isinstance(event, Ping | Skipped)]
    assert isinstance(after_pings[0], Started)
    assert sum(isinstance(event, Started) for event in events) == 1
    for event in events:
        if isinstance(event, PartStarted):
            assert event.index == sum(choice == event.choice for choice, _ in opened), "indices rise by one"
            opened[event.choice, event.index] = True
        elif isinstance(event, Delta):
            assert opened[event.choice, event.index]
        elif isinstance(event, PartEnded):
            assert opened[event.choice, event.index]
            opened[event.choice, event.index] = False
        elif isinstance(event, Finished):
            assert event.choice not in finished
            assert not any(is_open for (choice, _), is_open in opened.items() if choice == event.choice)
            finished.add(event.choice)
    if isinstance(events[-1], Ended):
        assert finished >= {choice for choice, _ in opened}
        assert finished


def sequences(name: str) -> Iterator[list[Event]]:
    for dialect, path in FIXTURES:
        if dialect == name:
            yield read(path)[1]


@each_dialect
def test_there_are_fixtures_and_an_oracle(name: str) -> None:
    assert name in WHOLE
    assert any(isinstance(events[-1], Ended) for events in sequences(name))
    assert any(isinstance(events[-1], Failed) for events in sequences(name))


@each_fixture
def test_a_stream_gives_the_events_written_beside_it(name: str, path: Path) -> None:
    wire, expected = read(path)
    assert decode(name, wire) == expected
    assert_well_formed(expected)


@each_fixture
def test_any_split_gives_the_same_events(name: str, path: Path) -> None:
    wire, expected = read(path)
    assert decode(name, *(wire[i : i + 1] for i in range(len(wire)))) == expected
    for i in range(len(wire)):
        assert decode(name, wire[:i], wire[i:]) == expected, f"split at {i}: {wire[max(0, i - 20) : i]!r}"


@each_fixture
def test_a_cut_stream_never_looks_finished(name: str, path: Path) -> None:
    """Cut at every byte. `Ended` is right from the byte that completes the last choice's finish on, and only then."""
    wire, expected = read(path)
    for i in range(len(wire)):
        events = decode(name, wire[:i])
        assert_well_formed(events)
        whole = WHOLE[name](wire[:i])
        where = f"cut at {i}: {wire[max(0, i - 20) : i]!r}"
        assert whole or isinstance(events[-1], Failed), where
        assert not whole or isinstance(events[-1], Ended) or isinstance(expected[-1], Failed), where


@each_fixture
def test_nothing_comes_after_the_end(name: str, path: Path) -> None:
    wire, expected = read(path)
    decoder = dialects.get(name).StreamDecoder()
    first = decoder.feed(wire) + decoder.close()
    assert first == expected
    assert decoder.feed(wire) == []
    assert decoder.close() == []


@each_fixture
def test_a_stream_written_again_reads_the_same(name: str, path: Path) -> None:
    _, expected = read(path)
    encoder = dialects.get(name).StreamEncoder()
    again = decode(name, b"".join(encoder.encode(event) for event in expected))
    assert_well_formed(again)
    assert encoder.losses == []
    for kind in (Delta, PartStarted, PartEnded, Finished):
        of_kind = [[e for e in events if isinstance(e, kind)] for events in (expected, again)]
        if isinstance(expected[-1], Ended):
            assert plain(of_kind[0]) == plain(of_kind[1])
    assert type(again[-1]) is type(expected[-1])


def plain(events: list[Event]) -> Counter[str]:
    """Events by their text, notes of spelling apart."""

    def strip(value: object) -> object:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if not key.startswith("~")}
        return value

    return Counter(json.dumps(strip(msgspec.to_builtins(event)), sort_keys=True) for event in events)


@each_dialect
def test_a_failure_is_an_error_and_never_a_finish(name: str) -> None:
    dialect = dialects.get(name)
    encoder = dialect.StreamEncoder()
    fault = Fault(kind="stream_cut", code="gone", type="server_error", message="The line went dead.", phase="stream")
    start = decode(name, read(next(path for dialect_, path in FIXTURES if dialect_ == name))[0])[0:3]
    events = decode(name, b"".join(encoder.encode(event) for event in [*start, Failed(fault)]))
    last = events[-1]
    assert isinstance(last, Failed)
    assert (last.fault.code, last.fault.message) == ("gone", "The line went dead.")
    assert not any(isinstance(event, Finished | Ended) for event in events)


@each_dialect
def test_a_fault_survives_its_own_dialect(name: str) -> None:
    dialect = dialects.get(name)
    fault = Fault(status=429, code="rate_limit_exceeded", type="tokens", message="Slow down.", retry_after=1.5)
    status, headers, body = dialect.encode_fault(fault)
    assert dialect.decode_fault(status, headers, body) == fault


@each_dialect
def test_names_match_and_an_unknown_dialect_is_refused(name: str) -> None:
    assert name == dialects.get(name).NAME
    with pytest.raises(LookupError, match="there is no dialect 'morse'"):
        dialects.get("morse")
