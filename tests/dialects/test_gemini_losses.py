"""Requests of other dialects: every field that cannot be carried is announced, by its path."""

import json
from typing import Any

import pytest

from tests.dialects import say
from tests.dialects.say import user
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
from understudy.dialects import gemini

TOOL = Tool("f", parameters={"type": "object"})
HI = Message("user", (Text("hi"),))
PICTURE = Image(Inline("iVBO", "image/png"))


def sent(*messages: Message, model: str = "gemini-2.5-flash", **fields: Any) -> tuple[dict[str, Any], list[str]]:
    body, losses = gemini.encode_request(Request("anthropic-messages", model, messages or (HI,), **fields))
    assert all(loss.why for loss in losses)
    return json.loads(body), sorted({loss.field for loss in losses})


def answered(*parts: Part) -> list[Message]:
    return [HI, Message("assistant", parts)]


FIRST, SECOND = "messages[0].parts[0]", "messages[1].parts[0]"
LOSSES: list[tuple[list[Message], list[str]]] = [
    ([user(Text("a", cache=CacheHint(300), extra={"new": 1, "~": {"old": None}}))], [FIRST + ".cache", FIRST + ".new"]),
    ([user(PICTURE, Image(Url("https://a.example/1.png")))], []),
    ([user(Image(Stored("file_1")), Text("a"))], [FIRST + ".source"]),
    ([user(Image(Inline("AA"), detail="low"))], [FIRST + ".detail", FIRST + ".source.media_type"]),
    (
        [user(File(Inline("JVBE"), "a.pdf", "A", "about", True, CacheHint()))],
        [FIRST + "." + f for f in ("cache", "citations", "context", "filename", "source.media_type", "title")],
    ),
    ([user(Audio(Inline("UklG"), "wav"))], []),
    ([user(Audio(None, id="a", transcript="t"), Text("b"))], [FIRST, FIRST + ".id", FIRST + ".transcript"]),
    ([user(Unknown("container", {}), Text("b"))], [FIRST]),
    ([HI, HI], ["messages[1]"]),
    ([Message("user", (Text("a"),), "ann", {"odd": 1})], ["messages[0].name", "messages[0].odd"]),
    ([Message("system", (Text("a"), PICTURE)), HI], ["messages[0].parts[1]"]),
    ([Message("developer", (Text("a"),)), HI], ["messages[0].role"]),
    ([Message("system", (Text("a"),)), Message("system", (Text("b"),)), HI], ["messages[1]"]),
    ([HI, Message("system", (Text("b"),))], ["messages[1]"]),
    ([Message("system", (Text("a"),))], ["messages"]),
    ([Message("assistant", (Text("a"),))], ["messages"]),
    (answered(Reasoning("hm", signature="sig"), Text("a")), [SECOND]),
    (
        answered(Text("a", (Citation(quote="b"),), (TokenLogprob("a", -1),), signature="x y")),
        [SECOND + ".citations", SECOND + ".logprobs", SECOND + ".signature"],
    ),
    (answered(Refusal("no")), [SECOND]),
    (answered(ToolCall("1", "f", "{}", signature="c2ln")), []),
    (
        answered(ToolCall("1", "f", '{"a":'), ToolCall("2", "g", "free", "custom")),
        [SECOND + ".arguments", "messages[1].parts[1].arguments"],
    ),
    (
        answered(ToolCall("1", "search", "{}", "hosted"), ToolResult("1", (Text("x"),)), Text("a")),
        [SECOND, "messages[1].parts[1]"],
    ),
    (
        [
            *answered(ToolCall("1", "f")),
            Message("tool", (ToolResult("1", (Text("x"), Text("y")), cache=CacheHint(), extra={"z": 1}),)),
        ],
        ["messages[2].parts[0].cache", "messages[2].parts[0].parts[1]", "messages[2].parts[0].z"],
    ),
    (
        [*answered(ToolCall("1", "f")), Message("tool", (ToolResult("1", (Text("x"), PICTURE)),))],
        ["messages[2].parts[0].parts[1]"],
    ),
    (
        [HI, Message("tool", (ToolResult("9", (Text("x"),)), Text("no result")))],
        ["messages[1]", "messages[1].parts[0]"],
    ),
]


@pytest.mark.parametrize(("messages", "expected"), LOSSES, ids=range(len(LOSSES)))
def test_what_a_turn_cannot_carry_is_announced(messages: list[Message], expected: list[str]) -> None:
    calls = any(isinstance(part, ToolCall) for part in messages[-1].parts)
    assert sent(*(say.whole(*messages) if calls else messages))[1] == expected


SETTINGS: list[tuple[dict[str, Any], dict[str, Any], list[str]]] = [
    (
        {
            "temperature": 3.0,
            "top_k": -1,
            "seed": 2**40 + 5,
            "max_tokens": 0,
            "presence_penalty": 2.0,
            "frequency_penalty": -3,
        },
        {"temperature": 2, "seed": 5, "maxOutputTokens": 1, "presencePenalty": 1.99, "frequencyPenalty": -2},
        ["frequency_penalty", "max_tokens", "presence_penalty", "seed", "temperature", "top_k"],
    ),
    (
        {"min_p": 0.1, "repetition_penalty": 1.1, "logit_bias": {"1": 1}, "stop": tuple("abcdef")},
        {"stopSequences": list("abcde")},
        ["logit_bias", "min_p", "repetition_penalty", "stop"],
    ),
    ({"temperature": 0.5, "top_p": 0.9, "top_k": 3}, {"temperature": 0.5, "topP": 0.9, "topK": 3}, []),
]


@pytest.mark.parametrize(("sampling", "config", "lost"), SETTINGS, ids=range(len(SETTINGS)))
def test_sampling_is_kept_within_the_ranges(sampling: Any, config: Any, lost: list[str]) -> None:
    body, fields = sent(sampling=Sampling(**sampling))
    assert body["generationConfig"] == config
    assert fields == ["sampling." + name for name in lost]


THINKING: list[tuple[str, dict[str, Any], Any, list[str]]] = [
    ("gemini-2.5-flash", {"effort": "low"}, {"thinkingBudget": 1024}, ["reasoning.effort"]),
    ("gemini-2.5-flash", {"effort": "none"}, {"thinkingBudget": 0}, ["reasoning.effort"]),
    ("gemini-2.5-pro", {"budget": 0}, {"thinkingBudget": 128}, ["reasoning.budget"]),
    ("gemini-2.5-flash", {"budget": 5000, "effort": "low"}, {"thinkingBudget": 5000}, ["reasoning.effort"]),
    ("gemini-2.5-flash", {"enabled": False}, {"thinkingBudget": 0}, []),
    (
        "gemini-2.5-flash",
        {"enabled": True, "summary": "detailed"},
        {"thinkingBudget": -1, "includeThoughts": True},
        ["reasoning.summary"],
    ),
    ("gemini-2.5-flash", {"effort": "odd", "extra": {"x": 1}}, None, ["reasoning.effort", "reasoning.x"]),
    ("gemini-3-pro", {"effort": "high", "summary": "auto"}, {"thinkingLevel": "HIGH", "includeThoughts": True}, []),
    ("gemini-3-pro", {"effort": "xhigh"}, {"thinkingLevel": "HIGH"}, ["reasoning.effort"]),
    ("gemini-3-pro", {"budget": 3000}, {"thinkingLevel": "MEDIUM"}, ["reasoning.budget"]),
    ("gemini-3-pro", {"budget": 3000, "effort": "low"}, {"thinkingLevel": "LOW"}, ["reasoning.budget"]),
    ("gemini-3-pro", {"enabled": False}, {"thinkingLevel": "MINIMAL"}, ["reasoning.effort"]),
    ("gemini-3-pro", {"enabled": True}, None, []),
]


@pytest.mark.parametrize(("model", "wanted", "config", "lost"), THINKING, ids=range(len(THINKING)))
def test_thinking_is_said_as_the_model_takes_it(model: str, wanted: Any, config: Any, lost: list[str]) -> None:
    body, fields = sent(model=model, reasoning=ReasoningEffort(**wanted))
    assert body.get("generationConfig", {}).get("thinkingConfig") == config
    assert fields == lost


FIELDS: list[tuple[dict[str, Any], list[str]]] = [
    ({"tools": (Tool("web_search", "hosted"), Tool("g", "custom"))}, ["tools[0]", "tools[1]"]),
    (
        {"tools": (Tool("f", strict=True, cache=CacheHint(), extra={"x": 1}),)},
        ["tools[0].cache", "tools[0].strict", "tools[0].x"],
    ),
    ({"tool_choice": ToolChoice("required")}, ["tool_choice"]),
    (
        {"tools": (TOOL,), "tool_choice": ToolChoice("required", ("g",), {"y": 1})},
        ["tool_choice.names", "tool_choice.y"],
    ),
    ({"tools": (TOOL,), "parallel_tool_calls": False}, ["parallel_tool_calls"]),
    ({"service_tier": "scale"}, ["service_tier"]),
    ({"service_tier": "auto"}, []),
    ({"choices": 20, "logprobs": 0, "modalities": ("text", "smell")}, ["choices", "modalities"]),
    (
        {
            "verbosity": "low",
            "metadata": {"a": "b"},
            "user": "u",
            "store": True,
            "previous": "r",
            "caching": Caching("k", "24h"),
        },
        ["caching.key", "caching.retention", "metadata", "previous", "store", "user", "verbosity"],
    ),
    ({"extra": {"odd": 1}}, ["odd"]),
    (
        {"response_format": ResponseFormat("schema", "n", "d", {"type": "object"}, strict=False, extra={"x": 1})},
        ["response_format.description", "response_format.name", "response_format.strict", "response_format.x"],
    ),
    ({"response_format": ResponseFormat("json")}, []),
    ({"response_format": ResponseFormat("text")}, []),
]


@pytest.mark.parametrize(("fields", "lost"), FIELDS, ids=range(len(FIELDS)))
def test_settings_that_cannot_be_carried_are_announced(fields: dict[str, Any], lost: list[str]) -> None:
    assert sent(**fields)[1] == lost


@pytest.mark.parametrize(
    ("choice", "config"),
    [
        (ToolChoice("auto"), {"mode": "AUTO"}),
        (ToolChoice("none", ("f",)), {"mode": "NONE"}),
        (ToolChoice("required", ("f",)), {"mode": "ANY", "allowedFunctionNames": ["f"]}),
        (ToolChoice("auto", ("f",)), {"mode": "VALIDATED", "allowedFunctionNames": ["f"]}),
    ],
)
def test_the_choice_of_tools(choice: ToolChoice, config: dict[str, Any]) -> None:
    body, lost = sent(tools=(TOOL,), tool_choice=choice)
    assert body["toolConfig"] == {"functionCallingConfig": config}
    assert lost == []


def test_a_schema_keeps_what_is_obeyed_and_says_what_is_not() -> None:
    schema = {
        "$schema": "x",
        "type": "object",
        "definitions": {"n": {"type": "integer", "multipleOf": 2}},
        "properties": {
            "a": {"allOf": [{"$ref": "#/definitions/n"}], "description": "d"},
            "b": {"const": 1},
            "pattern": {"type": "array", "items": {"oneOf": [{"pattern": "x"}]}, "prefixItems": [True]},
        },
        "additionalProperties": False,
    }
    body, losses = gemini.encode_request(
        Request("x", "m", (HI,), response_format=ResponseFormat("schema", schema=schema))
    )
    config = json.loads(body)["generationConfig"]
    assert config["responseMimeType"] == "application/json"
    assert config["responseJsonSchema"] == {
        "type": "object",
        "$defs": {"n": {"type": "integer"}},
        "additionalProperties": False,
        "properties": {
            "a": {"$ref": "#/$defs/n"},
            "b": {"enum": [1]},
            "pattern": {"type": "array", "items": {"oneOf": [{}]}, "prefixItems": [True]},
        },
    }
    assert [(loss.field, loss.kind) for loss in losses] == [("response_format.schema", "approximated")]
    assert all(word in losses[0].why for word in ("$schema", "multipleOf", "pattern", "description beside $ref"))


def test_a_schema_without_end_is_cut_off() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(100):
        schema = {"type": "array", "items": schema}
    _, lost = sent(response_format=ResponseFormat("schema", schema=schema))
    assert lost == ["response_format.schema"]


ANSWERS: list[tuple[Part, list[str]]] = [
    (Reasoning("hm", signature="s", sealed="t", extra={"x": 1}), ["sealed", "signature", "x"]),
    (Text("a", (Citation("page"), Citation(url="u", quote="q"))), ["citations"]),
    (Unknown("new", {}), [""]),
    (Refusal("no"), [""]),
    (ToolResult("1", (Text("x"),), "search"), [""]),
]


@pytest.mark.parametrize(("part", "lost"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_cannot_carry_is_announced(part: Part, lost: list[str]) -> None:
    _, losses = gemini.encode_answer(Answer("x", "i", "m", (Choice(0, (part,), "stop"),)))
    where = "choices[0].parts[0]"
    assert sorted({loss.field for loss in losses}) == [f"{where}.{name}" if name else where for name in lost]


def test_an_answer_names_what_else_is_lost() -> None:
    usage = Usage(1, 2, cached_write=3, estimated=True, extra={"x": 1})
    choice = Choice(0, (), "paused", "pause_turn", {"a": 1}, {"b": 2})
    body, losses = gemini.encode_answer(Answer("x", "i", "m", (choice,), usage, None, "default", {"c": 3}))
    assert json.loads(body)["candidates"] == [{"content": {"role": "model"}, "index": 0, "finishReason": "OTHER"}]
    assert sorted(loss.field for loss in losses) == [
        "c",
        "choices[0].a",
        "choices[0].finish",
        "choices[0].message.b",
        "service_tier",
        "usage.cached_write",
        "usage.estimated",
        "usage.x",
    ]
