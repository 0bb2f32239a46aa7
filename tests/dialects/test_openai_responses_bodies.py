"""Bodies of this dialect: what a mistake is called, and the spellings that come back as they were."""

import json
from typing import Any

import pytest

from understudy import dialects
from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Choice,
    Citation,
    File,
    Image,
    Inline,
    Message,
    Reasoning,
    Refusal,
    Request,
    Sampling,
    Stored,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
)
from understudy.dialects import openai_responses


def items(*given: Any) -> dict[str, Any]:
    return {"model": "m", "input": list(given)}


def part(**fields: Any) -> dict[str, Any]:
    return items({"role": "user", "content": [fields]})


CALL = {"type": "function_call", "id": "fc_1", "call_id": "c", "name": "f", "arguments": "{}", "status": "completed"}
SUMMARY = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
URL_CITATION = {"type": "url_citation", "url": "u", "title": "t", "start_index": 0, "end_index": 2}
FORMAT = {"type": "json_schema", "name": "n", "schema": {}, "strict": True, "new": 1}
TOKEN = {"token": "h", "logprob": -1.0, "bytes": [104], "top_logprobs": []}
P0 = "input[0].content[0]"

MISTAKES: list[tuple[Any, str]] = [
    ([], "body"),
    ({"model": "m", "input": 5}, "input"),
    ({"input": "hi", "model": 5}, "model"),
    (items("hi"), "input[0]"),
    (items({"content": "hi"}), "input[0].type"),
    (items({"role": "pope", "content": "hi"}), "input[0].role"),
    (items({"type": "message", "content": "hi"}), "input[0].role"),
    (items({"role": "user", "content": 5}), "input[0].content"),
    (items({"role": "user", "content": ["hi"]}), P0),
    (part(type="input_text"), P0 + ".text"),
    (part(type="refusal"), P0 + ".refusal"),
    (part(type="input_image", detail="low"), P0),
    (part(type="input_image", image_url="data:x"), P0 + ".image_url"),
    (part(type="input_file", filename="x"), P0),
    (part(type="input_audio", input_audio={"format": "wav"}), P0 + ".input_audio.data"),
    (items({**CALL, "arguments": {}, "name": 1}), "input[0].name"),
    (items({"type": "function_call_output", "call_id": "c", "output": 5}), "input[0].output"),
    (items({"type": "reasoning", "id": 5}), "input[0].id"),
    (items() | {"temperature": "hot"}, "temperature"),
    (items() | {"tools": [{"name": "f"}]}, "tools[0].type"),
    (items() | {"tools": [{"type": "function"}]}, "tools[0].name"),
    (items() | {"tools": [{"type": "custom", "name": 5}]}, "tools[0].name"),
    (items() | {"tool_choice": 5}, "tool_choice"),
    (items() | {"tool_choice": {"mode": "auto"}}, "tool_choice"),
    (items() | {"text": {"format": {"type": "json_schema", "schema": 5}}}, "text.format.schema"),
    (items() | {"text": {"verbosity": 5}}, "text.verbosity"),
    (items() | {"reasoning": {"effort": 5}}, "reasoning.effort"),
    (items() | {"include": [5]}, "include[0]"),
    (items() | {"metadata": {"a": 1}}, "metadata.a"),
]


@pytest.mark.parametrize(("body", "field"), MISTAKES, ids=[f"{i}-{field}" for i, (_, field) in enumerate(MISTAKES)])
def test_a_mistake_is_named_by_its_path(body: Any, field: str) -> None:
    with pytest.raises(dialects.Malformed) as caught:
        openai_responses.decode_request(json.dumps(body).encode())
    assert caught.value.field == field


SPELLINGS: list[dict[str, Any]] = [
    {"model": "m", "input": "hi"},
    {"model": "m", "input": ""},
    {"input": [], "stream": False, "temperature": None},
    {"prompt": {"id": "p"}, "previous_response_id": "r", "conversation": {"id": "c"}, "background": True},
    {"model": "m", "input": None},
    {"model": "m", "instructions": "Be brief.", "input": "hi"},
    items({"role": "user", "content": "hi"}, {"role": "assistant", "content": "hello", "phase": "commentary"}),
    items({"type": "message", "role": "user", "status": "completed",
           "content": [{"type": "input_text", "text": "hi"}]}),
    items({"role": "user", "content": []}, {"role": "assistant", "content": []}, {"role": "developer", "content": ""}),
    items({"role": "user", "content": [{"type": "output_text", "text": "x"}, {"type": "text", "text": ""}]}),
    items({"role": "user", "content": [{"type": "output_text", "text": "x", "annotations": [URL_CITATION]}]}),
    part(type="input_text", text="hi", prompt_cache_breakpoint={"mode": "explicit"}),
    part(type="input_image", image_url=None, file_id="f", detail="high"),
    part(type="input_image", image_url="https://p.example/1.png", new=1),
    part(type="input_file", file_url="https://p.example/1.pdf"),
    part(type="input_file", file_data="JVBE", filename="a.pdf"),
    part(type="input_file", file_id="f"),
    part(type="input_audio", input_audio={"data": "UklG", "format": "wav", "x": 1}),
    part(type="input_audio", input_audio={"data": "UklG"}),
    part(type="refusal", refusal="no"),
    part(type="input_video", video_url="v"),
    items({"type": "message", "role": "assistant", "id": "m1", "status": "completed", "phase": "final_answer",
           "content": [
        {"type": "output_text", "text": "hi", "annotations": [], "logprobs": [TOKEN]},
        {"type": "refusal", "refusal": ""}, {"type": "new", "x": 1}]},
        {"role": "assistant", "content": [{"type": "output_text", "text": "more"}]}),
    items({"role": "assistant", "content": [{"type": "new"}, {"type": "output_text", "text": "x"}]}),
    items({"role": "assistant", "content": [
        {"type": "input_image", "file_id": "f"}, {"type": "input_text", "text": "x"}]}),
    items({"type": "reasoning", "id": "rs", "summary": SUMMARY, "encrypted_content": "g", "status": None, "x": 1}, CALL,
          {"type": "function_call_output", "call_id": "c", "output": "", "name": "f", "status": "completed"}),
    items({"type": "reasoning", "id": "rs", "summary": [], "content": None, "encrypted_content": None}),
    items({"type": "reasoning", "id": "rs", "summary": SUMMARY, "content": [{"type": "reasoning_text", "text": "c"}]}),
    items({"type": "reasoning", "summary": [{"type": "summary_text", "text": "a", "new": 1}]}),
    items({"type": "reasoning", "summary": "odd"}),
    items({"type": "reasoning", "summary": [], "encrypted_content": "understudy.!!"}),
    items({"type": "reasoning", "summary": [], "encrypted_content": "understudy.W10="}),
    items(CALL | {"caller": {"type": "direct"}, "arguments": ""},
          {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_image", "file_id": "f"}]}),
    items({"type": "custom_tool_call", "call_id": "c", "name": "q", "input": "x"},
          {"type": "custom_tool_call_output", "call_id": "c", "output": "y"},
          {"type": "function_call_output", "call_id": "c"}),
    items({"type": "item_reference", "id": "i"}, {"id": "i"}, {"type": None, "id": "i"}),
    items({"type": "web_search_call", "id": "w", "status": "completed", "action": {"type": "search", "query": "q"}},
          {"type": "mcp_call", "id": "m", "arguments": "{}", "name": "t", "server_label": "s"},
          {"type": "computer_call", "call_id": "c"}, {"type": "computer_call_output", "call_id": "c", "output": {}},
          {"type": "code_interpreter_call", "id": "c", "code": "1", "outputs": None}),
    items({"type": "image_generation_call", "id": "i", "status": "completed", "result": "AA", "output_format": 5},
          {"type": "image_generation_call", "id": "i", "status": "in_progress", "result": None}),
    {"input": "hi", "tools": [
        {"type": "function", "name": "f", "parameters": {"type": "object"}, "strict": None, "description": "d"},
        {"type": "function", "name": "g", "parameters": {}, "strict": False, "defer_loading": True},
        {"type": "function", "name": "g", "function": {"name": "g", "parameters": {}}},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark", "definition": "s"}},
        {"type": "custom", "name": "d", "format": {"type": "text"}, "description": "x"},
        {"type": "web_search_preview", "search_context_size": "low"}],
     "tool_choice": {"type": "web_search_preview"}, "parallel_tool_calls": False},
    {"input": "hi", "tool_choice": {"type": "mcp", "server_label": "s"}},
    {"input": "hi", "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [
        {"type": "function", "name": "f"}, 5]}},
    {"input": "hi", "tool_choice": {"type": "function", "name": "f"}, "stream": True},
    {"input": "hi", "text": {"format": FORMAT, "verbosity": "low", "new": 1}},
    {"input": "hi", "text": {"format": {"type": "text"}}},
    {"input": "hi", "text": {"format": None}},
    {"input": "hi", "text": {"format": {"type": "new"}}},
    {"input": "hi", "text": {}},
    {"input": "hi", "reasoning": {"effort": None, "summary": "auto"}},
    {"input": "hi", "reasoning": {"generate_summary": "concise", "context": "auto"}},
    {"input": "hi", "include": [
        "reasoning.encrypted_content", "message.output_text.logprobs", "file_search_call.results"]},
    {"input": "hi", "include": ["message.output_text.logprobs"], "top_logprobs": 3},
    {"input": "hi", "include": [], "top_logprobs": 0},
    {"input": "hi", "top_logprobs": 5, "frequency_penalty": 0.5, "max_output_tokens": 5, "truncation": "auto"},
    {"input": "hi", "user": "u", "safety_identifier": "s", "metadata": {"a": "b"}, "store": False,
     "service_tier": "flex"},
    {"input": "hi", "safety_identifier": "s", "prompt_cache_key": "k", "prompt_cache_retention": "24h"},
]  # fmt: skip


@pytest.mark.parametrize("body", SPELLINGS, ids=range(len(SPELLINGS)))
def test_a_request_comes_back_as_it_was_spelt(body: dict[str, Any]) -> None:
    again, losses = openai_responses.encode_request(openai_responses.decode_request(json.dumps(body).encode()))
    assert json.loads(again) == body
    assert losses == ()


def test_items_become_the_turns_of_a_conversation() -> None:
    body = items(
        {"role": "user", "content": [
            {"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}},
            {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"}]},
        {"type": "reasoning", "id": "rs", "summary": SUMMARY, "encrypted_content": "g"},
        {"role": "assistant", "content": [{"type": "output_text", "text": "a", "annotations": [URL_CITATION]}]},
        CALL,
        {"type": "web_search_call", "id": "w", "status": "completed"},
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_file", "file_id": "f"}]},
        {"type": "item_reference", "id": "i"},
    ) | {"instructions": "Be brief.", "safety_identifier": "s"}  # fmt: skip
    request = openai_responses.decode_request(json.dumps(body).encode())
    assert [message.role for message in request.messages] == ["system", "user", "assistant", "tool", "assistant"]
    text, picture = request.messages[1].parts
    assert isinstance(text, Text)
    assert text.cache == CacheHint()
    assert isinstance(picture, Image)
    assert (picture.source, picture.detail) == (Inline("AA==", "image/png"), "low")
    first, second, said, call, search = request.messages[2].parts
    assert isinstance(first, Reasoning)
    assert isinstance(second, Reasoning)
    assert (first.summary, first.sealed, second.summary, second.sealed) == ("a", None, "b", "g")
    assert isinstance(said, Text)
    assert said.citations == (Citation("url", "u", "t", None, 0, 2),)
    assert isinstance(call, ToolCall)
    assert (call.id, call.name, call.arguments) == ("c", "f", "{}")
    assert isinstance(search, ToolCall)
    assert (search.id, search.name, search.kind) == ("w", "web_search_call", "hosted")
    assert request.messages[3].parts == (
        ToolResult("c", (File(Stored("f")),), extra=request.messages[3].parts[0].extra),
    )  # type: ignore[union-attr]  # a result has extra
    assert request.messages[4].parts == (Unknown("item_reference", {"type": "item_reference", "id": "i"}),)
    assert request.user == "s"


def test_parts_added_to_a_request_of_this_dialect_are_written_too() -> None:
    request = Request(
        openai_responses.NAME,
        "m",
        (
            Message("system", (Text("s"),)),
            Message("user", (Text("u"), Image(Url("https://p.example")), Audio(Url("x")))),
            Message(
                "assistant", (Text("a"), Refusal("r"), ToolCall("c", "f", "{}"), Reasoning("t"), File(Stored("f")))
            ),
            Message("tool", (ToolResult("c", (Text("1"),)), Text("odd"))),
        ),
        tools=(Tool("f"),),
        tool_choice=ToolChoice("required", ("f",)),
        sampling=Sampling(seed=1),
        logprobs=1,
    )
    body, losses = openai_responses.encode_request(request)
    wire = json.loads(body)
    assert [loss.field for loss in losses] == ["sampling.seed"]
    assert [item["type"] for item in wire["input"]] == [
        "message", "message", "message", "function_call", "reasoning", "message", "function_call_output",
    ]  # fmt: skip
    assert wire["input"][2]["content"] == [
        {"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "r"},
    ]  # fmt: skip
    assert wire["include"] == ["message.output_text.logprobs"]


def test_text_goes_on_behind_a_message_that_came_as_a_string() -> None:
    request = openai_responses.decode_request(json.dumps(items({"role": "assistant", "content": "a"})).encode())
    longer = Request(request.dialect, "m", (Message("assistant", (*request.messages[0].parts, Text("b"))),))
    assert [part["text"] for part in json.loads(openai_responses.encode_request(longer)[0])["input"][0]["content"]] == [
        "a", "b",
    ]  # fmt: skip


# --- answers ---------------------------------------------------------------------------------------------------------


def response(**fields: Any) -> dict[str, Any]:
    return {
        "id": "resp",
        "object": "response",
        "created_at": 5,
        "status": "completed",
        "model": "m",
        "output": [],
    } | fields


RESPONSES: list[tuple[dict[str, Any], Any, Any]] = [
    (response(), "stop", "completed"),
    (response(output=[CALL]), "tool_calls", "completed"),
    (response(output=[{"type": "web_search_call", "id": "w"}]), "stop", "completed"),
    (response(status="incomplete", incomplete_details={"reason": "max_output_tokens"}), "length", "max_output_tokens"),
    (response(status="incomplete", incomplete_details={"reason": "content_filter"}), "filtered", "content_filter"),
    (response(status="incomplete", incomplete_details={"reason": "moon"}), "unknown", "moon"),
    (response(status="incomplete"), "unknown", "incomplete"),
    (response(status="failed", error={"code": "server_error", "message": "no"}), "error", "failed"),
    (response(status="cancelled", error=None), "error", "cancelled"),
    (response(status="queued", usage=None), None, None),
    (response(status="in_progress", background=True), None, None),
    ({"output": []}, None, None),
    (response(native_finish_reason="end_turn"), "stop", "end_turn"),
    (response(object="realtime.response", created_at=5.5, service_tier="flex", billing={"payer": "me"}),
     "stop", "completed"),
    (response(tools=[], metadata=None, temperature=1.0, user="u", usage={
        "input_tokens": 5, "input_tokens_details": {"cached_tokens": 1, "x": 2}, "output_tokens": "odd",
        "output_tokens_details": {}, "total_tokens": None, "cost": 0.5, "estimated": True}), "stop", "completed"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "finish", "native"), RESPONSES, ids=range(len(RESPONSES)))
def test_an_answer_comes_back_as_it_was_and_says_why_it_ended(body: dict[str, Any], finish: Any, native: Any) -> None:
    answer = openai_responses.decode_answer(json.dumps(body).encode())
    assert (answer.choices[0].finish, answer.choices[0].native_reason) == (finish, native)
    again, losses = openai_responses.encode_answer(answer)
    assert json.loads(again) == body
    assert losses == ()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"error": {"message": "no"}}, "error"),
        ({}, "output"),
        ({"output": 5}, "output"),
        (response(output=[5]), "output[0]"),
        (response(usage=[1]), "usage"),
        (response(status=5), "status"),
        (response(created_at="now"), "created_at"),
    ],
)
def test_what_is_no_answer_is_malformed(body: Any, field: str) -> None:
    with pytest.raises(dialects.Malformed) as caught:
        openai_responses.decode_answer(json.dumps(body).encode())
    assert caught.value.field == field


ANNOTATIONS = [
    URL_CITATION,
    {"type": "url_citation", "url": "u", "title": ""},
    {"type": "file_citation", "file_id": "f", "filename": "n", "index": 3},
    {
        "type": "container_file_citation",
        "file_id": "f",
        "container_id": "c",
        "filename": "n",
        "start_index": 0,
        "end_index": 1,
    },
    {"type": "file_path", "file_id": "f", "index": 0},
]


@pytest.mark.parametrize("extra", [[], [{"type": "new"}], [{"type": "url_citation", "url": 5}], [5]])
def test_annotations_come_back_known_or_not(extra: list[Any]) -> None:
    content = [{"type": "output_text", "text": "ab", "annotations": [*ANNOTATIONS, *extra], "logprobs": [TOKEN]}]
    body = response(
        output=[{"type": "message", "id": "i", "role": "assistant", "status": "completed", "content": content}]
    )
    answer = openai_responses.decode_answer(json.dumps(body).encode())
    text = answer.choices[0].parts[0]
    assert isinstance(text, Text)
    assert [citation.kind for citation in text.citations] == (
        [] if extra else ["url", "url", "file", "container_file", "file_path"]
    )
    assert json.loads(openai_responses.encode_answer(answer)[0]) == body


def test_a_broken_answer_of_another_dialect_is_a_failed_response() -> None:
    broken = Answer("openai-chat", "a", "m", (Choice(0, (Text("half"),), "error"),))
    wire = json.loads(openai_responses.encode_answer(broken)[0])
    assert (wire["status"], wire["error"]["code"]) == ("failed", "server_error")
    empty = json.loads(openai_responses.encode_answer(Answer("openai-chat", "", "m", ()))[0])
    assert (empty["status"], empty["output"]) == ("in_progress", [])
