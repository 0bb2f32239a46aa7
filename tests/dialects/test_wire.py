"""Nobody's fields are taken for our notes of spelling, and what fuzzing found stays mended."""

import json
from typing import Any

import pytest

from understudy import dialects
from understudy.canon import Answer, Choice, ToolCall
from understudy.dialects.wire import BLANKS, FORM, Malformed, restore, split

ASKED = {
    "anthropic-messages": {"max_tokens": 9, "messages": [{"role": "user", "content": "a"}]},
    "bedrock-converse": {"messages": [{"role": "user", "content": [{"text": "a"}]}]},
    "cohere-chat": {"model": "m", "messages": [{"role": "user", "content": "a"}]},
    "gemini": {"contents": [{"role": "user", "parts": [{"text": "a"}]}]},
    "ollama": {"model": "m", "messages": [{"role": "user", "content": "a"}]},
    "openai-chat": {"model": "m", "messages": [{"role": "user", "content": "a"}]},
    "openai-completions": {"model": "m", "prompt": "a"},
    "openai-responses": {"model": "m", "input": "a"},
}


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.parametrize("note", [BLANKS, FORM])
def test_a_field_with_the_name_of_a_note_is_refused_by_name(name: str, note: str) -> None:
    with pytest.raises(Malformed, match=f"{note}: is a name that this gateway keeps for itself"):
        dialects.get(name).decode_request(json.dumps({**ASKED[name], note: {"model": 1}}).encode())


def test_arguments_may_have_any_names() -> None:
    call = ToolCall("call_1", "list_files", '{"~":"home","~as":1}')
    answer = Answer("elsewhere", "a", "m", (Choice(0, (call,), "tool_calls"),))
    for name in dialects.DIALECTS:
        if name == "openai-completions":  # which has no calls
            continue
        own = dialects.get(name)
        part = own.decode_answer(own.encode_answer(answer)[0]).choices[0].parts[0]
        assert isinstance(part, ToolCall)
        assert json.loads(part.arguments) == {"~": "home", "~as": 1}


def test_a_note_that_is_none_is_not_read_as_one() -> None:
    assert restore({"a": 1}, {BLANKS: 7, "b": 2}) == {"a": 1, "b": 2}
    with pytest.raises(Malformed):
        split({BLANKS: {}})


@pytest.mark.parametrize("index", [{}, [], "0", 0.5])
def test_a_watch_leaves_out_a_chunk_whose_index_is_no_number(index: Any) -> None:
    watch = dialects.watch("openai-chat")
    chunk = {"choices": [{"index": index, "delta": {"content": "a"}, "finish_reason": None}]}
    assert watch.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n") == b""
    assert watch.skipped == 1


def test_a_role_that_is_no_text_is_malformed() -> None:
    body = {"model": "m", "input": [{"role": {}, "content": "a"}]}
    with pytest.raises(Malformed, match=r"input\[0\].role"):
        dialects.get("openai-responses").decode_request(json.dumps(body).encode())


def test_a_nested_function_may_leave_its_type_blank() -> None:
    tool = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}, "type": []}}
    body = json.dumps({"model": "m", "input": "a", "tools": [tool]}).encode()
    own = dialects.get("openai-responses")
    request = own.decode_request(body)
    assert request.tools[0].name == "f"
    assert json.loads(own.encode_request(request)[0])["tools"] == [tool]


def test_a_format_that_is_no_text_is_lost_and_said_to_be() -> None:
    schema = {"type": "object", "properties": {"a": {"type": "string", "format": []}}}
    wanted = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    chat = {**ASKED["openai-chat"], "response_format": wanted}
    request = dialects.get("openai-chat").decode_request(json.dumps(chat).encode())
    _, losses = dialects.get("anthropic-messages").encode_request(request)
    assert any("format" in loss.field + loss.why for loss in losses)


def test_a_block_of_an_unknown_type_is_no_text_even_if_it_has_one() -> None:
    body = {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": [{"type": "new", "text": "a"}]}]}
    own = dialects.get("anthropic-messages")
    assert json.loads(own.encode_request(own.decode_request(json.dumps(body).encode()))[0]) == body


def test_a_reasoning_item_that_ends_with_null_for_its_content_keeps_what_came_before() -> None:
    own = dialects.get("openai-responses")
    begun: dict[str, Any] = {"type": "reasoning", "id": "rs_1", "summary": []}
    item, response = {**begun, "content": None}, {"id": "r", "model": "m", "status": "in_progress", "output": []}
    delta = {"output_index": 0, "item_id": "rs_1", "content_index": 0, "delta": "Hm."}
    events = (
        {"type": "response.created", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": begun},
        {"type": "response.reasoning_text.delta", **delta},
        {"type": "response.output_item.done", "output_index": 0, "item": item},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [item]}},
    )
    decoder, encoder = own.StreamDecoder(), own.StreamEncoder()
    wire = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)
    again = b"".join(encoder.encode(event) for event in decoder.feed(wire) + decoder.close())
    assert b"response.completed" in again
    assert b"Hm." in again
