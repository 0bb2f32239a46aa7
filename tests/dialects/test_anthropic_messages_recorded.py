"""Traffic that others recorded from Anthropic decodes and encodes back, and through openai-chat. Skips without it.

Streams are compared with a sum of the original events that shares no code with the decoder.
"""

import json
from collections import Counter
from typing import Any

import msgspec
import pytest

from tests.dialects.recorded_anthropic_messages import (
    NAME,
    exchanges,
    first_message,
    request_rejections,
    total,
    turn_rejections,
)
from tests.dialects.test_recorded import differences
from understudy.canon import (
    Answer,
    Delta,
    Ended,
    Failed,
    File,
    Image,
    Loss,
    Message,
    Part,
    PartStarted,
    Request,
    Text,
    ToolCall,
    ToolResult,
    Unknown,
)
from understudy.canon.join import join
from understudy.dialects import Malformed, openai_chat
from understudy.dialects import anthropic_messages as dialect

REASONS = {
    "start-twice": "The same `message_start` twice (a proxy that retried) is sent once.",
    "whole-at-start": "A message that came whole in its start is sent as blocks and a `message_delta`.",
    "never-stopped": "A block that the token limit cut off is stopped, as every block should be.",
    "signature-required": "A thinking block that starts without a signature starts with an empty one, as required.",
    "several-answers": "A transcript of several answers is read up to the end of the first.",
}
MALFORMED = {"4c985d7b9d0b3194": "messages[0]"}
"""The one recorded request that Anthropic itself refused for its shape, and where."""

SECOND_MESSAGE = "fabfc14ee1989c39"
"""A made-up stream in which a second message begins inside the first: a failure here."""

NEWER_THAN_THE_DOCUMENT = ("web_search_20260318", "code_execution_20260521")


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return exchanges(NAME)


def test_every_recorded_request_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row in rows:
        if row["request"] is None:
            continue
        wire = json.dumps(row["request"]).encode()
        if row["id"] in MALFORMED:
            with pytest.raises(Malformed) as caught:
                dialect.decode_request(wire)
            assert caught.value.field == MALFORMED[row["id"]]
            counts["request: malformed, as Anthropic said"] += 1
            continue
        body, losses = dialect.encode_request(dialect.decode_request(wire))
        found = differences(row["request"], json.loads(body))
        counts["request: " + ("UNEXPLAINED" if found or losses else "exact")] += 1
        wrong += [(row["id"], found[:3], losses)] if found or losses else []
    print(dict(counts))
    assert not wrong, wrong[:10]


def test_every_recorded_answer_comes_back_as_it_was(rows: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row in rows:
        if row["wire"] != "json" or "content" not in row["body"]:
            continue
        body, losses = dialect.encode_answer(dialect.decode_answer(json.dumps(row["body"]).encode()))
        found = differences(row["body"], json.loads(body))
        counts["answer: " + ("UNEXPLAINED" if found or losses else "exact")] += 1
        wrong += [(row["id"], found[:3], losses)] if found or losses else []
    print(dict(counts))
    assert not wrong, wrong[:10]


def test_every_recorded_stream_comes_back_as_the_same_message(rows: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row in rows:
        if row["wire"] != "sse":
            continue
        decoder, encoder = dialect.StreamDecoder(), dialect.StreamEncoder()
        events = decoder.feed(row["body_text"].encode()) + decoder.close()
        again = b"".join(encoder.encode(event) for event in events).decode()
        assert encoder.losses == []
        if isinstance(events[-1], Failed):
            assert row["id"] == SECOND_MESSAGE
            assert '"message_stop"' not in again
            counts["stream: a second message, failed"] += 1
            continue
        assert isinstance(events[-1], Ended)
        reasons: set[str] = set()
        first = first_message(row["body_text"])
        if len(first.rstrip()) < len(row["body_text"].rstrip()):
            reasons.add("several-answers")
        found = differences(total(first, reasons), total(again, set()))
        assert reasons <= REASONS.keys()
        counts["stream: " + ("UNEXPLAINED" if found else " + ".join(sorted(reasons)) or "exact")] += 1
        wrong += [(row["id"], found[:3])] if found else []
    print(dict(counts))
    assert not wrong, wrong[:10]


def test_every_recorded_error_keeps_its_structured_fields(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["status"] == 200:
            continue
        headers = {key.lower(): str(value) for key, value in row["headers"].items()}
        fault = dialect.decode_fault(row["status"], headers, json.dumps(row["body"]).encode())
        error = row["body"]["error"]
        assert (fault.type, fault.message, fault.status) == (error["type"], error["message"], row["status"])
        assert fault.request_id == headers["request-id"]
        status, _, body = dialect.encode_fault(fault)
        assert status == row["status"]
        assert json.loads(body)["error"] == error
        counts[fault.type] += 1
    print(dict(counts))
    assert counts


# --- through openai-chat and back ------------------------------------------------------------------------------------


def facts(part: Part) -> Any:
    """What both dialects carry of a part; None for one that openai-chat has no place for."""
    match part:
        case Text(text=text):
            return ("text", text) if text.strip() else None
        case ToolCall(kind="function", name=name, arguments=arguments):
            return ("call", name, json.loads(arguments or "{}"))
        case ToolResult(parts=parts):
            return ("result", "\n".join(inner.text for inner in parts if isinstance(inner, Text)))
        case Image(source=source) | File(source=source):
            return (type(part).__name__, msgspec.to_builtins(source))
    return None


def conversation(request: Request, losses: tuple[Loss, ...]) -> list[Any]:
    """The facts of all messages, those announced as lost apart; pictures of tool results count as the user's."""
    lost = {loss.field.removesuffix(".source").removesuffix(".media_type") for loss in losses}
    found = []
    for i, message in enumerate(request.messages):
        texts, after = [], []
        for j, part in enumerate(message.parts):
            path = f"messages[{i}].parts[{j}]"
            if path in lost and not isinstance(part, ToolResult):
                continue
            if isinstance(part, ToolResult):
                after += [
                    (message_role(message), fact)
                    for k, inner in enumerate(part.parts)
                    if isinstance(inner, Image | File)
                    and not any(field == f"{path}.parts[{k}]" and kind == "dropped" for field, kind in kinds(losses))
                    and (fact := facts(inner)) is not None
                ]
            if (fact := facts(part)) is not None:
                texts.append((message_role(message), fact))
        found += texts + after
    return found


def kinds(losses: tuple[Loss, ...]) -> set[tuple[str, str]]:
    return {(loss.field.removesuffix(".source"), loss.kind) for loss in losses}


def message_role(message: Message) -> str:
    return "user" if message.role == "tool" else message.role


def sorted_facts(found: list[Any]) -> list[str]:
    return sorted(json.dumps(fact, sort_keys=True) for fact in found)


def test_every_recorded_request_keeps_its_facts_through_openai_chat_and_is_allowed(rows: list[dict[str, Any]]) -> None:
    counts, wrong = Counter[str](), []
    for row in rows:
        if row["request"] is None or row["id"] in MALFORMED:
            continue
        request = dialect.decode_request(json.dumps(row["request"]).encode())
        there, losses = openai_chat.encode_request(request)
        back, more = dialect.encode_request(openai_chat.decode_request(there))
        again = dialect.decode_request(back)
        old, new = conversation(request, losses), conversation(again, ())
        told = [loss for loss in losses if loss.why.endswith("is a text here")]  # a result of no call, and a lone call
        told += [loss for loss in more if loss.field.startswith("messages")]
        if sorted_facts(old) != sorted_facts(new) and not told:
            wrong.append((row["id"], old, new, losses))
        assert request.sampling.max_tokens == again.sampling.max_tokens
        assert request.sampling.stop == again.sampling.stop
        found = request_rejections(json.loads(back)) + turn_rejections(json.loads(back))
        wrong += [(row["id"], found)] if found else []
        counts["request through openai-chat: " + ("losses announced" if losses or more else "exact")] += 1
    print(dict(counts))
    assert not wrong, wrong[:5]


def test_every_recorded_request_of_its_own_is_allowed_by_the_document(rows: list[dict[str, Any]]) -> None:
    """As it came and as it is written again: the same, and nothing refused but what is newer than the document."""
    counts, wrong = Counter[str](), []
    for row in rows:
        if row["request"] is None or row["id"] in MALFORMED:
            continue
        body = json.loads(dialect.encode_request(dialect.decode_request(json.dumps(row["request"]).encode()))[0])
        found = request_rejections(body)
        newer = [why for why in found if any(name in why for name in NEWER_THAN_THE_DOCUMENT)]
        counts["newer than the document" if newer else "allowed"] += 1
        wrong += [(row["id"], found)] if len(newer) < len(found) else []
    print(dict(counts))
    assert not wrong, wrong[:10]


@pytest.mark.parametrize("model", [None, "claude-opus-4-8", "claude-sonnet-4-5"])
def test_every_recorded_openai_chat_request_is_allowed_by_the_document(model: str | None) -> None:
    counts, wrong = Counter[str](), []
    for row in exchanges("openai-chat"):
        if row["request"] is None:
            continue
        request = openai_chat.decode_request(json.dumps(row["request"]).encode())
        request = msgspec.structs.replace(request, model=model or request.model or "m")
        body, losses = dialect.encode_request(request)
        found = request_rejections(json.loads(body)) + turn_rejections(json.loads(body))
        counts["rejected" if found else "allowed, with losses" if losses else "allowed, exact"] += 1
        wrong += [(row["id"], found)] if found else []
    print(model, dict(counts))
    assert not wrong, wrong[:10]


def answer_facts(answer: Answer) -> Any:
    choice = answer.choices[0]
    shown = [fact for part in choice.parts if (fact := facts(part)) is not None]
    words = "".join(part.text for part in choice.parts if isinstance(part, Text))
    finish = {"paused": "length", "filtered": "refusal"}.get(choice.finish or "", choice.finish)
    usage = answer.usage
    counts = None if usage is None else (usage.input, usage.output, usage.cached_read or 0, usage.cached_write or 0)
    return words, [fact for fact in shown if fact[0] == "call"], finish, counts


def test_every_recorded_answer_keeps_its_facts_through_openai_chat(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["wire"] != "json" or "content" not in row["body"]:
            continue
        answer = dialect.decode_answer(json.dumps(row["body"]).encode())
        there, losses = openai_chat.encode_answer(answer)
        middle = openai_chat.decode_answer(there)
        back, more = dialect.encode_answer(middle)
        old, new = answer_facts(answer), answer_facts(dialect.decode_answer(back))
        assert old == new, row["id"]
        counts["answer through openai-chat: " + ("losses announced" if losses or more else "exact")] += 1
    print(dict(counts))


def test_every_recorded_stream_keeps_its_facts_through_openai_chat(rows: list[dict[str, Any]]) -> None:
    counts = Counter[str]()
    for row in rows:
        if row["wire"] != "sse" or row["id"] == SECOND_MESSAGE:
            continue
        decoder, encoder = dialect.StreamDecoder(), openai_chat.StreamEncoder()
        events = decoder.feed(row["body_text"].encode()) + decoder.close()
        there = b"".join(encoder.encode(event) for event in events)
        chat, client = openai_chat.StreamDecoder(), dialect.StreamEncoder()
        middle = chat.feed(there) + chat.close()
        back = b"".join(client.encode(event) for event in middle)
        reader = dialect.StreamDecoder()
        last = reader.feed(back) + reader.close()
        truncated = "max_tokens" in row["body_text"]
        old, new = (streamed_facts(found, whole=not truncated) for found in (events, last))
        if not any(isinstance(event, PartStarted) and isinstance(event.part, Unknown) for event in events):
            assert old == new, row["id"]
        assert total(back.decode(), set())["done"]
        losses = encoder.losses or client.losses
        counts["stream through openai-chat: " + ("losses announced" if losses else "exact")] += 1
    print(dict(counts))


def streamed_facts(events: list[Any], *, whole: bool) -> Any:
    skipped = {e.index for e in events if isinstance(e, PartStarted) and isinstance(e.part, Unknown)}
    kept = [e for e in events if not (isinstance(e, Delta) and e.index in skipped)]
    answer = join(kept)
    if not whole:
        names = [part.name for part in answer.choices[0].parts if isinstance(part, ToolCall)]
        return "".join(p.text for p in answer.choices[0].parts if isinstance(p, Text)), names
    return answer_facts(answer)
