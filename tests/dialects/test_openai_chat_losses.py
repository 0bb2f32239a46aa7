"""Requests and answers of other dialects: every field that cannot be carried is announced, by its path."""

import json
from functools import partial
from typing import Any

import pytest

from tests.dialects import say
from tests.dialects.say import assistant, user
from understudy import dialects
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
    Reasoning,
    ReasoningEffort,
    Refusal,
    ResponseFormat,
    Sampling,
    Stored,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
    Usage,
)

DIALECT = dialects.get("openai-chat")
PICTURE = Image(Inline("iVBO", "image/png"))
sent, lost = partial(say.sent, DIALECT), partial(say.lost, DIALECT)
TOOL = Tool("f", parameters={"type": "object"})


PART, RESULT = "messages[0].parts[0]", "messages[1].parts[0]"
CALLED = assistant(ToolCall("a", "f"))
LOSSES = [
    ([user(Text("a", cache=CacheHint(300)))], {PART + ".cache"}),
    ([Message("system", (Text("a", cache=CacheHint()),))], {PART + ".cache"}),
    ([Message("system", (PICTURE,))], {PART}),
    ([user(Text("a", extra={"new": 1, "~": {"old": None}}))], {PART + ".new"}),
    ([user(PICTURE)], set()),
    ([user(Image(Url("https://a.example"), detail="low", cache=CacheHint()))], {PART + ".cache"}),
    ([user(Image(Stored("file_1")))], {PART + ".source"}),
    ([user(File(Stored("file_1")))], {PART + ".source"}),
    ([user(File(Url("https://a.example")))], {PART + ".source"}),
    (
        [user(File(Inline("JVBE", "application/pdf"), "a.pdf", "A", "about", True, CacheHint()))],
        {PART + "." + field for field in ("title", "context", "citations", "cache")},
    ),
    ([user(File(Inline("JVBE", "application/pdf"), "a.pdf"))], set()),
    ([user(Audio(Url("https://a.example"), "wav"))], {PART + ".source"}),
    ([user(Audio(Inline("UklG"), "wav", "hello"))], {PART + ".transcript"}),
    ([user(Unknown("container", {}))], {PART}),
    ([user(ToolCall("a", "f"))], {PART}),
    ([assistant(Reasoning("hm", signature="sig"), Text("a"))], {PART}),
    ([assistant(Reasoning(sealed="data"))], {PART}),
    ([assistant(Text("a", (Citation(quote="b"),)))], {PART + ".citations"}),
    ([assistant(Audio(Inline("UklG"), "wav", "hello", "audio_1"))],
     {PART + "." + f for f in ("source", "format", "transcript")}),
    ([assistant(ToolCall("a", "f", "{}", signature="s", cache=CacheHint()))], {PART + ".signature", PART + ".cache"}),
    ([assistant(ToolCall("a", "search", "{}", "hosted"))], {PART}),
    ([assistant(ToolCall("a", "f", "{}", extra={"caller": 1}))], {PART + ".caller"}),
    ([assistant(ToolCall("a", "f"), Text("b"))], {"messages[0].parts"}),
    ([assistant(PICTURE)], {PART}),
    ([assistant(Refusal("no", {"x": 1}))], {PART + ".x"}),
    ([CALLED, Message("tool", (ToolResult("a", (Text("x"),), failed=True),))], {RESULT + ".failed"}),
    ([CALLED, Message("tool", (ToolResult("a", (Text("x", cache=CacheHint()),), cache=CacheHint(), extra={"y": 1}),))],
     {RESULT + ".cache", RESULT + ".y", RESULT + ".parts[0].cache"}),
    ([CALLED, Message("tool", (ToolResult("a", (Image(Stored("f")),)),))], {RESULT + ".parts[0].source"}),
    ([Message("tool", (Text("no result"),))], {PART}),
    ([Message("user", (Text("a"),), extra={"odd": 1})], {"messages[0].odd"}),
    ([CALLED, Message("tool", (ToolResult("a"),), extra={"odd": 1})], {"messages[1].odd"}),
]  # fmt: skip


@pytest.mark.parametrize(("messages", "expected"), LOSSES, ids=range(len(LOSSES)))
def test_what_a_message_cannot_carry_is_announced(messages: list[Message], expected: set[str]) -> None:
    assert lost(*say.whole(*messages)) == expected


SETTINGS: list[tuple[dict[str, Any], set[str]]] = [
    ({"sampling": Sampling(top_k=5, min_p=0.1, repetition_penalty=1.1, temperature=0.5)},
     {"sampling.top_k", "sampling.min_p", "sampling.repetition_penalty"}),
    ({"reasoning": ReasoningEffort(budget=5000)}, {"reasoning.budget"}),
    ({"reasoning": ReasoningEffort(budget=5000, effort="low", summary="auto", extra={"x": 1})},
     {"reasoning.budget", "reasoning.summary", "reasoning.x"}),
    ({"reasoning": ReasoningEffort(enabled=False)}, {"reasoning.enabled"}),
    ({"reasoning": ReasoningEffort(effort="high", enabled=True)}, set()),
    ({"tools": (Tool("web_search_20250305", "hosted"),)}, {"tools[0]"}),
    ({"tools": (Tool("f", cache=CacheHint(), extra={"defer": 1}),)}, {"tools[0].cache", "tools[0].defer"}),
    ({"tools": (Tool("x", "hosted"),), "tool_choice": ToolChoice("required", ("x",)), "parallel_tool_calls": True},
     {"tools[0]", "tool_choice", "parallel_tool_calls"}),
    ({"tools": (TOOL,), "tool_choice": ToolChoice("auto", extra={"y": 1})}, {"tool_choice.y"}),
    ({"service_tier": "standard_only"}, {"service_tier"}),
    ({"caching": Caching("k", "1h")}, {"caching.retention"}),
    ({"previous": "resp_1"}, {"previous"}),
    ({"extra": {"container": "c", "~as": ["x"]}}, {"container"}),
    ({"response_format": ResponseFormat("json", extra={"z": 1})}, {"response_format.z"}),
    ({"user": "u", "metadata": {"a": "b"}, "store": True, "logprobs": 0, "choices": 2, "verbosity": "low"}, set()),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "expected"), SETTINGS, ids=range(len(SETTINGS)))
def test_what_a_setting_cannot_carry_is_announced(fields: dict[str, Any], expected: set[str]) -> None:
    assert lost(user(Text("a")), **fields) == expected


def test_an_agents_turn_arrives_in_the_shape_that_openai_takes() -> None:
    body, losses = sent(
        Message("system", (Text("Be brief."),)),
        user(Text("What is on it?"), PICTURE),
        assistant(Reasoning("hm", signature="s"), ToolCall("t1", "look", '{"a":1}'), ToolCall("t2", "look", "{}")),
        Message("tool", (ToolResult("t1", (Text("a cat"), PICTURE)), ToolResult("t2", failed=True))),
        user(Text("And?")),
        tools=(TOOL, Tool("look", description="Look.", strict=True)),
        tool_choice=ToolChoice("required", ("look",)),
        sampling=Sampling(max_tokens=9, stop=("x",)),
        response_format=ResponseFormat("schema", schema={"type": "object"}),
        reasoning=ReasoningEffort(budget=900),
        stream=True,
    )
    url = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}
    call = {"type": "function", "function": {"name": "look", "arguments": '{"a":1}'}}
    assert body["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "What is on it?"}, url]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "t1", **call}, {"id": "t2", **call, "function": {"name": "look", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "t1", "content": "a cat"},
        {"role": "tool", "tool_call_id": "t2", "content": ""},
        {"role": "user", "content": [url]},
        {"role": "user", "content": "And?"},
    ]
    assert body["tool_choice"] == {"type": "function", "function": {"name": "look"}}
    assert body["max_completion_tokens"] == 9
    assert body["response_format"]["json_schema"] == {"name": "answer", "schema": {"type": "object"}}
    assert body["reasoning_effort"] == "low"
    assert losses == {
        ("messages[2].parts[0]", "dropped"),
        ("messages[3].parts[0].parts[1]", "approximated"),
        ("messages[3].parts[1].failed", "dropped"),
        ("reasoning.budget", "approximated"),
    }


def test_pictures_of_the_last_tool_result_are_not_forgotten() -> None:
    body, _ = sent(assistant(ToolCall("t1", "f")), Message("tool", (ToolResult("t1", (PICTURE,)),)))
    assert [message["role"] for message in body["messages"]] == ["assistant", "tool", "user"]


@pytest.mark.parametrize(
    ("choice", "wire"),
    [
        (ToolChoice("auto"), "auto"),
        (ToolChoice("none", ("f",)), "none"),
        (ToolChoice("required"), "required"),
        (ToolChoice("required", ("c",)), {"type": "custom", "custom": {"name": "c"}}),
        (ToolChoice("auto", ("f",)), {"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [
            {"type": "function", "function": {"name": "f"}}]}}),
    ],
)  # fmt: skip
def test_a_tool_choice_is_written_as_openai_has_it_and_read_back(choice: ToolChoice, wire: Any) -> None:
    body, losses = sent(
        user(Text("a")), tools=(TOOL, Tool("c", "custom", grammar={"syntax": "lark"})), tool_choice=choice
    )
    assert (body["tool_choice"], losses) == (wire, set())
    again = DIALECT.decode_request(json.dumps(body).encode()).tool_choice
    assert again is not None
    assert (again.mode, again.names) == (choice.mode, choice.names if choice.mode != "none" else ())


ANSWERS: list[tuple[Choice, set[str]]] = [
    (Choice(0, (Text("a"), Text("b")), "stop"), {"choices[0].parts"}),
    (Choice(0, (ToolCall("a", "f"), Text("b")), "stop"), {"choices[0].parts"}),
    (Choice(0, (Text("a", (Citation("page", quote="q"),)),), "stop"), {"choices[0].parts[0].citations"}),
    (Choice(0, (Unknown("odd", {}),), "stop"), {"choices[0].parts[0]"}),
    (Choice(0, (ToolCall("a", "s", kind="hosted"),), "stop"), {"choices[0].parts[0]"}),
    (Choice(0, (Image(Stored("f")),), "stop"), {"choices[0].parts[0]"}),
    (Choice(0, (), "paused", "pause_turn"), {"choices[0].finish"}),
    (Choice(0, (), "refusal", extra={"x": 1}, message_extra={"y": 1}),
     {f"choices[0].{f}" for f in ("finish", "x", "message.y")}),
    (Choice(0, (Reasoning("hm", signature="s"), Reasoning(sealed="x"), Text("a", extra={"z": 1})), "stop", "end_turn"),
     {"choices[0].parts[2].z"}),
]  # fmt: skip


@pytest.mark.parametrize(("choice", "expected"), ANSWERS, ids=range(len(ANSWERS)))
def test_what_an_answer_cannot_carry_is_announced(choice: Choice, expected: set[str]) -> None:
    answer = Answer("anthropic-messages", "a", "m", (choice,), Usage(1, 2), extra={"~": {}})
    body, losses = DIALECT.encode_answer(answer)
    assert {loss.field for loss in losses} == expected
    assert json.loads(body)["usage"] == {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3}


def test_citations_keep_their_places_when_texts_are_joined() -> None:
    cited = Text("rain", (Citation("url", "https://r.example", start=0, end=4),))
    body, _ = DIALECT.encode_answer(Answer("other", "a", "m", (Choice(0, (Text("Some "), cited), "stop"),)))
    annotation = json.loads(body)["choices"][0]["message"]["annotations"][0]["url_citation"]
    assert (annotation["start_index"], annotation["end_index"]) == (5, 9)


def test_signed_reasoning_reaches_the_client_and_comes_back_in_the_next_request() -> None:
    thought = Reasoning("hm", signature="sig", origin="anthropic/claude")
    body, losses = DIALECT.encode_answer(Answer("anthropic-messages", "a", "m", (Choice(0, (thought,), "stop"),)))
    message = json.loads(body)["choices"][0]["message"]
    assert losses == ()
    assert message["reasoning_content"] == "hm"
    again = DIALECT.decode_request(json.dumps({"model": "m", "messages": [message]}).encode()).messages[0].parts[0]
    assert isinstance(again, Reasoning)
    assert (again.text, again.signature, again.origin) == ("hm", "sig", "anthropic/claude")
