"""Bodies of this dialect: what a mistake is called, and the spellings that come back as they were."""

import json
from typing import Any

import pytest

from understudy import dialects
from understudy.canon import (
    Answer,
    Choice,
    Delta,
    Ended,
    Extras,
    Failed,
    Image,
    Inline,
    PartStarted,
    Reasoning,
    Request,
    Started,
    Text,
    ToolCall,
    Usage,
    Used,
)

DIALECT = dialects.get("openai-chat")
HELLO = {"role": "user", "content": "hi"}


def messages(*given: Any) -> dict[str, Any]:
    return {"model": "m", "messages": list(given)}


def part(**fields: Any) -> dict[str, Any]:
    return messages({"role": "user", "content": [fields]})


MISTAKES: list[tuple[Any, str]] = [
    ([], "body"),
    ({"model": "m"}, "messages"),
    ({"messages": "hi"}, "messages"),
    (messages(HELLO) | {"model": 5}, "model"),
    (messages("hi"), "messages[0]"),
    (messages({"content": "hi"}), "messages[0].role"),
    (messages(HELLO, {"role": "user", "content": 5}), "messages[1].content"),
    (messages({"role": "user", "content": ["hi"]}), "messages[0].content[0]"),
    (part(type="text"), "messages[0].content[0].text"),
    (part(type="text", text=[]), "messages[0].content[0].text"),
    (part(type="image_url", image_url={}), "messages[0].content[0].image_url"),
    (part(type="image_url", image_url={"url": "data:x"}), "messages[0].content[0].image_url.url"),
    (part(type="input_audio", input_audio={"format": "wav"}), "messages[0].content[0].input_audio.data"),
    (
        messages({"role": "assistant", "tool_calls": [{"function": {"name": 1}}]}),
        "messages[0].tool_calls[0].function.name",
    ),
    (messages({"role": "assistant", "reasoning": [1]}), "messages[0].reasoning"),
    (messages({"role": "assistant", "reasoning_details": [1]}), "messages[0].reasoning_details"),
    (messages(HELLO) | {"temperature": "hot"}, "temperature"),
    (messages(HELLO) | {"max_tokens": True}, "max_tokens"),
    (messages(HELLO) | {"stop": [1]}, "stop[0]"),
    (messages(HELLO) | {"metadata": {"a": 1}}, "metadata.a"),
    (messages(HELLO) | {"logit_bias": {"5": "x"}}, "logit_bias.5"),
    (messages(HELLO) | {"stream_options": {"include_usage": 1}}, "stream_options.include_usage"),
    (messages(HELLO) | {"tools": [{"function": {"name": "f"}}]}, "tools[0].type"),
    (messages(HELLO) | {"tools": [{"type": "function", "function": {}}]}, "tools[0].function.name"),
    (messages(HELLO) | {"tool_choice": "maybe"}, "tool_choice"),
    (messages(HELLO) | {"response_format": "json"}, "response_format"),
]


@pytest.mark.parametrize(("body", "field"), MISTAKES, ids=[field for _, field in MISTAKES])
def test_a_mistake_is_named_by_its_path(body: Any, field: str) -> None:
    with pytest.raises(dialects.Malformed) as caught:
        DIALECT.decode_request(json.dumps(body).encode())
    assert caught.value.field == field
    assert str(caught.value).startswith(field + ": ")


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": 1e999}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(dialects.Malformed):
        DIALECT.decode_request(body)


@pytest.mark.parametrize(
    "fields",
    [
        {"stop": "x", "max_tokens": 5},
        {"max_tokens": 5, "max_completion_tokens": 6},
        {"tools": [], "stream": False, "logprobs": False, "top_logprobs": None, "n": None, "seed": 2**70},
        {"logprobs": True, "top_logprobs": 0},
        {"tools": [{"type": "custom", "custom": {"name": "c", "format": {"type": "text"}}}]},
        {
            "tools": [
                {
                    "type": "custom",
                    "custom": {"name": "c", "format": {"type": "grammar", "grammar": {"syntax": "lark"}}},
                }
            ]
        },
        {"tools": [{"type": "function", "function": {"name": "f", "x": 1}, "y": 2}, {"type": "web_search", "z": {}}]},
        {"functions": [{"name": "f", "parameters": {}}], "function_call": {"name": "f"}},
        {"functions": [{"name": "f"}], "function_call": "auto"},
        {"tool_choice": "any"},
        {"tool_choice": {"type": "custom", "custom": {"name": "c"}}},
        {
            "tool_choice": {
                "type": "allowed_tools",
                "allowed_tools": {"mode": "auto", "tools": [{"type": "web_search"}]},
            }
        },
        {"tool_choice": {"type": "tool", "name": "f"}},
        {"response_format": {"type": "json_object", "schema": {"type": "object"}}},
        {"response_format": {"type": "grammar", "grammar": "x"}},
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "x": 1}, "y": 1}},
        {"reasoning": {"effort": "low", "max_tokens": 5, "enabled": True, "exclude": False, "summary": "auto"}},
        {"thinking": {"type": "enabled", "budget_tokens": 5, "x": 1}},
        {"thinking": {"type": "adaptive"}, "reasoning_effort": "low", "reasoning": {"effort": "low"}},
        {"stream": True, "stream_options": {"include_usage": True, "include_obfuscation": False}},
        {
            "prediction": {"type": "content", "content": "x"},
            "web_search_options": {},
            "audio": {"voice": "a", "format": "wav"},
        },
        {"prompt_cache_key": "k", "prompt_cache_retention": "24h", "metadata": {"a": "b"}, "service_tier": "odd"},
        {
            "top_k": 5,
            "min_p": 0.5,
            "repetition_penalty": 1.1,
            "logit_bias": {"5": -100},
            "modalities": ["text", "audio"],
        },
    ],
    ids=str,
)
def test_every_setting_comes_back_as_it_was_spelt(fields: dict[str, Any]) -> None:
    body = messages(HELLO) | fields
    again, losses = DIALECT.encode_request(DIALECT.decode_request(json.dumps(body).encode()))
    assert losses == ()
    assert json.loads(again) == body


CALL = {"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "message",
    [
        {"role": "user", "content": ""},
        {"role": "user", "content": [{"type": "text", "text": "a"}], "name": "n"},
        {
            "role": "user",
            "content": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
        },
        {"role": "user", "content": [{"type": "text", "text": "", "prompt_cache_breakpoint": {"mode": "explicit"}}]},
        {"role": "user", "content": [{"type": "image_url", "image_url": "https://a.example"}]},
        {
            "role": "user",
            "content": [{"type": "image_url", "image_url": {"url": "data:;base64,AA==", "detail": "low", "x": 1}}],
        },
        {"role": "user", "content": [{"type": "input_audio", "input_audio": {"data": "AA", "format": "flac", "x": 1}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "AAAA", "filename": "a", "x": 1}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_data": "https://a.example"}}]},
        {"role": "user", "content": [{"type": "file", "file": {"file_id": "f"}}, {"type": "file", "file": {"x": 1}}]},
        {"role": "user", "content": [{"type": "video_url", "video_url": {"url": "x"}}, {"odd": 1}]},
        {"role": "assistant", "content": [], "tool_calls": [CALL | {"index": 0}]},
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [CALL | {"extra_content": {"google": {"thought_signature": "s"}}}],
        },
        {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"id": "a", "type": "custom", "custom": {"name": "c", "input": "x"}}],
        },
        {"role": "assistant", "content": "", "tool_calls": [{"id": "a", "type": "mcp", "mcp": {}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "a"}], "tool_calls": [CALL]},
        {
            "role": "assistant",
            "content": [{"type": "refusal", "refusal": "no"}, {"type": "refusal", "refusal": "never"}],
        },
        {"role": "assistant", "content": None, "refusal": "no"},
        {"role": "assistant", "content": None, "audio": {"id": "a"}},
        {"role": "assistant", "content": "", "function_call": {"name": "f", "arguments": "{}", "x": 1}},
        {"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "r"},
        {"role": "assistant", "content": "a", "reasoning": "r", "reasoning_content": "s"},
        {
            "role": "assistant",
            "content": "a",
            "reasoning_details": [{"type": "reasoning.text", "text": "", "signature": "s"}],
        },
        {
            "role": "assistant",
            "content": [{"type": "thinking", "thinking": [{"type": "text", "text": "t"}], "closed": True}],
        },
        {"role": "assistant", "content": [{"type": "thinking", "thinking": "t"}]},
        {
            "role": "assistant",
            "content": "a",
            "annotations": [{"type": "file", "file": {}}],
            "images": [{"type": "image_url", "image_url": {"url": "https://a.example"}}],
        },
        {
            "role": "assistant",
            "content": "a",
            "annotations": [{"type": "url_citation", "url_citation": {"url": "u", "x": 1}}],
        },
        {"role": "tool", "tool_call_id": "a", "content": [{"type": "text", "text": "a"}]},
        {"role": "tool", "tool_call_id": "a", "name": "n", "content": []},
        {"role": "function", "name": "f", "content": "1"},
    ],
    ids=str,
)
def test_every_message_comes_back_as_it_was_spelt(message: dict[str, Any]) -> None:
    again, losses = DIALECT.encode_request(DIALECT.decode_request(json.dumps(messages(message)).encode()))
    got = json.loads(again)["messages"][0]
    assert losses == ()
    assert got == message


def test_a_data_url_that_is_not_base64_becomes_base64() -> None:
    body = part(type="image_url", image_url={"url": "data:image/svg+xml,%3Csvg/%3E"})
    picture = DIALECT.decode_request(json.dumps(body).encode()).messages[0].parts[0]
    assert isinstance(picture, Image)
    assert picture.source == Inline("PHN2Zy8+", "image/svg+xml")


def test_a_lone_surrogate_is_written_as_the_escape_it_came_from() -> None:
    body, _ = DIALECT.encode_request(Request("openai-chat", "m\ud83d", ()))
    assert json.loads(body)["model"] == "m\ud83d"


def test_a_choice_that_holds_an_error_is_no_finished_one() -> None:
    body = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop", "error": {"message": "x"}}]}
    answer = DIALECT.decode_answer(json.dumps(body).encode())
    assert answer.choices[0].finish == "error"
    assert json.loads(DIALECT.encode_answer(answer)[0])["choices"][0]["finish_reason"] == "stop"
    events = DIALECT.StreamDecoder().feed(b"data: " + json.dumps(body).encode() + b"\n\n")
    assert isinstance(events[-1], Failed)
    assert events[-1].fault.message == "x"


def test_an_error_in_a_200_is_no_answer() -> None:
    for body, field in (
        (b'{"error": {"message": "x"}}', "error"),
        (b"{}", "choices"),
        (b'{"choices": null}', "choices"),
    ):
        with pytest.raises(dialects.Malformed) as caught:
            DIALECT.decode_answer(body)
        assert caught.value.field == field


@pytest.mark.parametrize(
    "usage",
    [
        {"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "cached_tokens": 1},
        {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 3,
            "prompt_tokens_details": {},
            "reasoning_tokens": 4,
        },
        {
            "prompt_tokens": 1,
            "completion_tokens": 2,
            "total_tokens": 4,
            "completion_tokens_details": {"x": 1},
            "cost": 0.5,
        },
    ],
)
@pytest.mark.parametrize("finish", ["stop", "eos", "odd", None])
def test_an_answers_own_spellings_come_back(usage: dict[str, Any], finish: str | None) -> None:
    choice = {
        "message": {"content": None, "tool_calls": [{"id": "a", "type": "mcp"}]},
        "finish_reason": finish,
        "logprobs": 0.5,
    }
    body = {"id": "a", "model": "m", "choices": [choice], "usage": usage}
    again, losses = DIALECT.encode_answer(DIALECT.decode_answer(json.dumps(body).encode()))
    assert losses == ()
    assert json.loads(again) == body


def test_usage_in_other_words_is_understood() -> None:
    body = {"choices": [], "usage": {"prompt_tokens": 5, "completion_tokens": 2, "prompt_cache_hit_tokens": 4}}
    usage = DIALECT.decode_answer(json.dumps(body).encode()).usage
    assert usage is not None
    assert (usage.input, usage.cached_read, usage.estimated) == (5, 4, False)


@pytest.mark.parametrize(
    ("delta", "kinds"),
    [
        ({"tool_calls": [{"index": 0, "id": "a"}]}, ["tool_call"]),
        ({"content": [{"type": "odd"}]}, []),
        ({"annotations": [{"type": "file"}]}, []),
        ({"reasoning": "a", "reasoning_content": "b"}, ["reasoning"]),
        (
            {"tool_calls": [{"index": 0, "function": {"name": "f", "arguments": {"a": 1}, "x": 1}, "y": 2}]},
            ["tool_call"],
        ),
    ],
)
def test_odd_deltas_are_kept(delta: dict[str, Any], kinds: list[str]) -> None:
    chunk = {"id": "a", "choices": [{"delta": delta, "finish_reason": "stop"}]}
    events = DIALECT.StreamDecoder().feed(b"data: " + json.dumps(chunk).encode() + b"\n\ndata: [DONE]\n\n")
    started = [event.part for event in events if isinstance(event, PartStarted)]
    assert [part.__struct_config__.tag for part in started] == kinds
    assert bool(kinds) or any(isinstance(event, Extras) for event in events)
    assert isinstance(events[-1], Ended)


def chunks(*events: Any, request: Request | None = None) -> tuple[list[dict[str, Any]], list[str]]:
    encoder = DIALECT.StreamEncoder(request)
    text = b"".join(encoder.encode(event) for event in events).decode()
    data = [line.removeprefix("data: ") for line in text.split("\n\n") if line and line != "data: [DONE]"]
    return [json.loads(line) for line in data], [loss.field for loss in encoder.losses]


def test_usage_is_sent_only_to_a_client_that_asked_for_it() -> None:
    events = [Started("other", "a", "m"), Used(Usage(1, 2)), Ended()]
    asked = Request("openai-chat", "m", (), stream=True, include_usage=True)
    assert chunks(*events, request=asked)[0][-1]["usage"]["total_tokens"] == 3
    assert chunks(*events)[0][-1]["usage"]["total_tokens"] == 3
    assert chunks(*events, request=Request("openai-chat", "m", ()))[0] == []


def test_another_dialects_stream_tells_its_losses() -> None:
    hosted = ToolCall("a", "search", kind="hosted")
    wire, losses = chunks(
        Started("other", "a", "m", extra={"x": 1}),
        PartStarted(0, 0, Text("")),
        Delta(0, 0, "a"),
        PartStarted(0, 1, Text("", extra={"y": 1})),
        Delta(0, 1, "b"),
        PartStarted(0, 2, hosted),
        Delta(0, 2, "{}"),
        PartStarted(0, 3, Reasoning(sealed="s")),
        Delta(0, 3, "hm"),
    )
    where = "choices[0].parts"
    assert losses == ["x", f"{where}[1].y", f"{where}[1]", f"{where}[2]", f"{where}[3]"]
    assert wire[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}


def test_an_event_beyond_sixteen_mebibytes_fails_the_stream() -> None:
    decoder = DIALECT.StreamDecoder()
    events = decoder.feed(b"data: " + b"x" * (16 << 20))
    assert [type(event) for event in events] == [Started, Failed]
    assert decoder.close() == []


def test_an_answer_of_our_own_needs_no_notes() -> None:
    body, losses = DIALECT.encode_answer(Answer("openai-chat", "a", "m", (Choice(0, (Text("hi"),), "stop", "stop"),)))
    assert losses == ()
    assert json.loads(body)["choices"] == [
        {"index": 0, "message": {"role": "assistant", "content": "hi"}, "finish_reason": "stop"}
    ]
