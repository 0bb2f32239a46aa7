"""Requests and answers of other dialects: every field that cannot be carried is announced, by its path."""

import json
from functools import partial
from typing import Any

import pytest

from tests.dialects import say
from tests.dialects.say import assistant, user
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Caching,
    Choice,
    Citation,
    Delta,
    Ended,
    Extras,
    File,
    Finished,
    Image,
    Inline,
    Loss,
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
    Unknown,
    Url,
    Usage,
)
from understudy.dialects import openai_responses

PICTURE = Image(Inline("iVBO", "image/png"))
CLOSED = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": False}
OPEN = {"type": "object", "properties": {"a": {"type": "object"}}}
sent, lost = partial(say.sent, openai_responses), partial(say.lost, openai_responses)
TOOL = Tool("f", parameters={"type": "object"})
PART = "messages[0].parts[0]"


def result(call_id: str, *parts: Part, **fields: Any) -> Message:
    return Message("tool", (ToolResult(call_id, parts, **fields),))


LOSSES: list[tuple[list[Message], set[str]]] = [
    ([user(Text("a", cache=CacheHint(300)), Text(""))], {PART + ".cache"}),
    ([user(Text("a", extra={"new": 1, "~": {"old": None}}))], {PART + ".new"}),
    ([user(Text("", cache=CacheHint()), PICTURE)], {PART + ".cache"}),
    ([user(PICTURE, Image(Url("https://a.example"), detail="low", cache=CacheHint()))], {"messages[0].parts[1].cache"}),
    ([user(Image(Url("https://a.example"), detail="ultra"))], {PART + ".detail"}),
    ([user(Image(Stored("file_1")))], {PART + ".source"}),
    ([user(File(Stored("file_1")))], {PART + ".source"}),
    ([user(File(Url("https://a.example")))], set()),
    ([user(File(Inline("JVBE", "application/pdf"), "a.pdf", "A", "about", True, CacheHint()))],
     {PART + "." + field for field in ("title", "context", "citations", "cache")}),
    ([user(Audio(Inline("UklG"), "wav"))], {PART}),
    ([user(Unknown("container", {}))], {PART}),
    ([user(ToolCall("a", "f"))], {PART}),
    ([Message("system", (Text("a"),), "root", {"z": 1})], {"messages[0].name", "messages[0].z"}),
    ([assistant(Text("a", (Citation(),), (TokenLogprob("a", -1.0),), signature="s"))],
     {PART + ".citations", PART + ".logprobs", PART + ".signature"}),
    ([assistant(Refusal("no"))], {PART}),
    ([assistant(Reasoning("hm", signature="s")), user(Text("a"))], {PART}),
    ([assistant(PICTURE)], {PART}),
    ([assistant(ToolCall("a", "search", kind="hosted"))], {PART}),
    ([assistant(ToolCall("a", "f", signature="s", cache=CacheHint(), extra={"x": 1}))],
     {PART + ".signature", PART + ".cache", PART + ".x"}),
    ([assistant(ToolCall("a", "f")), result("a", Text("1"), failed=True, name="g", cache=CacheHint(), extra={"y": 1})],
     {"messages[1].parts[0]." + field for field in ("failed", "name", "cache", "y")}),
    ([assistant(ToolCall("a", "f")), result("a", PICTURE, name="f")], set()),
    ([Message("tool", (Text("a"),))], {PART}),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), LOSSES, ids=range(len(LOSSES)))
def test_what_a_message_cannot_carry_is_announced(messages: list[Message], expected: set[str]) -> None:
    assert lost(*say.whole(*messages)) == expected


SETTINGS: list[tuple[dict[str, Any], set[str]]] = [
    ({"sampling": Sampling(top_k=5, min_p=0.1, repetition_penalty=1.1, seed=1, stop=("x",), temperature=0.5)},
     {"sampling." + name for name in ("top_k", "min_p", "repetition_penalty", "seed", "stop")}),
    ({"sampling": Sampling(frequency_penalty=1, presence_penalty=1, logit_bias={"1": 1})},
     {"sampling." + name for name in ("frequency_penalty", "presence_penalty", "logit_bias")}),
    ({"sampling": Sampling(temperature=3, top_p=2, max_tokens=1)},
     {"sampling." + name for name in ("temperature", "top_p", "max_tokens")}),
    ({"reasoning": ReasoningEffort(budget=5000)}, {"reasoning.budget"}),
    ({"reasoning": ReasoningEffort(budget=5000, effort="low", summary="verbose", extra={"x": 1})},
     {"reasoning.budget", "reasoning.summary", "reasoning.x"}),
    ({"reasoning": ReasoningEffort(enabled=False)}, set()),
    ({"reasoning": ReasoningEffort(enabled=False, effort="low")}, {"reasoning.effort"}),
    ({"reasoning": ReasoningEffort(enabled=True)}, {"reasoning.enabled"}),
    ({"reasoning": ReasoningEffort(effort="extreme")}, {"reasoning.effort"}),
    ({"tools": (Tool("web_search_20250305", "hosted"),)}, {"tools[0]"}),
    ({"tools": (Tool("f", cache=CacheHint(), extra={"defer": 1}),)}, {"tools[0].cache", "tools[0].defer"}),
    ({"tools": (Tool("f", parameters=OPEN, strict=True), Tool("g", parameters=CLOSED, strict=True))},
     {"tools[0].strict"}),
    ({"tools": (Tool("x", "hosted"),), "tool_choice": ToolChoice("required", ("x",)), "parallel_tool_calls": True},
     {"tools[0]", "tool_choice", "parallel_tool_calls"}),
    ({"tools": (TOOL,), "tool_choice": ToolChoice("auto", extra={"y": 1})}, {"tool_choice.y"}),
    ({"service_tier": "standard_only"}, {"service_tier"}),
    ({"caching": Caching("k", "1h")}, {"caching.retention"}),
    ({"caching": Caching("k", "24h")}, set()),
    ({"previous": "resp_1"}, {"previous"}),
    ({"choices": 2, "modalities": ("text", "audio"), "logprobs": 50}, {"choices", "modalities[1]", "logprobs"}),
    ({"extra": {"container": "c", "~as": ["x"]}}, {"container"}),
    ({"response_format": ResponseFormat("json", extra={"z": 1})}, {"response_format.z"}),
    ({"response_format": ResponseFormat("schema", schema=OPEN, strict=True)}, {"response_format.strict"}),
    ({"user": "u", "metadata": {"a": "b"}, "store": True, "logprobs": 0, "choices": 1, "verbosity": "low"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), SETTINGS, ids=range(len(SETTINGS)))
def test_what_a_setting_cannot_carry_is_announced(fields: dict[str, Any], expected: set[str]) -> None:
    assert lost(user(Text("a")), **fields) == expected


def test_an_agents_turn_arrives_in_the_shape_that_openai_takes() -> None:
    long = "t" * 80
    body, losses = sent(
        Message("system", (Text("Be brief."),)),
        user(Text("What is on it?"), PICTURE, File(Inline("JVBE", "application/pdf"))),
        assistant(Text(""), Text("Let me see."), ToolCall(long, "look", "{}"), ToolCall("", "sql", "x", "custom")),
        result(long, Text("a cat"), PICTURE),
        result(""),
        tools=(TOOL, Tool("look", description="Look."), Tool("sql", "custom", grammar={"syntax": "lark"})),
        tool_choice=ToolChoice("required", ("look",)),
        sampling=Sampling(max_tokens=9, temperature=0.5),
        response_format=ResponseFormat("schema", schema={"type": "object"}),
        reasoning=ReasoningEffort(budget=900),
        logprobs=2,
        stream=True,
    )
    image = {"type": "input_image", "image_url": "data:image/png;base64,iVBO", "detail": "auto"}
    wire_id = body["input"][3]["call_id"]
    assert len(wire_id) <= 64
    assert body["input"] == [
        {"type": "message", "role": "system", "content": "Be brief."},
        {"type": "message", "role": "user", "content": [
            {"type": "input_text", "text": "What is on it?"}, image,
            {"type": "input_file", "filename": "document.pdf", "file_data": "data:application/pdf;base64,JVBE"}]},
        {"type": "message", "role": "assistant", "content": "Let me see."},
        {"type": "function_call", "call_id": wire_id, "name": "look", "arguments": "{}"},
        {"type": "custom_tool_call", "call_id": "call_1", "name": "sql", "input": "x"},
        {"type": "function_call_output", "call_id": wire_id, "output": [
            {"type": "input_text", "text": "a cat"}, image]},
        {"type": "custom_tool_call_output", "call_id": "call_1", "output": ""},
    ]  # fmt: skip
    assert body["tools"][1] == {
        "type": "function", "name": "look", "description": "Look.", "parameters": None, "strict": False,
    }  # fmt: skip
    assert body["tools"][2]["format"] == {"type": "grammar", "syntax": "lark"}
    assert body["tool_choice"] == {"type": "function", "name": "look"}
    assert body["text"]["format"] == {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}
    assert (body["max_output_tokens"], body["reasoning"], body["store"]) == (16, {"effort": "low"}, False)
    assert (body["include"], body["top_logprobs"]) == (["message.output_text.logprobs"], 2)
    assert losses == {("sampling.max_tokens", "approximated"), ("reasoning.budget", "approximated")}


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none", ("f",)), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("c",)), {"type": "custom", "name": "c"}),
        (ToolChoice("auto", ("f",)), {"type": "allowed_tools", "mode": "auto", "tools": [
            {"type": "function", "name": "f"}]}),
    ],
)  # fmt: skip
def test_a_tool_choice_is_written_as_openai_has_it_and_read_back(choice: ToolChoice, wire: Any) -> None:
    body, losses = sent(user(Text("a")), tools=(TOOL, Tool("c", "custom")), tool_choice=choice)
    assert (body["tool_choice"], losses) == (wire, set())
    again = openai_responses.decode_request(json.dumps(body).encode()).tool_choice
    assert again is not None
    assert (again.mode, again.names) == (choice.mode, choice.names if choice.mode != "none" else ())


PARTS = "choices[0].parts[0]"
URL = Citation("url", "https://a.example", "A", start=0, end=1)
ANSWERS: list[tuple[Choice, set[str]]] = [
    (Choice(0, (Text("a"), Text("b")), "stop"), set()),
    (Choice(0, (ToolCall("a", "f"), Text("b", (URL,))), "stop"), set()),
    (Choice(0, (Text("a", (Citation("page", quote="q"),)),), "stop"), {PARTS + ".citations[0]"}),
    (Choice(0, (Text("a", (Citation("url", "u", quote="q", source=Stored("f"), extra={"x": 1}),)),), "stop"),
     {PARTS + ".citations[0]" + field for field in ("", ".quote", ".source", ".x")}),
    (Choice(0, (Text("a", signature="s", cache=CacheHint(), extra={"z": 1}),), "stop"),
     {PARTS + field for field in (".signature", ".cache", ".z")}),
    (Choice(0, (ToolCall("a", "f", signature="s"),), "tool_calls"), {PARTS + ".signature"}),
    (Choice(0, (Unknown("odd", {}),), "stop"), {PARTS}),
    (Choice(0, (ToolCall("a", "s", kind="hosted"),), "stop"), {PARTS}),
    (Choice(0, (Image(Stored("f")),), "stop"), {PARTS}),
    (Choice(0, (Image(Inline("AA", "image/webp"), "low"),), "stop"), {PARTS + ".detail"}),
    (Choice(0, (Audio(Inline("AA")),), "stop"), {PARTS}),
    (Choice(0, (), "paused", "pause_turn"), {"choices[0].finish"}),
    (Choice(0, (), "refusal", extra={"x": 1}), {"choices[0].finish", "choices[0].x"}),
    (Choice(0, (Reasoning("hm", signature="s"), Reasoning(sealed="x"), Refusal("no")), "stop", "end_turn"), set()),
]  # fmt: skip


def as_stream(choice: Choice) -> list[Any]:
    events: list[Any] = [Started("anthropic-messages", "a", "m")]
    for i, part in enumerate(choice.parts):
        bare = Text("", cache=part.cache, extra=part.extra) if isinstance(part, Text) else part
        events.append(PartStarted(0, i, bare))
        if isinstance(part, Text):
            events.append(Delta(0, i, part.text, signature=part.signature, citations=part.citations))
        events.append(PartEnded(0, i))
    return [*events, Finished(0, choice.finish or "stop", choice.native_reason, choice.extra), Ended()]


@pytest.mark.parametrize(("choice", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_cannot_carry_is_announced_streamed_or_not(choice: Choice, expected: set[str]) -> None:
    answer = Answer("anthropic-messages", "a", "m", (choice,), Usage(1, 2), extra={"~": {}})
    body, losses = openai_responses.encode_answer(answer)
    assert {loss.field for loss in losses} == expected
    assert json.loads(body)["usage"] == {
        "input_tokens": 1, "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0}, "output_tokens": 2,
        "output_tokens_details": {"reasoning_tokens": 0}, "total_tokens": 3,
    }  # fmt: skip
    encoder = openai_responses.StreamEncoder()
    wire = b"".join(encoder.encode(event) for event in as_stream(choice))
    assert {loss.field for loss in encoder.losses} == expected
    last = json.loads(wire.decode().rstrip().rpartition("data: ")[2])["response"]
    assert last["output"] == json.loads(body)["output"]
    assert last["status"] == json.loads(body)["status"]


def test_further_choices_and_fields_of_chunks_are_announced() -> None:
    choices = (Choice(0, (Text("a"),), "stop"), Choice(1, (Text("b"),), "stop", message_extra={"x": 1}))
    answer = Answer("openai-chat", "a", "m", choices, service_tier="on_demand", extra={"provider": "p"})
    assert {loss.field for loss in openai_responses.encode_answer(answer)[1]} == {
        "choices[1]", "provider", "service_tier",
    }  # fmt: skip
    encoder = openai_responses.StreamEncoder()
    wire = encoder.encode(Started("openai-chat", "a", "m", extra={"provider": "p"}))
    for event in (
        PartStarted(1, 0, Text("")), Delta(1, 0, "b"), PartEnded(1, 0), PartStarted(1, 1, Text("")),
        Finished(1, "stop"),
        Extras(None, {"x": 1}), Extras(1, {"y": 1}),
    ):  # fmt: skip
        assert encoder.encode(event) == b""
    assert wire.count(b"event: ") == 2
    assert [loss.field for loss in encoder.losses] == ["provider", "choices[1]", "x", "choices[1].y"]


def test_what_another_provider_sealed_reaches_the_client_and_comes_back_in_the_next_request() -> None:
    thought = Reasoning("hm", signature="sig", origin="anthropic/claude")
    body, losses = openai_responses.encode_answer(
        Answer("anthropic-messages", "a", "m", (Choice(0, (thought,), "stop"),))
    )
    item = json.loads(body)["output"][0]
    assert losses == ()
    assert item["content"] == [{"type": "reasoning_text", "text": "hm"}]
    question = {"role": "user", "content": "And?"}
    request = openai_responses.decode_request(json.dumps({"model": "m", "input": [item, question]}).encode())
    again = request.messages[0].parts[0]
    assert isinstance(again, Reasoning)
    assert (again.text, again.signature, again.origin, again.sealed) == ("hm", "sig", "anthropic/claude", None)
    body, losses = openai_responses.encode_request(request)
    assert json.loads(body)["input"] == [question]
    assert losses == (Loss("messages[0].parts[0]", "earlier reasoning that another provider sealed"),)


def test_an_echo_of_the_request_reaches_the_client_and_is_no_loss_elsewhere() -> None:
    asked = {
        "model": "m", "input": "hi", "instructions": "Be brief.", "temperature": 0.5, "metadata": {"a": "b"},
        "tools": [{"type": "function", "name": "f", "parameters": {}, "strict": True}], "store": True,
        "tool_choice": "required", "previous_response_id": "resp_0",
    }  # fmt: skip
    request = openai_responses.decode_request(json.dumps(asked).encode())
    answer = Answer("openai-chat", "a", "m", (Choice(0, (Text("hi"),), "stop"),), created=5)
    whole = json.loads(openai_responses.encode_answer(answer, request)[0])
    encoder = openai_responses.StreamEncoder(request)
    created = json.loads(encoder.encode(Started("openai-chat", "a", "m", 5)).split(b"\n")[1][6:])["response"]
    for response in (whole, created):
        assert {key: response[key] for key in asked if key not in ("model", "input")} == {
            key: value for key, value in asked.items() if key not in ("model", "input")
        }
        assert (response["id"], response["created_at"], response["object"]) == ("a", 5, "response")
    assert (created["status"], created["output"]) == ("in_progress", [])
    again = openai_responses.decode_answer(json.dumps(whole).encode())
    assert not [key for key in again.extra if not key.startswith("~")]
    foreign = Request("openai-chat", "m", ())
    assert json.loads(openai_responses.encode_answer(answer, foreign)[0])["tools"] == []
