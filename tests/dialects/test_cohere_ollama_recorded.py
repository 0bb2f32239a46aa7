"""Recorded Cohere and Ollama traffic comes back as it was and goes through another dialect, and chat traffic here.

Skips where the material is absent. The lists of reasons are all that is not exact, each counted and printed.
"""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from tests.dialects.recorded_cohere_ollama import cohere_errors, ollama_errors, recorded
from tests.dialects.test_recorded import differences
from understudy import dialects
from understudy.canon import (
    Answer,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Image,
    Inline,
    Message,
    Part,
    PartStarted,
    Skipped,
    Text,
    ToolCall,
    ToolResult,
    Used,
)
from understudy.dialects import StreamDecoder, StreamEncoder, cohere_chat, ollama, openai_chat

NAMES = {"cohere-chat": "cohere-v2-chat", "ollama": "ollama-native"}
PATHS = ("/v2/chat", "/api/chat", "/api/generate")
ERRORS: dict[str, Callable[[dict[str, Any]], list[str]]] = {"cohere-chat": cohere_errors, "ollama": ollama_errors}
each = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module")
def rows() -> dict[str, list[dict[str, Any]]]:
    return {name: [row for row in recorded(theirs) if row["path"] in PATHS] for name, theirs in NAMES.items()}


def requests(rows: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    return [(row["id"], json.dumps(row["request"]).encode()) for row in rows if row["request"] is not None]


def answers(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["wire"] == "json" and row["status"] == 200]


def streams(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [row for row in rows if row["wire"] in ("sse", "ndjson")]


@each
def test_every_recorded_request_comes_back_as_it_was(rows: dict[str, list[dict[str, Any]]], name: str) -> None:
    found = requests(rows[name])
    for identity, body in found:
        again, losses = dialects.get(name).encode_request(dialects.get(name).decode_request(body))
        assert losses == ()
        assert differences(json.loads(body), json.loads(again)) == [], identity
    print({"requests exact": len(found)})
    assert found


@each
def test_every_recorded_answer_comes_back_as_it_was(rows: dict[str, list[dict[str, Any]]], name: str) -> None:
    found = answers(rows[name])
    for row in found:
        answer = dialects.get(name).decode_answer(json.dumps(row["body"]).encode())
        body, losses = dialects.get(name).encode_answer(answer)
        assert losses == ()
        assert differences(row["body"], json.loads(body)) == [], row["id"]
        assert answer.choices[0].finish in ("stop", "length", "tool_calls")
    print({"answers exact": len(found)})
    assert found


def lines(text: str) -> list[Any]:
    """Events of a stream. `[DONE]` after the end, and each line's own time, say nothing."""
    found = []
    for line in text.splitlines():
        body = line.removeprefix("data:").strip()
        if body.startswith("{"):
            found.append({key: item for key, item in json.loads(body).items() if key != "created_at"})
    return found


@each
def test_every_recorded_stream_comes_back_event_by_event(rows: dict[str, list[dict[str, Any]]], name: str) -> None:
    found = streams(rows[name])
    for row in found:
        events = run(dialects.get(name).StreamDecoder(), row["body_text"].encode())
        assert isinstance(events[-1], Ended), row["id"]
        assert not any(isinstance(event, Skipped) for event in events)
        encoder = dialects.get(name).StreamEncoder()
        assert differences(lines(row["body_text"]), lines(written(encoder, events).decode())) == [], row["id"]
        assert encoder.losses == []
    print({"streams exact": len(found)})
    assert found


@each
def test_every_recorded_error_keeps_its_structured_fields(rows: dict[str, list[dict[str, Any]]], name: str) -> None:
    found = [row for row in rows[name] if row["status"] >= 400]
    for row in found:
        fault = dialects.get(name).decode_fault(row["status"], {}, json.dumps(row["body"]).encode())
        assert (fault.kind, fault.status) == ("unknown", row["status"])
        assert fault.message == row["body"].get("message", row["body"].get("error"))
        assert fault.code == row["body"].get("error_type")
        assert dialects.get(name).decode_fault(*dialects.get(name).encode_fault(fault)) == fault
    print({"errors": len(found)})
    assert found


# --- through another dialect -----------------------------------------------------------------------------------------


def fact(part: Part) -> Any:
    """What any dialect carries of a part."""
    match part:
        case Text(text=text):
            return ("text", text)
        case ToolCall(id=call_id, name=called, arguments=arguments):
            return ("call", call_id, called, json.loads(arguments or "{}"))
        case ToolResult(call_id=call_id, parts=parts):
            return ("result", call_id, [fact(item) for item in parts if isinstance(item, Text)])
        case Image(source=Inline(data=data)):
            return ("bytes", data)
    return None


def facts(messages: tuple[Message, ...]) -> list[Any]:
    return sorted(
        repr(found)
        for message in messages
        for part in message.parts
        if (found := fact(part)) not in (None, ("text", ""))
    )


@each
def test_every_recorded_request_keeps_its_facts_through_another_dialect(
    rows: dict[str, list[dict[str, Any]]], name: str
) -> None:
    counts = Counter[str]()
    dialect = dialects.get(name)
    for identity, body in requests(rows[name]):
        request = dialect.decode_request(body)
        there, lost = openai_chat.encode_request(request)
        back, lost_again = dialect.encode_request(openai_chat.decode_request(there))
        again = dialect.decode_request(back)
        if facts(request.messages) != facts(again.messages):
            told = {loss.field for loss in (*lost, *lost_again)}
            assert any(field.startswith("messages") for field in told), identity
            counts["with announced losses of parts"] += 1
        else:
            counts["the same"] += 1
        assert ERRORS[name](json.loads(back)) == [], identity
        assert [tool.name for tool in request.tools] == [tool.name for tool in again.tools]
        assert again.sampling.max_tokens == request.sampling.max_tokens
        assert again.stream == request.stream
    print(dict(counts))
    assert counts["the same"] > 0.9 * sum(counts.values())


def answer_facts(answer: Answer) -> list[Any]:
    parts = answer.choices[0].parts
    said = "".join(part.text for part in parts if isinstance(part, Text))
    return [said, [fact(part) for part in parts if isinstance(part, ToolCall)], answer.choices[0].finish]


@each
def test_every_recorded_answer_keeps_its_facts_through_another_dialect(
    rows: dict[str, list[dict[str, Any]]], name: str
) -> None:
    dialect, counts = dialects.get(name), Counter[str]()
    for row in answers(rows[name]):
        answer = dialect.decode_answer(json.dumps(row["body"]).encode())
        there = openai_chat.encode_answer(answer)[0]
        again = dialect.decode_answer(dialect.encode_answer(openai_chat.decode_answer(there))[0])
        if "null" in [part.arguments for part in answer.choices[0].parts if isinstance(part, ToolCall)]:
            counts["arguments are null"] += 1
        assert answer_facts(again) == answer_facts(answer), row["id"]
        if answer.usage is not None and again.usage is not None:
            for figure in ("input", "output", "reasoning", "cached_read"):
                assert getattr(again.usage, figure) == getattr(answer.usage, figure), (row["id"], figure)
        counts["the same"] += 1
    print(dict(counts))
    assert counts


def stream_facts(events: list[Event]) -> Any:
    kinds: dict[tuple[int, int], str] = {}
    said: dict[str, str] = {}
    for event in events:
        if isinstance(event, PartStarted):
            kind = type(event.part).__name__
            if isinstance(event.part, ToolCall):
                kind = f"{kind} {event.index} {event.part.name}"
                said[kind] = ""
            kinds[event.choice, event.index] = kind
        elif isinstance(event, Delta):
            kind = kinds[event.choice, event.index]
            said[kind] = said.get(kind, "") + event.text
    calls = [(kind.split()[2], json.loads(text or "{}")) for kind, text in said.items() if kind.startswith("ToolCall")]
    texts = {kind: text for kind, text in said.items() if text and not kind.startswith("ToolCall")}
    usage = [(event.usage.input, event.usage.output) for event in events if isinstance(event, Used)][-1:]
    return texts, calls, [event.finish for event in events if isinstance(event, Finished)], usage


@each
def test_every_recorded_stream_keeps_its_facts_through_another_dialect(
    rows: dict[str, list[dict[str, Any]]], name: str
) -> None:
    dialect, count = dialects.get(name), 0
    for row in streams(rows[name]):
        events = run(dialect.StreamDecoder(), row["body_text"].encode())
        there = run(openai_chat.StreamDecoder(), written(openai_chat.StreamEncoder(), events))
        back = run(dialect.StreamDecoder(), written(dialect.StreamEncoder(), there))
        assert stream_facts(back) == stream_facts(events), row["id"]
        count += 1
    print({"the same": count})
    assert count


# --- chat requests and streams come here -----------------------------------------------------------------------------


@each
def test_every_recorded_chat_request_is_one_that_the_provider_takes(name: str) -> None:
    counts = Counter[str]()
    for row in recorded("openai-chat"):
        if row["request"] is None:
            continue
        request = openai_chat.decode_request(json.dumps(row["request"]).encode())
        body, losses = dialects.get(name).encode_request(request)
        assert ERRORS[name](json.loads(body)) == [], row["id"]
        assert all(loss.field and loss.why for loss in losses)
        counts["with losses" if losses else "without loss"] += 1
    print(dict(counts))
    assert counts


@each
def test_every_recorded_chat_stream_keeps_its_facts_here(name: str) -> None:
    counts = Counter[str]()
    for row in recorded("openai-chat"):
        if row["wire"] != "sse":
            continue
        events = run(openai_chat.StreamDecoder(), row["body_text"].encode())
        encoder = dialects.get(name).StreamEncoder()
        back = run(dialects.get(name).StreamDecoder(), written(encoder, events))
        if any("finish" in loss.field for loss in encoder.losses):
            counts["with an announced loss of the finish"] += 1
            continue
        assert type(back[-1]) is type(events[-1]), row["id"]
        if isinstance(events[-1], Failed):
            counts["failed"] += 1
        elif any(loss.field.startswith("choices[") and loss.kind == "dropped" for loss in encoder.losses):
            counts["with announced losses of parts"] += 1
        else:
            texts, calls, finishes, usage = stream_facts(events)
            callers = ["tool_calls" if end == "stop" and calls and name == "ollama" else end for end in finishes]
            assert stream_facts(back) == (texts, calls, callers, usage), row["id"]
            counts["the same"] += 1
    print(dict(counts))
    assert counts["the same"]


def run(decoder: StreamDecoder, wire: bytes) -> list[Event]:
    return decoder.feed(wire) + decoder.close()


def written(encoder: StreamEncoder, events: list[Event]) -> bytes:
    return b"".join(encoder.encode(event) for event in events)


def test_both_dialects_are_registered() -> None:
    assert dialects.get("cohere-chat") is cohere_chat
    assert dialects.get("ollama") is ollama
