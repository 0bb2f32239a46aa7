"""Recorded Gemini and Vertex AI traffic comes back as it was and goes through another dialect, within Google's rules.

Skips where the material is absent. The lists of reasons are all that is not exact, each counted and printed.
"""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from tests.dialects.recorded_gemini import Spec, accumulate, chunks, recorded, sse, turns
from tests.dialects.test_recorded import differences
from understudy.canon import (
    Answer,
    Audio,
    Delta,
    Ended,
    Event,
    Failed,
    File,
    Finished,
    Image,
    Inline,
    Message,
    Part,
    PartStarted,
    Reasoning,
    Skipped,
    Text,
    ToolCall,
    ToolResult,
)
from understudy.dialects import Malformed, StreamDecoder, StreamEncoder, gemini, openai_chat

REFUSED = {"contents[0].role: must be user or model": "a recorded 400: the client made up a role"}
"""Recorded requests that are not taken, as the API did not take them either."""


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return recorded("gemini")


def requests(rows: list[dict[str, Any]]) -> list[tuple[str, bytes]]:
    return [(row["id"], json.dumps(row["request"]).encode()) for row in rows if row["request"] is not None]


def test_every_recorded_request_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for identity, body in requests(rows):
        try:
            request = gemini.decode_request(body)
        except Malformed as error:
            counts["refused: " + REFUSED[str(error)]] += 1
            continue
        again, losses = gemini.encode_request(request)
        assert losses == ()
        assert differences(json.loads(body), json.loads(again)) == [], identity
        counts["exact"] += 1
    print(dict(counts))
    assert sum(counts.values()) - counts["exact"] <= 1


def test_every_recorded_answer_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["wire"] != "json" or "candidates" not in row["body"]:
            continue
        answer = gemini.decode_answer(json.dumps(row["body"]).encode())
        body, losses = gemini.encode_answer(answer)
        assert losses == ()
        assert differences(row["body"], json.loads(body)) == [], row["id"]
        assert all(choice.finish != "unknown" for choice in answer.choices)
        counts["exact"] += 1
    print(dict(counts))
    assert counts


@pytest.mark.parametrize("array", [False, True], ids=["sse", "array"])
def test_every_recorded_stream_comes_back_field_by_field(rows: list[dict[str, Any]], *, array: bool) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["wire"] not in ("sse", "json-array"):
            continue
        wire = row["body_text"].encode() if row["wire"] == "sse" else json.dumps(row["body"]).encode()
        decoder, encoder = gemini.StreamDecoder(), gemini.StreamEncoder(array=array)
        events = decoder.feed(wire) + decoder.close()
        assert isinstance(events[-1], Ended), row["id"]
        assert not any(isinstance(event, Skipped) for event in events)
        text = b"".join(encoder.encode(event) for event in events).decode()
        assert encoder.losses == []
        old, new = accumulate(chunks(row)), accumulate(json.loads(text) if array else sse(text))
        assert differences(old, new) == [], row["id"]
        counts[f"{row['wire']} exact"] += 1
    print(dict(counts))
    assert counts


def test_every_recorded_error_keeps_its_structured_fields(rows: list[dict[str, Any]]) -> None:
    count = 0
    for row in rows:
        if row["wire"] != "json" or "error" not in row["body"]:
            continue
        error = row["body"]["error"]
        fault = gemini.decode_fault(row["status"], {}, json.dumps(row["body"]).encode())
        assert (fault.kind, fault.status) == ("unknown", row["status"])
        assert (fault.message, fault.type) == (error["message"], error["status"])
        listed = json.dumps(error.get("details", []))
        assert fault.code == ("API_KEY_INVALID" if "API_KEY_INVALID" in listed else error["status"])
        assert (fault.retry_after is None) == ("retryDelay" not in listed)
        assert (fault.param is None) == ("quotaId" not in listed)
        assert gemini.decode_fault(*gemini.encode_fault(fault)) == fault
        count += 1
    print({"errors": count})
    assert count


# --- through another dialect -----------------------------------------------------------------------------------------


def fact(part: Part) -> Any:
    """What any dialect carries of a part."""
    match part:
        case Text(text=text):
            return ("text", text)
        case ToolCall(name=name, arguments=arguments):
            return ("call", name, json.loads(arguments))
        case ToolResult(parts=parts):
            return ("result", [fact(item) for item in parts if isinstance(item, Text)])
        case Image(source=Inline(data=data)) | File(source=Inline(data=data)) | Audio(source=Inline(data=data)):
            return ("bytes", data)
    return None


def request_facts(messages: tuple[Message, ...]) -> list[Any]:
    """Facts of the turns in order; media, which the other dialect moves out of a tool's result, count at the end."""
    plain, media = [], []
    for message in messages:
        for part in message.parts:
            inner = part.parts if isinstance(part, ToolResult) else ()
            media += [fact(item) for item in (part, *inner) if isinstance(item, Image | File)]
            found = None if isinstance(part, Image | File | Reasoning) else fact(part)
            if found is not None and found != ("text", ""):
                plain.append(found)
    return [plain, sorted(filter(None, media))]


def answer_facts(answer: Answer) -> list[Any]:
    return [
        [
            "".join(part.text for part in choice.parts if isinstance(part, Text)),
            [fact(part) for part in choice.parts if isinstance(part, ToolCall) and part.kind == "function"],
            [fact(part) for part in choice.parts if isinstance(part, Image)],
            "".join(part.text for part in choice.parts if isinstance(part, Reasoning)),
        ]
        for choice in answer.choices
    ]


def test_every_recorded_request_keeps_its_facts_through_another_dialect(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for identity, body in requests(rows):
        if b"invalid_role" in body:
            continue
        request = gemini.decode_request(body)
        there, lost = openai_chat.encode_request(request)
        back, lost_again = gemini.encode_request(openai_chat.decode_request(there))
        again = gemini.decode_request(back)
        told = {loss.field for loss in (*lost, *lost_again)}
        if request_facts(request.messages) != request_facts(again.messages):
            assert any(field.startswith("messages[") for field in told), identity
            counts["with announced losses of parts"] += 1
        else:
            counts["the same"] += 1
        assert [tool.name for tool in request.tools if tool.kind == "function"] == [tool.name for tool in again.tools]
        assert again.sampling.max_tokens == request.sampling.max_tokens
    print(dict(counts))
    assert counts["the same"] > 0.95 * sum(counts.values())


def test_every_recorded_answer_keeps_its_facts_through_another_dialect(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["wire"] != "json" or "candidates" not in row["body"]:
            continue
        answer = gemini.decode_answer(json.dumps(row["body"]).encode())
        there = openai_chat.encode_answer(answer)[0]
        again = gemini.decode_answer(gemini.encode_answer(openai_chat.decode_answer(there))[0])
        assert answer_facts(again) == answer_facts(answer), row["id"]
        assert [choice.finish for choice in again.choices] == [choice.finish for choice in answer.choices], row["id"]
        if answer.usage is not None and again.usage is not None:
            for name in ("input", "output", "reasoning", "cached_read"):
                assert getattr(again.usage, name) == getattr(answer.usage, name), (row["id"], name)
        counts["the same"] += 1
    print(dict(counts))
    assert counts


def test_every_recorded_chat_request_is_one_that_google_takes() -> None:
    spec, counts = Spec(), Counter[str]()
    for row in recorded("openai-chat"):
        if row["request"] is None:
            continue
        request = openai_chat.decode_request(json.dumps(row["request"]).encode())
        for model in ("gemini-2.5-flash", "gemini-3-flash-preview"):
            try:
                body, losses = gemini.encode_request(msgspec.structs.replace(request, model=model))
            except Malformed:  # the client sent nothing at all: its only message is empty
                counts["refused with a reason"] += 1
                continue
            errors = spec.errors(json.loads(body))
            assert errors == [], row["id"]
            assert all(loss.field and loss.why for loss in losses)
            counts["with losses" if losses else "without loss"] += 1
    print(dict(counts))
    assert counts["refused with a reason"] < 10


def test_every_recorded_request_from_elsewhere_and_back_is_one_that_google_takes(rows: list[dict[str, Any]]) -> None:
    spec, counts = Spec(), Counter[str]()
    for identity, body in requests(rows):
        if b"invalid_role" in body:
            continue
        request = msgspec.structs.replace(gemini.decode_request(body), dialect="elsewhere")
        errors = spec.errors(json.loads(gemini.encode_request(request)[0]))
        assert set(errors) <= set(turns(json.loads(body))), identity
        counts["refused as the recorded one would be" if errors else "accepted"] += 1
    print(dict(counts))


def stream_facts(events: list[Event]) -> Any:
    """Text and thoughts of each choice, calls of functions, and finishes.

    Google's word for a stop is the same with calls and without, so a chat stream that says `stop` after calls comes
    back as one that finished by its calls.
    """
    said: dict[tuple[int, str], str] = {}
    calls: dict[tuple[int, int], list[str]] = {}
    kinds: dict[tuple[int, int], Part] = {}
    for event in events:
        if isinstance(event, PartStarted):
            kinds[event.choice, event.index] = event.part
            if isinstance(event.part, ToolCall) and event.part.kind == "function":
                calls[event.choice, event.index] = [event.part.name]
        elif isinstance(event, Delta):
            part = kinds[event.choice, event.index]
            if (event.choice, event.index) in calls:
                calls[event.choice, event.index].append(event.text)
            elif isinstance(part, Text | Reasoning):
                key = (event.choice, type(part).__name__)
                said[key] = said.get(key, "") + event.text
    asked = [(choice, name, json.loads("".join(pieces) or "{}")) for (choice, _), (name, *pieces) in calls.items()]
    callers = {choice for choice, _ in calls}
    ends = [
        "tool_calls" if event.finish == "stop" and event.choice in callers else event.finish
        for event in events
        if isinstance(event, Finished)
    ]
    return {key: text for key, text in said.items() if text}, asked, ends


def test_every_recorded_stream_keeps_its_facts_through_another_dialect(rows: list[dict[str, Any]]) -> None:
    count = 0
    for row in rows:
        if row["wire"] not in ("sse", "json-array"):
            continue
        wire = row["body_text"].encode() if row["wire"] == "sse" else json.dumps(row["body"]).encode()
        events = run(gemini.StreamDecoder(), wire)
        there = run(openai_chat.StreamDecoder(), written(openai_chat.StreamEncoder(), events))
        back = run(gemini.StreamDecoder(), written(gemini.StreamEncoder(), there))
        assert stream_facts(back) == stream_facts(events), row["id"]
        count += 1
    print({"the same": count})
    assert count


def test_every_recorded_chat_stream_keeps_its_facts_here() -> None:
    counts = Counter[str]()
    for row in recorded("openai-chat"):
        if row["wire"] != "sse":
            continue
        events = run(openai_chat.StreamDecoder(), row["body_text"].encode())
        encoder = gemini.StreamEncoder()
        wire = written(encoder, events)
        back = run(gemini.StreamDecoder(), wire)
        assert type(back[-1]) is type(events[-1]), row["id"]
        if isinstance(events[-1], Failed):
            assert b"finishReason" not in wire
            counts["failed"] += 1
        elif any("parts" in loss.field or "finish" in loss.field for loss in encoder.losses):
            counts["with announced losses of parts"] += 1
        else:
            assert stream_facts(back) == stream_facts(events), row["id"]
            counts["the same"] += 1
    print(dict(counts))
    assert counts["the same"]


def run(decoder: StreamDecoder, wire: bytes) -> list[Event]:
    return decoder.feed(wire) + decoder.close()


def written(encoder: StreamEncoder, events: list[Event]) -> bytes:
    return b"".join(encoder.encode(event) for event in events)
