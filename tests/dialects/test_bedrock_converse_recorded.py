"""Traffic of Bedrock that others recorded comes back as it was, and goes through Chat Completions and back.

Skips where the material is absent. Streams were recorded as decoded events; they are framed again here, so that the
framing itself is checked against nothing but its specification.
"""

import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.dialects.recorded_bedrock_converse import event, messages, turn_mistakes
from tests.dialects.test_recorded import differences
from understudy.canon import Answer, Ended, Event, File, Image, Inline, Message, Request, Text, ToolCall, ToolResult
from understudy.canon.join import join
from understudy.dialects import anthropic_messages, bedrock_converse, openai_chat

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "exchanges.jsonl.gz"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"
NOVA = "us.amazon.nova-2-lite-v1:0"


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def rows_of(dialect: str) -> list[dict[str, Any]]:
    if not MATERIAL.exists():
        pytest.skip("the recorded exchanges are not here")
    with gzip.open(MATERIAL, "rt") as lines:
        return [json.loads(line) for line in lines if f'"dialect": "{dialect}"' in line]


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    return rows_of("bedrock-converse")


def frames(row: dict[str, Any]) -> list[tuple[str, Any]]:
    """The events of a recorded stream."""
    if isinstance(row["body"], list):
        return [(item["event"], item["payload"]) for item in row["body"]]
    if row["wire"] == "ndjson":
        return [next(iter(json.loads(line).items())) for line in row["body_text"].splitlines()]
    return []


def read(data: bytes) -> list[Event]:
    decoder = bedrock_converse.StreamDecoder()
    return decoder.feed(data) + decoder.close()


def test_every_recorded_request_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    wrong, count = [], 0
    for row in exchanges:
        if row["request"] is None:
            continue
        again, losses = bedrock_converse.encode_request(bedrock_converse.decode_request(body(row["request"])))
        assert losses == (), row["id"]
        wrong += [f"{row['id']} {found}" for found in differences(row["request"], json.loads(again))]
        count += 1
    print(f"requests: {count}")
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_answer_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    wrong, count = [], 0
    for row in exchanges:
        if row["wire"] == "json" and row["status"] < 400:
            again, losses = bedrock_converse.encode_answer(bedrock_converse.decode_answer(body(row["body"])))
            assert losses == (), row["id"]
            wrong += [f"{row['id']} {found}" for found in differences(row["body"], json.loads(again))]
            count += 1
    print(f"answers: {count}")
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_stream_reads_the_same_when_written_again(exchanges: list[dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()
    for row in exchanges:
        found = read(b"".join(event(kind, payload) for kind, payload in frames(row)))
        if not frames(row):
            continue
        encoder = bedrock_converse.StreamEncoder()
        written = b"".join(encoder.encode(one) for one in found)
        assert encoder.losses == []
        assert read(written) == found, row["id"]
        assert isinstance(found[-1], Ended)
        text = "".join(p["delta"].get("text", "") for kind, p in frames(row) if kind == "contentBlockDelta")
        assert "".join(part.text for part in join(found).choices[0].parts if isinstance(part, Text)) == text
        kinds = [headers[":event-type"] for headers, _ in messages(written)]
        assert kinds[0] == "messageStart"
        assert kinds[-2:] in (["messageStop", "metadata"], ["contentBlockStop", "messageStop"])
        counts[row["wire"]] += 1
    print(dict(counts))


# --- through other dialects ------------------------------------------------------------------------------------------


def facts_of_answer(answer: Answer) -> Any:
    choice, usage = answer.choices[0], answer.usage
    text = "".join(part.text for part in choice.parts if isinstance(part, Text))
    calls = [(p.id, p.name, json.loads(p.arguments)) for p in choice.parts
             if isinstance(p, ToolCall) and p.kind == "function"]  # fmt: skip
    return text, calls, choice.finish, usage and (usage.input, usage.output, usage.cached_read, usage.cached_write)


def facts_of_request(found: tuple[Message, ...]) -> Counter[Any]:
    """What a conversation says, however it is cut into turns."""
    out: Counter[Any] = Counter()
    for role in ("system", "user", "assistant"):
        out["text", role, "".join(p.text for m in found if m.role == role for p in m.parts if isinstance(p, Text))] = 1
    for message in found:
        for part in message.parts:
            match part:
                case ToolCall(kind="function"):
                    out["call", part.id, part.name, str(json.loads(part.arguments))] += 1
                case ToolResult():
                    said = "".join(inner.text for inner in part.parts if isinstance(inner, Text))
                    out["result", part.call_id, said] += 1
                case Image(source=Inline()) | File(source=Inline()):
                    out[type(part).__name__, msgspec.json.encode(part.source)] += 1
    return out


def test_answers_go_through_chat_completions_and_back_with_the_same_facts(exchanges: list[dict[str, Any]]) -> None:
    count = 0
    for row in exchanges:
        if row["wire"] == "json" and row["status"] < 400:
            answer = bedrock_converse.decode_answer(body(row["body"]))
            chat = openai_chat.decode_answer(openai_chat.encode_answer(answer)[0])
            back = bedrock_converse.decode_answer(bedrock_converse.encode_answer(chat)[0])
            if answer.usage is None or answer.usage.input is None:  # a zero stands for it, and says so
                answer, back = (msgspec.structs.replace(one, usage=None) for one in (answer, back))
            assert facts_of_answer(back) == facts_of_answer(answer), row["id"]
            count += 1
    print(f"answers through chat: {count}")


def test_requests_go_through_chat_completions_and_back_with_the_same_facts(exchanges: list[dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()
    for row in exchanges:
        if row["request"] is None:
            continue
        request = bedrock_converse.decode_request(body(row["request"]))
        encoded, losses = openai_chat.encode_request(request)
        chat = openai_chat.decode_request(encoded)
        back, more = bedrock_converse.encode_request(msgspec.structs.replace(chat, model=CLAUDE))
        fields = {loss.field.partition("[")[0] for loss in (*losses, *more) if loss.field.startswith("messages")}
        same = facts_of_request(bedrock_converse.decode_request(back).messages) == facts_of_request(request.messages)
        assert same or fields, row["id"]
        counts["same" if same else "announced"] += 1
    print(f"requests through chat: {dict(counts)}")
    assert counts["same"] > 200


# --- what Bedrock takes ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "dialect"), [("openai-chat", openai_chat), ("anthropic-messages", anthropic_messages)]
)
def test_every_translated_request_is_one_that_bedrock_takes(name: str, dialect: Any) -> None:
    count = 0
    for row in rows_of(name):
        if row["request"] is None or row["status"] >= 400 or "messages" not in row["request"]:
            continue
        count += 1
        request: Request = dialect.decode_request(body(row["request"]))
        model = CLAUDE if count % 2 else NOVA
        wire = json.loads(bedrock_converse.encode_request(msgspec.structs.replace(request, model=model))[0])
        assert turn_mistakes(wire) == set(), row["id"]
    print(f"requests of {name}: {count}, refused: 0")
