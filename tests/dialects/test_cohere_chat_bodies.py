"""Cohere's own shapes, what becomes of other dialects' conversations there, every loss by its path, and faults."""

import base64
import json
from typing import Any

import pytest

from tests.dialects.recorded_cohere_ollama import cohere_errors
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Caching,
    Choice,
    Citation,
    Delta,
    Ended,
    Fault,
    File,
    Finished,
    Image,
    Inline,
    Message,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Stored,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
    Usage,
)
from understudy.dialects import Malformed, cohere_chat

HI = Message("user", (Text("hi"),))
TEXT = File(Inline(base64.b64encode(b"The moon pulls.").decode(), "text/plain"), title="Tides")
SCHEMA = {"type": "object", "properties": {"a": {"type": "string", "minLength": 2}}, "required": ["a"]}


def sent(*messages: Message, **fields: Any) -> tuple[dict[str, Any], dict[str, str]]:
    body, losses = cohere_chat.encode_request(Request("another", "m", messages or (HI,), **fields))
    out = json.loads(body)
    assert cohere_errors(out) == []
    return out, {loss.field: loss.kind for loss in losses}


def test_documents_are_files_before_the_last_user_message_and_come_back() -> None:
    wire = {
        "model": "m",
        "messages": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}],
        "documents": [
            "plain",
            {"id": "d", "data": "text"},
            {"id": "e", "data": {"title": "T", "text": "x"}},
            {"data": {"n": "1"}},
        ],
        "citation_options": {"mode": "FAST"},
    }  # fmt: skip
    request = cohere_chat.decode_request(json.dumps(wire).encode())
    files = request.messages[1].parts
    assert [base64.b64decode(part.source.data) for part in files] == [b"plain", b"text", b"x", b'{"n":"1"}']  # type: ignore[union-attr]  # files inline
    assert files[2].title == "T"  # type: ignore[union-attr]  # a file
    assert json.loads(cohere_chat.encode_request(request)[0]) == wire


def test_a_plan_is_a_text_and_a_foreign_text_before_calls_a_plan() -> None:
    call = ToolCall("c1", "f", '{"a":1}')
    out, losses = sent(
        HI, Message("assistant", (Text("Let me look."), call)), Message("tool", (ToolResult("c1", (Text("7"),)),))
    )
    assert out["messages"][1]["tool_plan"] == "Let me look."
    assert losses == {}
    back = cohere_chat.decode_request(json.dumps(out).encode())
    assert back.messages[1].parts[0].text == "Let me look."  # type: ignore[union-attr]  # a text


def test_a_foreign_history_is_reshaped_and_every_change_announced() -> None:
    out, losses = sent(
        Message("developer", (Text("Be brief.", cache=CacheHint()),)),
        Message("user", (Text("see"), Image(Url("https://a.example/1.png"), "low"), Image(Stored("f")), TEXT, Audio())),
        Message("user", (File(Inline("JVBERi0=", "application/pdf")), Text(""))),
        Message("assistant", (Reasoning("hm"), Text("a", signature="s"), Refusal("no"), ToolCall("", "f", "{"),
                              ToolCall("h", "search", "{}", "hosted"), ToolCall("u", "g", "{}")), name="bot"),
        Message("tool", (ToolResult("", (), "f", failed=True), ToolResult("zz", (Text("late"),)), Text("x"))),
        Message("assistant", (Text("Cited.", (Citation("url", "https://a.example", "A", start=0, end=5),)),)),
    )  # fmt: skip
    roles = [message["role"] for message in out["messages"]]
    assert roles == ["system", "user", "assistant", "tool", "user", "assistant", "user"]
    assert out["documents"] == [{"id": "doc:0", "data": {"text": "The moon pulls.", "title": "Tides"}}]
    call = out["messages"][2]["tool_calls"][0]
    assert (call["id"], json.loads(call["function"]["arguments"])) == ("call_2_0", {"arguments": "{"})
    assert out["messages"][3] == {"role": "tool", "tool_call_id": "call_2_0", "content": "(empty)"}
    assert out["messages"][5]["citations"][0]["text"] == "Cited"
    assert losses == {
        "messages[0].parts[0].cache": "dropped",
        "messages[1].parts[2]": "dropped",
        "messages[1].parts[3]": "approximated",
        "messages[1].parts[4]": "dropped",
        "messages[2].parts[0]": "dropped",
        "messages[3]": "approximated",
        "messages[3].name": "dropped",
        "messages[3].parts[0]": "dropped",
        "messages[3].parts[1].signature": "dropped",
        "messages[3].parts[2]": "approximated",
        "messages[3].parts[3].arguments": "approximated",
        "messages[3].parts[3].id": "approximated",
        "messages[3].parts[4]": "approximated",
        "messages[3].parts[5]": "approximated",
        "messages[4].parts[0]": "approximated",
        "messages[4].parts[0].failed": "dropped",
        "messages[4].parts[1]": "approximated",
        "messages[4].parts[2]": "dropped",
        "messages": "approximated",
    }


def test_calls_of_one_turn_with_one_id_are_told_apart() -> None:
    call, result = ToolCall("c", "f", "x", "custom"), ToolResult("c", (Text("1"), TEXT))
    out, losses = sent(HI, Message("assistant", (call, call)), Message("tool", (result, result)))
    assert [one["id"] for one in out["messages"][1]["tool_calls"]] == ["c", "c_"]
    assert [one["tool_call_id"] for one in out["messages"][2:]] == ["c", "c_"]
    assert losses["messages[1].parts[1].id"] == "approximated"


def test_settings_out_of_range_are_clamped_and_unknown_ones_dropped() -> None:
    sampling = Sampling(1.5, 1.0, 900, 0.1, -1.0, 1.5, 1.1, {"1": 1.0}, -4, 0, tuple("abcdef"))
    out, losses = sent(sampling=sampling, logprobs=3)
    assert out["p"] == 0.99
    assert out["stop_sequences"] == list("abcde")
    assert {name for name, kind in losses.items() if kind == "dropped"} == {
        "sampling.min_p", "sampling.repetition_penalty", "sampling.logit_bias",
    }  # fmt: skip
    assert losses["sampling.temperature"] == losses["logprobs"] == "approximated"


def test_tools_and_choice_keep_to_what_there_is() -> None:
    tools = (
        Tool("f", parameters=SCHEMA, strict=True, cache=CacheHint()),
        Tool("g", "custom", "d", grammar={"x": 1}),
        Tool("web", "hosted"),
    )
    out, losses = sent(tools=tools, tool_choice=ToolChoice("required", ("f",)), parallel_tool_calls=False)
    assert [tool["function"]["name"] for tool in out["tools"]] == ["f"]
    assert (out["strict_tools"], out["tool_choice"]) == (True, "REQUIRED")
    assert losses.keys() == {
        "tools[0].cache", "tools[1]", "tools[1].kind", "tools[1].grammar", "tools[2]", "parallel_tool_calls",
    }  # fmt: skip
    assert sent(tools=(Tool("f", strict=True),))[1] == {"tools.strict": "dropped"}
    assert sent(tools=(Tool("f", strict=True), Tool("g")))[1] == {"tools.strict": "approximated"}
    assert sent(tool_choice=ToolChoice("required"))[1] == {"tool_choice": "dropped"}


def test_a_schema_is_reduced_and_not_combined_with_tools() -> None:
    wanted = ResponseFormat("schema", "n", "d", SCHEMA, strict=False)
    out, losses = sent(response_format=wanted)
    assert out["response_format"]["json_schema"]["properties"] == {"a": {"type": "string"}}
    assert losses.keys() == {"response_format." + name for name in ("name", "description", "strict", "schema")}
    nested = {"allOf": [SCHEMA], "items": {"anyOf": [{"format": "email"}], "oneOf": []}}
    out, _ = sent(response_format=ResponseFormat("schema", schema=nested))
    assert out["response_format"] == {"type": "json_object"}
    assert sent(response_format=wanted, tools=(Tool("f"),))[1] == {"response_format": "dropped"}
    assert sent(response_format=ResponseFormat("text"))[0]["response_format"] == {"type": "text"}


@pytest.mark.parametrize(
    ("wanted", "wire", "lost"),
    [
        (ReasoningEffort("none"), {"type": "disabled"}, set()),
        (ReasoningEffort("low"), {"type": "enabled", "token_budget": 1024}, {"reasoning.effort"}),
        (ReasoningEffort(budget=5, summary="auto"), {"type": "enabled", "token_budget": 5}, {"reasoning.summary"}),
        (ReasoningEffort(), None, set()),
    ],
)
def test_effort_is_a_budget(wanted: ReasoningEffort, wire: Any, lost: set[str]) -> None:
    out, losses = sent(reasoning=wanted)
    assert (out.get("thinking"), set(losses)) == (wire, lost)


def test_what_a_request_cannot_say_here_is_lost_by_name() -> None:
    caching = Caching("k", "24h")
    _, losses = sent(
        verbosity="low", choices=2, modalities=("audio",), metadata={"a": "b"}, user="u", caching=caching,
        service_tier="flex", store=True, previous="r", extra={"odd": 1, "~": {}},
    )  # fmt: skip
    assert losses.keys() == {
        "verbosity", "choices", "modalities", "metadata", "user", "caching.key", "caching.retention",
        "service_tier", "store", "previous", "odd",
    }  # fmt: skip


TOKENS = (TokenLogprob("Hi", -1, None, (TokenLogprob("Ho", -2),)),)
PARTS: tuple[Part, ...] = (
    Reasoning("hm", "short", "sig", "sealed"),
    Text("Hi", (Citation("url", "https://a.example"),), TOKENS, signature="s"),
    Refusal("No."),
    Image(Inline("AA==", "image/png")),
    ToolCall("c", "f", "free", "custom", "sig"),
    ToolCall("h", "search", "{}", "hosted"),
)  # fmt: skip
LOST = {"choices[0].parts[0].signature", "choices[0].parts[0].summary", "choices[0].parts[1].signature",
        "choices[0].parts[1].logprobs", "choices[0].parts[2]", "choices[0].parts[3]", "choices[0].parts[4].arguments",
        "choices[0].parts[4].signature", "choices[0].parts[5]", "choices[1]", "model", "created", "service_tier",
        "choices[0].finish", "usage.audio_input", "usage.estimated", "usage.total"}  # fmt: skip
USAGE = Usage(1, 2, 9, audio_input=1, estimated=True)


def test_a_foreign_answer_is_written_and_its_losses_named() -> None:
    answer = Answer("another", "a", "m", (Choice(0, PARTS, "filtered"), Choice(1, ())), USAGE, 5, "flex", {"x": 1})
    body, losses = cohere_chat.encode_answer(answer)
    out = json.loads(body)
    assert [item["type"] for item in out["message"]["content"]] == ["thinking", "text", "text"]
    assert out["message"]["tool_calls"][0]["function"]["arguments"] == '{"input":"free"}'
    assert out["message"]["citations"][0]["text"] == "Hi"
    assert (out["finish_reason"], out["usage"]) == ("ERROR", {"tokens": {"input_tokens": 1, "output_tokens": 2}})
    assert {loss.field for loss in losses} == LOST | {"choices[0].parts[0].sealed", "x"}


def test_a_foreign_stream_is_written_and_its_losses_named() -> None:
    encoder = cohere_chat.StreamEncoder()
    wire = encoder.encode(Started("another", "a", "m", 5, "flex"))
    text, call = Text(""), ToolCall("c", "f", "", "custom", "sig")
    parts: list[Part] = [Reasoning(), text, Refusal(""), PARTS[3], call, ToolCall("h", "s", "", "hosted")]
    for index, part in enumerate(parts):
        wire += encoder.encode(PartStarted(0, index, part))
        wire += encoder.encode(Delta(0, index, "ab", signature="s" if index < 2 else None))
        wire += encoder.encode(PartEnded(0, index))
    wire += encoder.encode(PartStarted(1, 0, text)) + encoder.encode(Finished(0, "filtered")) + encoder.encode(Ended())
    assert b'"input\\":\\"abab' not in wire
    assert b'{\\"input\\":\\"ab\\"}' in wire
    assert wire.count(b"event: message-end") == 1
    fields = {loss.field for loss in encoder.losses}
    assert {
        "model",
        "choices[1]",
        "choices[0].parts[0].signature",
        "choices[0].parts[3]",
        "choices[0].finish",
    } <= fields


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b"{", "body"),
        (b"{}", "messages"),
        (b'{"messages":[{"role":"model"}]}', "messages[0].role"),
        (b'{"messages":[{"role":"user","content":7}]}', "messages[0].content"),
        (b'{"messages":[],"tool_choice":"MAYBE"}', "tool_choice"),
        (b'{"messages":[],"thinking":{"type":"maybe"}}', "thinking.type"),
        (b'{"messages":[],"tools":[{"type":"web"}]}', "tools[0].type"),
    ],
)
def test_a_mistake_is_named_by_its_path(body: bytes, field: str) -> None:
    with pytest.raises(Malformed) as raised:
        cohere_chat.decode_request(body)
    assert raised.value.field == field


@pytest.mark.parametrize(
    ("status", "body", "code", "message"),
    [
        (401, b'{"id":"x","message":"invalid api token"}', None, "invalid api token"),
        (400, b'{"id":"x","error_type":"TOO_MANY_TOKENS","message":"too many"}', "TOO_MANY_TOKENS", "too many"),
        (429, b'{"message":"You are using a Trial key"}', None, "You are using a Trial key"),
        (502, b"<html>bad gateway</html>", None, ""),
    ],
)  # fmt: skip
def test_errors_keep_their_structured_fields(status: int, body: bytes, code: str | None, message: str) -> None:
    fault = cohere_chat.decode_fault(status, {"retry-after": "3"}, body)
    assert (fault.status, fault.code, fault.message, fault.retry_after) == (status, code, message, 3)


@pytest.mark.parametrize(
    ("status", "sent"),
    [(None, 503), (402, 402), (498, 498), (499, 499), (501, 501), (504, 504), (413, 400), (418, 400), (529, 503),
     (511, 500), (200, 503)],
)  # fmt: skip
def test_statuses_are_those_that_its_clients_know(status: int | None, sent: int) -> None:
    found, headers, body = cohere_chat.encode_fault(Fault("overloaded", status))
    assert (found, headers["content-type"], json.loads(body)["error_type"]) == (sent, "application/json", "overloaded")
