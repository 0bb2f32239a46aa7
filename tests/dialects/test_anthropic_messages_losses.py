"""Requests and answers of other dialects: fitted to what Anthropic takes, and whatever gives way is announced."""

import base64
import json
from typing import Any

import pytest

from tests.dialects.recorded_anthropic_messages import turn_rejections
from tests.dialects.say import assistant
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Caching,
    Choice,
    Citation,
    File,
    Image,
    Inline,
    Message,
    Part,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
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
from understudy.dialects import anthropic_messages as dialect
from understudy.dialects.anthropic_messages.schema import reduce_schema

PICTURE = Image(Inline("iVBO", "image/png"))
TOOL = Tool("f", parameters={"type": "object"})
LIMIT = Sampling(max_tokens=5000)


def sent(*messages: Message, **fields: Any) -> tuple[dict[str, Any], set[tuple[str, str]]]:
    request = Request("openai-chat", fields.pop("model", "m"), messages, **({"sampling": LIMIT} | fields))
    body, losses = dialect.encode_request(request)
    assert all(loss.why for loss in losses)
    decoded = json.loads(body)
    assert turn_rejections(decoded) == []
    return decoded, {(loss.field, loss.kind) for loss in losses}


def lost(*messages: Message, **fields: Any) -> set[str]:
    return {field for field, _ in sent(*messages, **fields)[1]}


def user(*parts: Part) -> Message:
    return Message("user", parts or (Text("a"),))


def results(*parts: Part) -> Message:
    return Message("tool", parts)


PART = "messages[0].parts[0]"
PDF = Inline("JVBERi0x", "application/pdf")
PLAIN = Inline(base64.b64encode("Grüß".encode()).decode(), "text/plain")
USER_PARTS: list[tuple[Part, set[str]]] = [
    (Text("a", cache=CacheHint(300)), set()),
    (Text("a", extra={"new": 1, "~": {"cache_control": None}}), {PART + ".new"}),
    (Text("a", signature="s"), {PART + ".signature"}),
    (PICTURE, set()),
    (Image(Url("https://a"), cache=CacheHint()), set()),
    (Image(Url("https://a"), detail="low"), {PART + ".detail"}),
    (File(PDF, title="T", context="C", citations=True, cache=CacheHint()), set()),
    (File(Inline("JVBERi0x")), set()),
    (File(PDF, filename="a.pdf"), {PART + ".filename"}),
    (File(PDF, filename="a.pdf", title="T"), {PART + ".filename"}),
    (File(Url("https://a")), set()),
    (File(PLAIN), set()),
    (File(Inline(PLAIN.data, "text/csv")), {PART + ".source.media_type"}),
]


@pytest.mark.parametrize(("part", "expected"), USER_PARTS, ids=range(len(USER_PARTS)))
def test_what_a_users_part_cannot_carry_is_announced(part: Part, expected: set[str]) -> None:
    assert lost(user(part)) == expected


NO_PLACE: list[tuple[Part, str]] = [
    (Text(" \n"), PART),
    (Image(Stored("f")), PART + ".source"),
    (Image(Inline("AA", "image/tiff")), PART + ".source"),
    (File(Stored("f")), PART + ".source"),
    (File(Inline("AA", "application/msword")), PART + ".source"),
    (File(Inline("!", "text/plain")), PART + ".source"),
    (Audio(Inline("UklG"), "wav"), PART),
    (Unknown("odd", {}), PART),
    (ToolCall("a", "f"), PART),
]


@pytest.mark.parametrize(("part", "expected"), NO_PLACE, ids=range(len(NO_PLACE)))
def test_what_a_user_cannot_send_is_left_out_and_announced(part: Part, expected: str) -> None:
    body, losses = sent(user(part, Text("b")))
    assert losses == {(expected, "dropped")}
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "b"}]}]


ASSISTANT_PARTS: list[tuple[Part, set[str]]] = [
    (Text("a", (Citation(url="u"),), (TokenLogprob("a", -1),)), {".citations", ".logprobs"}),
    (Refusal("no"), {""}),
    (Reasoning("hm"), {""}),
    (Reasoning("hm", signature="s"), {""}),
    (Reasoning("hm", signature="s", origin="openai/gpt-5"), {""}),
    (Reasoning("hm", origin="anthropic/claude-sonnet-4-5"), {""}),
    (Reasoning("hm", signature="s", origin="anthropic/claude-sonnet-4-5"), set()),
    (Reasoning(sealed="s", origin="anthropic-messages/claude-sonnet-4-5"), set()),
    (ToolCall("a", "search", '{"q":1}', "hosted"), {""}),
    (PICTURE, {""}),
]


@pytest.mark.parametrize(("part", "expected"), ASSISTANT_PARTS, ids=range(len(ASSISTANT_PARTS)))
def test_what_an_assistants_part_cannot_carry_is_announced(part: Part, expected: set[str]) -> None:
    path = "messages[1].parts[0]"
    assert lost(user(), assistant(part), user()) == {path + field for field in expected}


CALLS: list[tuple[ToolCall, dict[str, Any], set[str]]] = [
    (ToolCall("a", "f", '{"x":1}'), {"id": "a", "name": "f", "input": {"x": 1}}, set()),
    (ToolCall("a", "f", ""), {"id": "a", "name": "f", "input": {}}, set()),
    (ToolCall("a", "f", '{"x"'), {"id": "a", "name": "f", "input": {"arguments": '{"x"'}}, {".arguments"}),
    (ToolCall("a", "f", "[1]"), {"id": "a", "name": "f", "input": {"arguments": "[1]"}}, {".arguments"}),
    (ToolCall("a", "f", "go", "custom"), {"id": "a", "name": "f", "input": {"input": "go"}}, {".arguments"}),
    (ToolCall("a", "f", signature="s", extra={"index": 1}), {"id": "a", "name": "f", "input": {}},
     {".signature", ".index"}),
    (ToolCall("f:0", "a.b"), {"id": "f_0_9d7e7d3d", "name": "a_b_1a2b3c4d", "input": {}}, {".id", ".name"}),
]  # fmt: skip


@pytest.mark.parametrize(("call", "block", "expected"), CALLS, ids=range(len(CALLS)))
def test_a_call_and_its_result_keep_to_each_other(call: ToolCall, block: dict[str, Any], expected: set[str]) -> None:
    body, losses = sent(user(), assistant(call), results(ToolResult(call.id, (Text("1"),))))
    [said] = body["messages"][1]["content"]
    [result] = body["messages"][2]["content"]
    assert result == {"type": "tool_result", "tool_use_id": said["id"], "content": [{"type": "text", "text": "1"}]}
    assert {field for field, _ in losses} == {"messages[1].parts[0]" + field for field in expected}
    if ".id" in expected:
        assert said["id"].startswith("f_0_")
        assert said["name"].startswith("a_b_")
    else:
        assert said == {"type": "tool_use", **block}


def test_ids_are_made_unique_and_the_same_each_time() -> None:
    turns = (
        user(),
        assistant(ToolCall("0", "f"), ToolCall("", "g"), ToolCall("", "h")),
        results(ToolResult("0"), ToolResult("", name="h"), ToolResult("")),
        assistant(ToolCall("0", "f")),
        results(ToolResult("0")),
    )
    body, losses = sent(*turns)
    ids = [block["id"] for turn in body["messages"] for block in turn["content"] if block["type"] == "tool_use"]
    answered = [
        block["tool_use_id"] for turn in body["messages"] for block in turn["content"] if "tool_use_id" in block
    ]
    assert ids == ["0", "call", "call_2", "0_2"]
    assert answered == ["0", "call_2", "call", "0_2"]
    assert sent(*turns)[0] == body
    assert losses == {(f"messages[{i}].parts[{j}].id", "approximated") for i, j in ((1, 1), (1, 2), (3, 0))}


def test_calls_and_results_that_do_not_meet_become_text() -> None:
    body, losses = sent(
        results(ToolResult("z", (Text("late"), PICTURE), cache=CacheHint())),
        assistant(ToolCall("a", "f"), ToolCall("b", "g")),
        user(),
        results(ToolResult("b"), ToolResult("b", (Text("again"),)), ToolResult("", (Text("?"),))),
    )
    assert [turn["role"] for turn in body["messages"]] == ["user", "assistant", "user"]
    first, called, answered = ([block["type"] for block in turn["content"]] for turn in body["messages"])
    assert (first, called, answered) == (["text"], ["text", "tool_use"], ["tool_result", "text", "text", "text"])
    assert "late" in body["messages"][0]["content"][0]["text"]
    assert losses == {(f"messages[{i}].parts[{j}]", "approximated") for i, j in ((0, 0), (1, 0), (3, 1), (3, 2))}


def test_a_conversation_arrives_in_the_shape_that_anthropic_takes() -> None:
    body, losses = sent(
        Message("system", (Text("Be brief."), PICTURE)),
        Message("developer", (Text("Be kind."),), name="boss"),
        assistant(Text("Hello."), Text("")),
        user(Text("What is on it?")),
        user(PICTURE),
        Message("system", (Text("Be quick."),), extra={"odd": 1}),
        assistant(),
        assistant(Text("A"), ToolCall("t1", "look", "{}")),
        results(ToolResult("t1", (Text("cat"), PICTURE, Unknown("x", {})), failed=True, extra={"y": 1})),
        user(Text("Go on.")),
        assistant(Text("It is \n")),
    )
    picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBO"}}
    text = [{"type": "text", "text": words} for words in ("What is on it?", "A", "cat", "Go on.", "It is")]
    assert body["system"] == [{"type": "text", "text": words} for words in ("Be brief.", "Be kind.", "Be quick.")]
    assert body["messages"] == [
        {"role": "user", "content": [{"type": "text", "text": "..."}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Hello."}]},
        {"role": "user", "content": [text[0], picture]},
        {"role": "assistant", "content": [text[1], {"type": "tool_use", "id": "t1", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "t1", "content": [text[2], picture], "is_error": True},
            text[3],
        ]},
        {"role": "assistant", "content": [text[4]]},
    ]  # fmt: skip
    assert losses == {
        ("messages[0].parts[1]", "dropped"),
        ("messages[1].name", "dropped"),
        ("messages", "approximated"),
        ("messages[5]", "approximated"),
        ("messages[5].odd", "dropped"),
        ("messages[8].parts[0].parts[2]", "dropped"),
        ("messages[8].parts[0].y", "dropped"),
        ("messages[10].parts[0].text", "approximated"),
    }


def test_a_system_prompt_alone_is_the_users_turn() -> None:
    body, losses = sent(Message("system", (Text("Write."),)))
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "Write."}]}]
    assert "system" not in body
    assert losses == {("messages", "approximated")}
    assert sent()[0]["messages"][0]["role"] == "user"


def test_only_four_cache_marks_are_sent_and_the_last_ones_stay() -> None:
    hint = CacheHint(3600)
    body, losses = sent(
        Message("system", (Text("s", cache=hint),)),
        user(*(Text(str(i), cache=CacheHint()) for i in range(4))),
        tools=(Tool("f", cache=CacheHint(60)),),
    )
    marks = [block.get("cache_control") for block in body["messages"][0]["content"]]
    assert marks == [{"type": "ephemeral"}] * 4
    assert "cache_control" not in body["system"][0]
    assert losses == {("tools[0].cache", "dropped"), ("messages[0].parts[0].cache", "dropped")}
    body, _ = sent(Message("system", (Text("s", cache=hint),)), user(), tools=(Tool("f", cache=CacheHint(60)),))
    assert body["system"][0]["cache_control"] == {"type": "ephemeral", "ttl": "1h"}
    assert body["tools"][0]["cache_control"] == {"type": "ephemeral", "ttl": "5m"}


OLD, NEW, FOUR_SIX = "claude-3-5-sonnet-20241022", "claude-opus-5", "claude-opus-4-6"
SETTINGS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"sampling": Sampling()}, {"max_tokens": 4096}, {"sampling.max_tokens"}),
    ({"sampling": Sampling(), "model": "claude-sonnet-4-5"}, {"max_tokens": 32000}, {"sampling.max_tokens"}),
    ({"sampling": Sampling(max_tokens=5, temperature=1.5, top_p=0.5, top_k=-1, stop=("x", " "))},
     {"temperature": 1, "stop_sequences": ["x"]},
     {"sampling.temperature", "sampling.top_p", "sampling.top_k", "sampling.stop"}),
    ({"sampling": Sampling(max_tokens=5, top_p=0.5, top_k=3)}, {"top_p": 0.5, "top_k": 3}, set()),
    ({"sampling": Sampling(max_tokens=5, top_p=1.5)}, {}, {"sampling.top_p"}),
    ({"sampling": Sampling(max_tokens=5, temperature=0, top_p=1), "model": OLD},
     {"temperature": 0, "top_p": 1}, set()),
    ({"sampling": Sampling(max_tokens=5, temperature=1, top_p=1), "model": "claude-opus-4-1"},
     {"temperature": 1}, {"sampling.top_p"}),
    ({"sampling": Sampling(max_tokens=5, temperature=0, top_p=0.5, top_k=1), "model": NEW}, {},
     {"sampling.temperature", "sampling.top_p", "sampling.top_k"}),
    ({"sampling": Sampling(max_tokens=5, temperature=1), "model": NEW}, {"temperature": 1}, set()),
    ({"sampling": Sampling(max_tokens=5, min_p=0.1, frequency_penalty=1, presence_penalty=1, repetition_penalty=1,
                           logit_bias={"1": 1}, seed=1)}, {},
     {"sampling." + f for f in ("min_p", "frequency_penalty", "presence_penalty", "repetition_penalty", "logit_bias",
                                "seed")}),
    ({"reasoning": ReasoningEffort(enabled=False)}, {"thinking": {"type": "disabled"}}, set()),
    ({"reasoning": ReasoningEffort("none"), "model": NEW}, {"thinking": {"type": "disabled"}}, set()),
    ({"reasoning": ReasoningEffort("none"), "model": OLD}, {}, set()),
    ({"reasoning": ReasoningEffort("high"), "model": OLD}, {}, {"reasoning"}),
    ({"reasoning": ReasoningEffort("high"), "model": NEW},
     {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, set()),
    ({"reasoning": ReasoningEffort("minimal", summary="auto"), "model": NEW},
     {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "low"}},
     {"reasoning.effort"}),
    ({"reasoning": ReasoningEffort("xhigh", summary="detailed"), "model": FOUR_SIX},
     {"thinking": {"type": "adaptive", "display": "summarized"}, "output_config": {"effort": "high"}},
     {"reasoning.effort", "reasoning.summary"}),
    ({"reasoning": ReasoningEffort("odd"), "model": NEW},
     {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}}, {"reasoning.effort"}),
    ({"reasoning": ReasoningEffort(enabled=True), "model": NEW}, {"thinking": {"type": "adaptive"}}, set()),
    ({"reasoning": ReasoningEffort(budget=2000), "model": NEW},
     {"thinking": {"type": "adaptive"}, "output_config": {"effort": "medium"}}, {"reasoning.budget"}),
    ({"reasoning": ReasoningEffort("low", 2000), "model": NEW},
     {"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}}, {"reasoning.budget"}),
    ({"reasoning": ReasoningEffort(budget=2000), "model": FOUR_SIX},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, set()),
    ({"reasoning": ReasoningEffort("low", 2000)}, {"thinking": {"type": "enabled", "budget_tokens": 2000}},
     {"reasoning.effort"}),
    ({"reasoning": ReasoningEffort(budget=9, extra={"x": 1})}, {"thinking": {"type": "enabled", "budget_tokens": 1024}},
     {"reasoning.budget", "reasoning.x"}),
    ({"reasoning": ReasoningEffort("medium")}, {"thinking": {"type": "enabled", "budget_tokens": 2500}},
     {"reasoning.effort"}),
    ({"reasoning": ReasoningEffort("high"), "sampling": Sampling(max_tokens=1000)}, {}, {"reasoning"}),
    ({"reasoning": ReasoningEffort("high"), "sampling": Sampling()},
     {"thinking": {"type": "enabled", "budget_tokens": 16384}, "max_tokens": 20480},
     {"reasoning.effort", "sampling.max_tokens"}),
    ({"reasoning": ReasoningEffort(budget=2000), "sampling": Sampling(max_tokens=5000, temperature=0.5, top_p=0.5)},
     {"thinking": {"type": "enabled", "budget_tokens": 2000}}, {"sampling.temperature", "sampling.top_p"}),
    ({"reasoning": ReasoningEffort(budget=2000), "tools": (TOOL,), "tool_choice": ToolChoice("required")},
     {"tools": [{"name": "f", "input_schema": {"type": "object"}}], "tool_choice": {"type": "any"}}, {"reasoning"}),
    ({"response_format": ResponseFormat("text", extra={"z": 1})}, {}, {"response_format.z"}),
    ({"response_format": ResponseFormat("json")}, {}, {"response_format"}),
    ({"response_format": ResponseFormat("schema", "n", "d", {"type": "integer", "minimum": 1}, False)},
     {"output_config": {"format": {"type": "json_schema",
                                   "schema": {"type": "integer", "description": "{minimum: 1}"}}}},
     {"response_format.description", "response_format.strict", "response_format.schema.minimum"}),
    ({"stream": True, "user": "u"}, {"stream": True, "metadata": {"user_id": "u"}}, set()),
    ({"user": "u" * 600, "metadata": {"a": "b"}}, {}, {"user", "metadata"}),
    ({"service_tier": "auto"}, {"service_tier": "auto"}, set()),
    ({"service_tier": "default"}, {"service_tier": "standard_only"}, {"service_tier"}),
    ({"service_tier": "flex"}, {}, {"service_tier"}),
    ({"verbosity": "low", "logprobs": 0, "choices": 2, "modalities": ("text", "audio"), "store": True,
      "previous": "r", "caching": Caching("k", "24h"), "extra": {"prediction": 1, "~as": []}}, {},
     {"verbosity", "logprobs", "choices", "modalities", "store", "previous", "caching.key", "caching.retention",
      "prediction"}),
    ({"choices": 1, "modalities": ("text",), "store": False, "include_usage": True}, {}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "wire", "expected"), SETTINGS, ids=range(len(SETTINGS)))
def test_a_setting_is_fitted_and_what_gives_way_is_announced(
    fields: dict[str, Any], wire: dict[str, Any], expected: set[str]
) -> None:
    body, losses = sent(user(), **fields)
    del body["messages"], body["model"]
    assert body == {"max_tokens": body["max_tokens"]} | wire
    assert {field for field, _ in losses} == expected


def test_a_turn_that_called_without_thinking_goes_on_without() -> None:
    turns = (user(), assistant(ToolCall("a", "f")), results(ToolResult("a")))
    body, losses = sent(*turns, reasoning=ReasoningEffort(budget=2000))
    assert "thinking" not in body
    assert losses == {("reasoning", "dropped")}
    signed = Reasoning("hm", signature="s", origin="anthropic/claude")
    turns = (user(), assistant(signed, ToolCall("a", "f")), results(ToolResult("a")))
    assert sent(*turns, reasoning=ReasoningEffort(budget=2000))[0]["thinking"]["budget_tokens"] == 2000


OBJECT = {"type": "object"}
TOOLS: list[tuple[dict[str, Any], dict[str, Any], set[str]]] = [
    ({"tools": (Tool("f"),)}, {"tools": [{"name": "f", "input_schema": OBJECT}]}, set()),
    ({"tools": (Tool("f", description="d", parameters={"properties": {}}, strict=False),)},
     {"tools": [{"name": "f", "description": "d", "input_schema": {"properties": {}, **OBJECT}, "strict": False}]},
     set()),
    ({"tools": (Tool("f", parameters={"type": "string", "anyOf": [{}], "properties": 5}, extra={"x": 1}),)},
     {"tools": [{"name": "f", "input_schema": OBJECT}]},
     {"tools[0].parameters.type", "tools[0].parameters.anyOf", "tools[0].parameters.properties", "tools[0].x"}),
    ({"tools": (Tool("f", parameters={"properties": {"a": {"type": "string", "pattern": "x"}}}, strict=True),)},
     {"tools": [{"name": "f", "strict": True, "input_schema": {
         "type": "object", "additionalProperties": False,
         "properties": {"a": {"type": "string", "description": '{pattern: "x"}'}}}}]},
     {"tools[0].parameters.properties.a.pattern"}),
    ({"tools": (Tool("c", "custom", grammar={"syntax": "lark"}),)},
     {"tools": [{"name": "c", "input_schema": {
         "type": "object", "properties": {"input": {"type": "string"}}, "required": ["input"]}}]},
     {"tools[0].kind", "tools[0].grammar"}),
    ({"tools": (Tool("web_search", "hosted"),), "tool_choice": ToolChoice("required"), "parallel_tool_calls": True}, {},
     {"tools[0]", "tool_choice", "parallel_tool_calls"}),
    ({"tool_choice": ToolChoice("none")}, {}, set()),
    ({"tools": (TOOL,), "tool_choice": ToolChoice("auto", extra={"y": 1})},
     {"tools": [{"name": "f", "input_schema": OBJECT}], "tool_choice": {"type": "auto"}}, {"tool_choice.y"}),
    ({"tools": (TOOL,), "tool_choice": ToolChoice("required", ("f",)), "parallel_tool_calls": True},
     {"tools": [{"name": "f", "input_schema": OBJECT}],
      "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": False}}, set()),
    ({"tools": (TOOL,), "parallel_tool_calls": True}, {"tools": [{"name": "f", "input_schema": OBJECT}]}, set()),
    ({"tools": (TOOL,), "parallel_tool_calls": False},
     {"tools": [{"name": "f", "input_schema": OBJECT}],
      "tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, set()),
    ({"tools": (TOOL,), "tool_choice": ToolChoice("none"), "parallel_tool_calls": False},
     {"tools": [{"name": "f", "input_schema": OBJECT}], "tool_choice": {"type": "none"}}, {"parallel_tool_calls"}),
    ({"tools": (TOOL, Tool("g"), Tool("h")), "tool_choice": ToolChoice("required", ("g", "h"))},
     {"tools": [{"name": name, "input_schema": OBJECT} for name in "gh"], "tool_choice": {"type": "any"}},
     {"tool_choice.names"}),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "wire", "expected"), TOOLS, ids=range(len(TOOLS)))
def test_tools_are_fitted_and_what_gives_way_is_announced(
    fields: dict[str, Any], wire: dict[str, Any], expected: set[str]
) -> None:
    body, losses = sent(user(), **fields)
    assert {key: value for key, value in body.items() if key.startswith("tool")} == wire
    assert {field for field, _ in losses} == expected


def test_a_tools_name_is_rewritten_the_same_everywhere() -> None:
    body, losses = sent(user(), tools=(Tool("a.b"),), tool_choice=ToolChoice("required", ("a.b",)))
    name = body["tools"][0]["name"]
    assert name.startswith("a_b_")
    assert body["tool_choice"] == {"type": "tool", "name": name}
    assert losses == {("tools[0].name", "approximated")}
    assert len(sent(user(), tools=(Tool("x" * 200),))[0]["tools"][0]["name"]) == 128


SCHEMAS: list[tuple[Any, Any, list[str]]] = [
    ({"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"], "additionalProperties": False,
      "$schema": "x", "title": "T"},
     {"type": "object", "properties": {"a": {"type": "number"}}, "required": ["a"], "additionalProperties": False,
      "title": "T"}, []),
    ({"properties": {}, "additionalProperties": {"type": "string"}},
     {"type": "object", "properties": {}, "additionalProperties": False}, [".additionalProperties"]),
    ({"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "maxItems": 3},
     {"type": "array", "items": {"type": "string", "format": "date"}, "minItems": 1, "description": "{maxItems: 3}"},
     [".maxItems"]),
    ({"type": "string", "format": "phone", "description": "d", "default": "x"},
     {"type": "string", "description": 'd\n\n{format: "phone", default: "x"}'}, [".format"]),
    ({"type": ["string", "null"], "maxLength": 5},
     {"anyOf": [{"type": "string", "description": "{maxLength: 5}"}, {"type": "null"}]}, [".maxLength"]),
    ({"oneOf": [{"type": "null"}, {"const": 1}], "type": "object"}, {"anyOf": [{"type": "null"}, {"const": 1}]},
     [".oneOf"]),
    ({"allOf": [{"$ref": "#/definitions/A", "minimum": 1}], "definitions": {"A": {"enum": [1], "type": "integer"}}},
     {"allOf": [{"$ref": "#/$defs/A"}], "$defs": {"A": {"enum": [1]}}}, [".allOf[0].minimum"]),
    ({"type": "array", "items": {}},
     {"type": "array", "items": {"anyOf": [{"type": k} for k in ("string", "number", "boolean", "null")]}}, [".items"]),
    ({"type": "object", "properties": 5}, {"type": "object", "properties": {}, "additionalProperties": False}, []),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "reduced", "expected"), SCHEMAS, ids=range(len(SCHEMAS)))
def test_a_schema_is_reduced_to_what_can_be_enforced(schema: Any, reduced: Any, expected: list[str]) -> None:
    assert reduce_schema(schema) == (reduced, expected)


def test_a_schema_without_a_bottom_is_cut_off() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(300):
        schema = {"type": "array", "items": schema}
    reduced, lost_paths = reduce_schema(schema)
    assert len(lost_paths) == 1
    assert json.dumps(reduced).count('"array"') == 65


# --- answers ---------------------------------------------------------------------------------------------------------

ANSWERS: list[tuple[Choice, list[str], set[str]]] = [
    (Choice(0, (Text("a"), Text("b")), "stop", "stop"), ["text", "text"], set()),
    (Choice(0, (Text("a", (Citation("url"),), (TokenLogprob("a", -1),), signature="s"),), "stop"), ["text"],
     {f"parts[0].{field}" for field in ("citations", "logprobs", "signature")}),
    (Choice(0, (Refusal("no"), Audio(transcript="hi")), "stop"), ["text", "text"], {"parts[0]", "parts[1]"}),
    (Choice(0, (PICTURE, Audio(), Unknown("x", {}), ToolCall("a", "s", kind="hosted")), "stop"), [],
     {f"parts[{i}]" for i in range(4)}),
    (Choice(0, (ToolCall("a", "f", '{"x":'), ToolCall("b", "f", "{}")), "tool_calls"), ["tool_use"], {"parts[0]"}),
    (Choice(0, (ToolCall("a", "f", '{"x":'),), "tool_calls"), [], {"parts[0]", "finish"}),
    (Choice(0, (ToolCall("a:1", "f", "go", "custom", signature="s", extra={"z": 1}),), "tool_calls"), ["tool_use"],
     {f"parts[0].{field}" for field in ("id", "arguments", "signature", "z")}),
    (Choice(0, (), "filtered", extra={"x": 1}, message_extra={"y": 1}), [], {"finish", "x", "message.y"}),
    (Choice(0, (), "error"), [], {"finish"}),
    (Choice(0, (), None), [], set()),
    (Choice(0, (Reasoning("hm", extra={"~as": {}}),), "paused"), ["thinking"], set()),
]  # fmt: skip


@pytest.mark.parametrize(("choice", "kinds", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_cannot_carry_is_announced(choice: Choice, kinds: list[str], expected: set[str]) -> None:
    body, losses = dialect.encode_answer(Answer("openai-chat", "a", "m", (choice,), Usage(1, 2, 3), 5))
    assert [block["type"] for block in json.loads(body)["content"]] == kinds
    assert {loss.field for loss in losses} == {"choices[0]." + field for field in expected}


@pytest.mark.parametrize(
    ("finish", "word"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("refusal", "refusal"), ("paused", "pause_turn"),
     ("filtered", "refusal"), ("error", None), ("unknown", None), (None, None)],
)  # fmt: skip
def test_a_finish_is_told_in_anthropics_words(finish: Any, word: str | None) -> None:
    body = json.loads(dialect.encode_answer(Answer("x", "a", "m", (Choice(0, (), finish),), Usage(1, 2)))[0])
    assert (body["stop_reason"], body["stop_sequence"]) == (word, None)


def test_what_else_an_answer_cannot_carry_is_announced() -> None:
    usage = Usage(1, 2, 9, audio_input=1, accepted_prediction=0, estimated=True, extra={"cost": 1})
    answer = Answer("x", "a", "m", (Choice(0, (), "stop"), Choice(1, (), "stop")), usage, service_tier="flex",
                    extra={"fp": 1})  # fmt: skip
    body, losses = dialect.encode_answer(answer)
    assert {loss.field for loss in losses} == {
        "choices[1]", "usage.total", "usage.audio_input", "usage.cost", "service_tier", "fp"}  # fmt: skip
    assert json.loads(body)["usage"] == {"input_tokens": 1, "output_tokens": 2, "estimated": True}
    body, losses = dialect.encode_answer(Answer("x", "a", "m", (), service_tier="default"))
    assert json.loads(body)["usage"] == {"input_tokens": 0, "output_tokens": 0, "service_tier": "standard"}
    assert {loss.field for loss in losses} == {"usage", "service_tier"}


def test_an_own_answer_with_a_part_that_has_no_form_announces_it() -> None:
    answer = Answer("anthropic-messages", "a", "m", (Choice(0, (Audio(),), "stop", "end_turn"),))
    assert [loss.field for loss in dialect.encode_answer(answer)[1]] == ["choices[0].parts[0]"]
