"""Ollama's own shapes, what becomes of other dialects' conversations there, every loss by its path, and faults."""

import base64
import json
from typing import Any

import pytest

from tests.dialects.recorded_cohere_ollama import ollama_errors
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Fault,
    File,
    Finished,
    Image,
    Inline,
    Message,
    Part,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
    Usage,
)
from understudy.dialects import Malformed, ollama

HI = Message("user", (Text("hi"),))
TEXT = File(Inline(base64.b64encode(b"The moon pulls.").decode(), "text/plain"), title="Tides")


def sent(*messages: Message, **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
    body, losses = ollama.encode_request(Request("another", "m", messages or (HI,), **fields))
    out = json.loads(body)
    assert ollama_errors(out) == []
    return out, {loss.field: loss.kind for loss in losses}


def back(wire: dict[str, Any]) -> dict[str, Any]:
    body, losses = ollama.encode_request(ollama.decode_request(json.dumps(wire).encode()))
    assert losses == ()
    found: dict[str, Any] = json.loads(body)
    return found


def test_a_request_streams_unless_it_says_otherwise() -> None:
    for wire, streams in (({}, True), ({"stream": None}, True), ({"stream": True}, True), ({"stream": False}, False)):
        body = {"model": "m", "messages": [{"role": "user", "content": "x"}], **wire}
        assert ollama.decode_request(json.dumps(body).encode()).stream is streams
        assert back(body) == body
    assert sent()[0]["stream"] is False


def test_a_generate_request_is_a_conversation_and_comes_back() -> None:
    wire = {
        "model": "m",
        "system": "s",
        "prompt": "p",
        "images": ["iVBORw0K"],
        "raw": True,
        "context": [1],
        "suffix": "z",
    }
    request = ollama.decode_request(json.dumps(wire).encode())
    assert ollama.is_generate(request)
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.messages[1].parts[1] == Image(Inline("iVBORw0K", "image/png"))
    assert back(wire) == wire
    grown = Request(ollama.NAME, "m", (HI, HI), extra=request.extra)
    assert len(json.loads(ollama.encode_request(grown)[0])["messages"]) == 2
    answer = Answer("another", "", "m", (Choice(0, (Reasoning("h"), Text("x")), "stop"),))
    out = json.loads(ollama.encode_answer(answer, generate=True)[0])
    assert (out["response"], out["thinking"], "message" in out) == ("x", "h", False)
    encoder = ollama.StreamEncoder(request)
    encoder.encode(Started("another"))
    encoder.encode(PartStarted(0, 0, Text("")))
    assert json.loads(encoder.encode(Delta(0, 0, "x")))["response"] == "x"


def test_calls_without_ids_get_the_same_ones_each_time_and_lose_them_again() -> None:
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    wire = {
        "model": "m",
        "messages": [
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [call, {"function": {"name": "g"}}, {**call, "id": "own"}],
            },
            {"role": "tool", "content": "2", "tool_name": "g"},
            {"role": "tool", "content": "1"},
            {"role": "tool", "content": "3", "tool_call_id": "own"},
            {"role": "tool", "content": "4"},
        ],
    }
    first, again = (ollama.decode_request(json.dumps(wire).encode()) for _ in range(2))
    assert first == again
    ids = [part.id for part in first.messages[0].parts]  # type: ignore[union-attr]  # calls
    assert len(set(ids)) == 3
    answered = [message.parts[0].call_id for message in first.messages[1:]]  # type: ignore[union-attr]  # results
    assert answered == [ids[1], ids[0], "own", ""]
    assert back(wire) == wire


def test_options_keep_what_canon_cannot_say() -> None:
    wire = {
        "model": "m",
        "messages": [],
        "options": {"num_predict": -1, "num_ctx": 4096, "stop": "x", "seed": 1, "repeat_penalty": 1.1, "top_k": 1.5},
        "format": {"type": "object"},
        "think": "high",
        "keep_alive": -1,
        "logprobs": True,
        "top_logprobs": 0,
    }
    request = ollama.decode_request(json.dumps(wire).encode())
    assert request.sampling == Sampling(seed=1, repetition_penalty=1.1, stop=("x",))
    assert request.reasoning == ReasoningEffort("high", enabled=True)
    assert back(wire) == wire
    assert back({"model": "m", "messages": [], "logprobs": False, "think": False})["think"] is False


def test_a_foreign_history_is_reshaped_and_every_change_announced() -> None:
    picture = Image(Inline("AA==", "image/png"), "low", CacheHint())
    out, losses = sent(
        Message("developer", (Text("Be brief."),)),
        Message("user", (Text("a"), picture, Text("b"), Image(Url("https://a.example")), TEXT, Audio()), name="n"),
        Message("assistant", (Reasoning("hm", "s", "sig"), Refusal("no"), ToolCall("c", "f", "{"),
                              ToolCall("d", "g", "x", "custom"),
                              ToolCall("h", "search", "", "hosted"), Text("t", (Citation(),)))),
        Message("tool", (ToolResult("c", (Text("1"), picture), failed=True), ToolResult("d"))),
        Message("assistant", (Audio(),)),
    )  # fmt: skip
    assert [message["role"] for message in out["messages"]] == ["system", "user", "assistant", "tool", "tool"]
    assert out["messages"][1]["content"] == "a\nb\nTides\n\nThe moon pulls."
    assert out["messages"][2]["tool_calls"][0] == {
        "id": "c",
        "function": {"name": "f", "arguments": {"arguments": "{"}},
    }
    assert out["messages"][3]["tool_name"] == "f"
    assert out["messages"][4] == {"role": "tool", "content": "", "tool_name": "g", "tool_call_id": "d"}
    assert {name for name in losses if name.startswith("messages[1]")} == {
        "messages[1]", "messages[1].name", "messages[1].parts[1].cache", "messages[1].parts[1].detail",
        "messages[1].parts[3]", "messages[1].parts[4]", "messages[1].parts[5]",
    }  # fmt: skip
    assert {name for name in losses if name.startswith("messages[2]")} == {
        "messages[2]", "messages[2].parts[0].signature", "messages[2].parts[0].summary", "messages[2].parts[1]",
        "messages[2].parts[2].arguments", "messages[2].parts[3].arguments", "messages[2].parts[4]",
        "messages[2].parts[5].citations",
    }  # fmt: skip
    assert {"messages[3].parts[0].failed", "messages[4].parts[0]"} <= losses.keys()


def test_tools_and_choice_keep_to_what_there_is() -> None:
    tools = (
        Tool("f", strict=True, cache=CacheHint()),
        Tool("g", "custom", "d", grammar={"x": 1}),
        Tool("web", "hosted"),
    )
    out, losses = sent(tools=tools, tool_choice=ToolChoice("required"), parallel_tool_calls=False)
    assert [tool["function"]["name"] for tool in out["tools"]] == ["f", "g"]
    assert losses.keys() == {
        "tools[0].strict", "tools[0].cache", "tools[1].kind", "tools[1].grammar", "tools[2]", "tool_choice",
        "parallel_tool_calls",
    }  # fmt: skip
    out, losses = sent(tools=tools[:1], tool_choice=ToolChoice("none"))
    assert "tools" not in out
    assert losses == {"tools": "approximated"}


@pytest.mark.parametrize(
    ("wanted", "wire", "lost"),
    [
        (ReasoningEffort("none"), False, set()),
        (ReasoningEffort("xhigh", 9, summary="auto"), "high", {"effort", "budget", "summary"}),
        (ReasoningEffort("odd"), None, {"effort"}),
        (ReasoningEffort(enabled=True), True, set()),
    ],
)
def test_effort_is_a_level(wanted: ReasoningEffort, wire: Any, lost: set[str]) -> None:
    out, losses = sent(reasoning=wanted)
    assert (out.get("think"), set(losses)) == (wire, {"reasoning." + name for name in lost})


def test_what_a_request_cannot_say_here_is_lost_by_name() -> None:
    wanted = ResponseFormat("schema", "n", "d", {"type": "object"}, strict=False)
    out, losses = sent(
        verbosity="low", user="u", previous="r", extra={"odd": 1}, response_format=wanted,
        sampling=Sampling(logit_bias={"1": 1.0}), logprobs=2,
    )  # fmt: skip
    assert (out["format"], out["top_logprobs"]) == ({"type": "object"}, 2)
    assert losses.keys() == {
        "verbosity", "user", "previous", "odd", "sampling.logit_bias", "response_format.name",
        "response_format.description", "response_format.strict",
    }  # fmt: skip


PARTS: tuple[Part, ...] = (Text("a"), Text("b"), ToolCall("c", "f", "{"), ToolCall("d", "g", '{"x":1}'), Audio())


def test_a_foreign_answer_is_written_and_its_losses_named() -> None:
    usage = Usage(1, 2, 9, 1, estimated=True)
    answer = Answer("another", "a", "m", (Choice(0, PARTS, "filtered"), Choice(1, ())), usage, 5, "flex")
    body, losses = ollama.encode_answer(answer)
    out = json.loads(body)
    assert out["message"]["content"] == "a\nb"
    assert [call["function"]["name"] for call in out["message"]["tool_calls"]] == ["g"]
    assert (out["created_at"], out["done"], out["done_reason"]) == ("1970-01-01T00:00:05Z", True, "length")
    assert (out["prompt_eval_count"], out["eval_count"]) == (1, 2)
    assert {loss.field for loss in losses} == {
        "choices[0]", "choices[0].parts[2]", "choices[0].parts[4]", "choices[0].finish", "choices[1]", "id",
        "service_tier", "usage.total", "usage.cached_read", "usage.estimated",
    }  # fmt: skip


def test_a_foreign_stream_is_written_and_its_losses_named() -> None:
    encoder = ollama.StreamEncoder()
    events: list[Event] = [Started("another", "a", "m", 5), Ping("x")]
    parts: list[Part] = [Text(""), Refusal(""), ToolCall("c", "f"), Image(Inline("AA==")), Audio()]
    for index, part in enumerate(parts):
        events += [PartStarted(0, index, part), Delta(0, index, "{", signature="s"), PartEnded(0, index)]
    events += [PartStarted(1, 0, Text("")), Finished(0, "paused"), Ended()]
    lines = [json.loads(line) for line in b"".join(map(encoder.encode, events)).splitlines()]
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    assert not any("tool_calls" in line["message"] for line in lines)
    assert lines[-1]["done_reason"] == "length"
    assert {loss.field for loss in encoder.losses} >= {
        "id", "choices[1]", "choices[0].finish", "choices[0].parts[0].signature", "choices[0].parts[2]",
        "choices[0].parts[1]", "choices[0].parts[4]",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"[]", "body"),
        (b"{}", "messages"),
        (b'{"messages":[{"role":"model"}]}', "messages[0].role"),
        (b'{"messages":[],"format":"xml"}', "format"),
        (b'{"messages":[{"role":"assistant","tool_calls":[{"function":{"arguments":"x"}}]}]}',
         "messages[0].tool_calls[0].function.arguments"),
    ],
)  # fmt: skip
def test_a_mistake_is_named_by_its_path(body: bytes, field: str) -> None:
    with pytest.raises(Malformed) as raised:
        ollama.decode_request(body)
    assert raised.value.field == field


def test_an_error_is_no_answer() -> None:
    with pytest.raises(Malformed, match="the body is an error"):
        ollama.decode_answer(b'{"error":"x"}')


def test_errors_keep_their_words() -> None:
    fault = ollama.decode_fault(404, {}, b'{"error":"model \'x\' not found"}')
    assert fault == Fault(status=404, message="model 'x' not found")
    status, headers, body = ollama.encode_fault(Fault("overloaded", retry_after=2))
    assert (status, headers["retry-after"]) == (503, "2")
    assert json.loads(body) == {"error": "The provider gave no reason.", "code": "overloaded"}
