"""Other dialects' streams told to a client of Anthropic's: well-formed, whatever order their events come in."""

import json
from typing import Any

import pytest

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Fault,
    Finished,
    Image,
    Loss,
    Part,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Refusal,
    Request,
    Skipped,
    Started,
    Stored,
    Text,
    ToolCall,
    Unknown,
    Usage,
    Used,
)
from understudy.dialects import anthropic_messages as dialect

START = Started("openai-chat", "chatcmpl-1", "gpt-5", 1, "default", {"system_fingerprint": "fp"})
USED = Used(Usage(10, 5, 15, cached_read=4, reasoning=2))


def written(*events: Event) -> tuple[list[dict[str, Any]], list[Loss]]:
    encoder = dialect.StreamEncoder(Request("anthropic-messages", "m", ()))
    wire = b"".join(encoder.encode(event) for event in events).decode()
    out = []
    for block in wire.split("\n\n")[:-1]:
        name, data = block.split("\n")
        out.append(json.loads(data.removeprefix("data: ")))
        assert name == "event: " + out[-1]["type"]
    return out, encoder.losses


def assert_well_formed(events: list[dict[str, Any]]) -> None:
    """One start, blocks one behind the other with rising indices, one `message_delta`, one `message_stop`."""
    names = [event["type"] for event in events if event["type"] != "ping"]
    assert names[0] == "message_start"
    assert names[-2:] == ["message_delta", "message_stop"]
    assert [names.count(name) for name in ("message_start", "message_delta", "message_stop")] == [1, 1, 1]
    opened = None
    count = 0
    for event in events:
        if event["type"] == "content_block_start":
            assert (opened, event["index"]) == (None, count)
            opened, count = count, count + 1
        elif event["type"] == "content_block_delta":
            assert event["index"] == opened
        elif event["type"] == "content_block_stop":
            assert event["index"] == opened
            opened = None
    assert opened is None


def part(index: int, what: Part, *deltas: Delta, ended: bool = True) -> list[Event]:
    return [PartStarted(0, index, what), *deltas, *([PartEnded(0, index)] if ended else [])]


def finished(reason: Any = "stop") -> list[Event]:
    return [Finished(0, reason, reason), USED, Ended()]


def blocks(events: list[dict[str, Any]]) -> list[tuple[dict[str, Any], str]]:
    """Blocks with all the text that their deltas brought."""
    out = []
    for event in events:
        if event["type"] == "content_block_start":
            out.append((event["content_block"], ""))
        elif event["type"] == "content_block_delta":
            delta = {key: value for key, value in event["delta"].items() if key != "type"}
            out[-1] = (out[-1][0], out[-1][1] + "".join(delta.values()))
    return out


def test_an_answer_of_openai_arrives_as_anthropics_would() -> None:
    events, losses = written(
        START, Ping("x"), *part(0, Text(""), Delta(0, 0, "Hel"), Delta(0, 0, "lo")), Skipped("?"), *finished("length")
    )
    assert_well_formed(events)
    assert events[0]["message"] == {
        "id": "chatcmpl-1",
        "type": "message",
        "role": "assistant",
        "model": "gpt-5",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0, "service_tier": "standard"},
    }
    assert blocks(events) == [({"type": "text", "text": ""}, "Hello")]
    assert events[-2] == {
        "type": "message_delta",
        "delta": {"stop_reason": "max_tokens", "stop_sequence": None},
        "usage": {
            "input_tokens": 6,
            "cache_read_input_tokens": 4,
            "output_tokens": 5,
            "output_tokens_details": {"thinking_tokens": 2},
        },
    }
    assert {loss.field for loss in losses} == {"system_fingerprint", "service_tier"}


def test_usage_that_comes_first_stands_in_the_start() -> None:
    events, _ = written(Started("gemini", "a", "m"), USED, *part(0, Text(""), Delta(0, 0, "a")), *finished())
    assert events[0]["message"]["usage"]["input_tokens"] == 6


def test_usage_that_never_comes_is_a_zero_and_announced() -> None:
    events, losses = written(Started("ollama"), *part(0, Text(""), Delta(0, 0, "a")), Finished(0, "stop"), Ended())
    assert events[-2]["usage"] == {"input_tokens": 0, "output_tokens": 0}
    assert [(loss.field, loss.kind) for loss in losses] == [("usage", "approximated")]


A, B, C = ToolCall("a", "f"), ToolCall("b", "g"), ToolCall("c", "h")


def test_parallel_calls_that_end_together_follow_one_another() -> None:
    """As OpenAI's decoder gives them: every call stays open to the end of its choice."""
    encoder_order: list[Event] = [
        *part(0, A, Delta(0, 0, '{"x"'), Delta(0, 0, ":1}"), ended=False),
        *part(1, B, Delta(0, 1, "{}"), ended=False),
        *(PartEnded(0, i) for i in range(2)),
    ]
    events, _ = written(START, *encoder_order, *finished("tool_calls"))
    assert_well_formed(events)
    assert [(block["id"], text) for block, text in blocks(events)] == [("a", '{"x":1}'), ("b", "{}")]
    assert events[-2]["delta"]["stop_reason"] == "tool_use"
    stops = [i for i, event in enumerate(events) if event["type"] == "content_block_stop"]
    assert events[stops[0] + 1]["content_block"]["id"] == "b", "a whole call does not hold up the next"


def test_alternating_fragments_of_calls_are_told_one_after_another() -> None:
    events, _ = written(
        START,
        *part(0, A, Delta(0, 0, '{"x"'), ended=False),
        *part(1, B, Delta(0, 1, '{"y"'), ended=False),
        *part(2, C, Delta(0, 2, "{}"), ended=False),
        Delta(0, 0, ":1}"),
        Delta(0, 1, ":2}"),
        *(PartEnded(0, i) for i in range(3)),
        *finished("tool_calls"),
    )
    assert_well_formed(events)
    assert [(block["id"], text) for block, text in blocks(events)] == [("a", '{"x":1}'), ("b", '{"y":2}'), ("c", "{}")]


def test_parts_that_end_out_of_order_still_follow_one_another() -> None:
    events, _ = written(
        START,
        *part(0, A, Delta(0, 0, '{"x"'), ended=False),
        *part(1, Text(""), Delta(0, 1, "b")),
        *part(2, B, Delta(0, 2, "{}")),
        Delta(0, 0, ":1}"),
        PartEnded(0, 0),
        *finished("tool_calls"),
    )
    assert_well_formed(events)
    assert [text for _, text in blocks(events)] == ['{"x":1}', "b", "{}"]


def test_what_follows_a_whole_object_is_no_part_of_it() -> None:
    calls: list[Event] = [*part(0, A, Delta(0, 0, "{}"), ended=False), *part(1, B, Delta(0, 1, "{}"))]
    events, losses = written(START, *calls, Delta(0, 0, " \n"), Delta(0, 0, "{}"), PartEnded(0, 0), *finished())
    assert_well_formed(events)
    assert [loss.field for loss in losses if "parts" in loss.field] == ["choices[0].parts[0].arguments"]


def test_parts_still_open_at_the_end_are_closed_then() -> None:
    events, _ = written(START, *part(0, A, Delta(0, 0, '{"x"'), ended=False), *finished("length"))
    assert_well_formed(events)


def test_a_free_text_call_becomes_an_object_with_the_text_in_it() -> None:
    call = ToolCall("", "patch", kind="custom", signature="s")
    text = 'say "hi"\n\\ 👋'
    events, losses = written(
        START, *part(3, call, Delta(0, 3, text[:5]), Delta(0, 3, text[5:])), *finished("tool_calls")
    )
    assert_well_formed(events)
    [(block, arguments)] = blocks(events)
    assert (block["type"], block["id"], json.loads(arguments)) == ("tool_use", "call_3", {"input": text})
    path = "choices[0].parts[3]."
    assert {path + "arguments", path + "id", path + "signature"} <= {loss.field for loss in losses}


def test_reasoning_of_another_provider_is_carried_and_comes_back() -> None:
    thought = Reasoning("", None, None, None, "rs_1")
    events, _ = written(
        START,
        *part(0, thought, Delta(0, 0, "Let "), Delta(0, 0, "me", signature="sig", sealed="gAAA")),
        *part(1, Reasoning(summary=""), Delta(0, 1, "Sum")),
        *part(2, Reasoning(sealed="only")),
        *part(3, Text(""), Delta(0, 3, "4")),
        *finished(),
    )
    assert_well_formed(events)
    content = []
    for block, said in blocks(events)[:3]:
        text, mark, signature = said.partition("understudy:")
        content.append({**block, "thinking": text, "signature": mark + signature})
    body = {"model": "m", "messages": [{"role": "assistant", "content": content}]}
    request = dialect.decode_request(json.dumps(body).encode())
    assert request.messages[0].parts == (
        Reasoning("Let me", None, "sig", "gAAA", "rs_1", "openai-chat"),
        Reasoning(summary="Sum", origin="openai-chat"),
        Reasoning(sealed="only", origin="openai-chat"),
    )
    again, losses = dialect.encode_request(request)
    assert json.loads(again)["messages"] == [{"role": "assistant", "content": []}], "Anthropic would refuse it"
    assert {loss.field for loss in losses} == {f"messages[0].parts[{i}]" for i in range(3)}


@pytest.mark.parametrize("origin", ["anthropic/claude-sonnet-4-5", "anthropic-messages/claude-sonnet-4-5"])
def test_reasoning_that_anthropic_signed_needs_no_carrying(origin: str) -> None:
    """As when a client reaches Claude by way of a server of another dialect."""
    events, _ = written(
        START,
        *part(0, Reasoning(origin=origin), Delta(0, 0, "hm", signature="EpAB")),
        *part(1, Reasoning(sealed="Zm9v", origin=origin)),
        *finished(),
    )
    assert_well_formed(events)
    assert [(block["type"], text) for block, text in blocks(events)] == [
        ("thinking", "hmEpAB"),
        ("redacted_thinking", ""),
    ]
    answer = Answer("openai-chat", "a", "m", (Choice(0, (Reasoning("hm", signature="EpAB", origin=origin),), "stop"),))
    assert json.loads(dialect.encode_answer(answer)[0])["content"] == [
        {"type": "thinking", "thinking": "hm", "signature": "EpAB"}
    ]


def test_what_has_no_block_is_announced_and_left_out() -> None:
    events, losses = written(
        START,
        *part(0, Image(Stored("f"))),
        *part(1, Unknown("odd", {})),
        *part(2, ToolCall("a", "search", kind="hosted"), Delta(0, 2, "{}")),
        *part(3, Audio(id="x"), Delta(0, 3, "spoken", "AAAA"), Delta(0, 3, " word", "AAAA")),
        *part(4, Refusal(""), Delta(0, 4, "no")),
        *part(5, Text("", extra={"odd": 1}), Delta(0, 5, "t", citations=(Citation(url="u"),), extra={"x": 1})),
        *part(6, Text(""), Delta(0, 6, "t", signature="s")),
        Extras(None, {"obfuscated": 1}),
        Extras(0, {"logprobs": 1}),
        PartStarted(1, 0, Text("")),
        Delta(1, 0, "second"),
        PartEnded(1, 0),
        Finished(1, "stop"),
        Finished(0, "filtered", "SAFETY", {"ratings": 1}),
        Used(Usage(1, 2), {"x_groq": 1}),
        Ended(),
    )
    assert_well_formed(events)
    assert [text for _, text in blocks(events)] == ["spoken word", "no", "t", "t"]
    parts = "choices[0].parts"
    assert {loss.field for loss in losses} >= {
        *(f"{parts}[{i}]" for i in range(5)),
        f"{parts}[3].source",
        f"{parts}[5].odd",
        f"{parts}[5].x",
        f"{parts}[5].citations",
        f"{parts}[6].signature",
        "obfuscated",
        "choices[0].logprobs",
        "choices[0].ratings",
        "choices[0].finish",
        "choices[1]",
        "usage.x_groq",
    }
    assert events[-2]["delta"]["stop_reason"] == "refusal"


def test_a_stop_for_calls_that_could_not_be_told_is_a_plain_one() -> None:
    events, losses = written(START, *part(0, ToolCall("a", "search", kind="hosted")), *finished("tool_calls"))
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert "choices[0].finish" in {loss.field for loss in losses}


@pytest.mark.parametrize("finish", ["error", "unknown"])
def test_a_broken_answer_never_looks_finished(finish: Any) -> None:
    events, losses = written(START, *part(0, Text(""), Delta(0, 0, "a")), Finished(0, finish), USED, Ended())
    assert events[-2]["delta"]["stop_reason"] is None
    assert "choices[0].finish" in {loss.field for loss in losses}


def test_a_failure_leaves_the_blocks_open_and_says_why() -> None:
    fault = Fault("stream_cut", message="The line went dead.", phase="stream")
    events, _ = written(START, *part(0, Text(""), Delta(0, 0, "Half"), ended=False), Failed(fault))
    assert [event["type"] for event in events] == [
        "message_start", "content_block_start", "content_block_delta", "error"]  # fmt: skip
    assert events[-1]["error"] == {
        "type": "api_error",
        "message": "The line went dead.",
        "details": {"error_code": "stream_cut"},
    }


def test_a_failure_before_the_start_is_an_error_event_alone() -> None:
    events, _ = written(Ping(), Failed(Fault(status=503)))
    assert [event["type"] for event in events] == ["ping", "error"]
    assert events[-1]["error"]["type"] == "overloaded_error"


def test_an_event_that_is_too_large_ends_the_stream() -> None:
    decoder = dialect.StreamDecoder()
    events = decoder.feed(b"data: " + b"x" * (17 * 1024 * 1024))
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.kind == "malformed_events"
    assert decoder.feed(b"\n\n") == decoder.close() == []


def test_a_message_made_by_hand_is_told_without_notes_of_spelling() -> None:
    """As the seam of a continued answer makes them, in this dialect's own name."""
    own = Started("anthropic-messages", "msg_1", "claude-sonnet-4-5")
    events, losses = written(own, *part(0, Reasoning(origin="x/y"), Delta(0, 0, "hm")), Finished(0, "stop"), Ended())
    assert_well_formed(events)
    assert events[-2]["delta"]["stop_reason"] == "end_turn"
    assert losses == []
