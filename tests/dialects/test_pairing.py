"""A call and its result stand side by side, or are told in words, and a loss says so."""

import json

import pytest

from understudy import dialects
from understudy.canon import Loss, Message, Request, Text, ToolCall, ToolResult
from understudy.dialects.pairing import paired

ASKED = Message("user", (Text("Add 2 and 3."),))
CALL, OTHER = ToolCall("1", "add", '{"a":2}'), ToolCall("2", "subtract")


def called(*calls: ToolCall) -> Message:
    return Message("assistant", calls)


def result(call_id: str, words: str = "5", name: str | None = None) -> ToolResult:
    return ToolResult(call_id, (Text(words),), name)


def told(*messages: Message) -> tuple[list[Message], list[tuple[str, str]]]:
    losses: list[Loss] = []
    return list(paired(messages, losses)), [(loss.field, loss.kind) for loss in losses]


def test_what_is_paired_stays_as_it_is() -> None:
    messages = (ASKED, called(CALL, OTHER), Message("tool", (result("2"),)), Message("tool", (result("1"),)), ASKED)
    losses: list[Loss] = []
    assert paired(messages, losses) == messages
    assert paired((ASKED,), losses) == (ASKED,)
    assert losses == []


def test_a_call_without_a_result_is_told_in_words() -> None:
    found, losses = told(ASKED, called(CALL, OTHER), Message("tool", (result("2"),)), ASKED)
    assert found[1].parts == (Text('[called add with {"a":2}, and got no result]'), OTHER)
    assert losses == [("messages[1].parts[0]", "approximated")]


def test_a_result_without_a_call_is_told_in_words_by_the_user() -> None:
    found, losses = told(ASKED, Message("tool", (result("9"),)))
    assert found[1] == Message("user", (Text("[result of 9]"), Text("5")))
    assert losses == [("messages[1].parts[0]", "approximated")]


def test_a_result_that_comes_too_late_is_told_in_words() -> None:
    found, _ = told(ASKED, called(CALL), ASKED, Message("tool", (result("1"),)))
    assert [message.role for message in found] == ["user", "assistant", "user", "user"]


def test_a_result_without_its_call_beside_one_that_has_it_is_left_out() -> None:
    found, losses = told(ASKED, called(CALL), Message("tool", (result("9"), result("1"))))
    assert found[2].parts == (result("1"),)
    assert losses == [("messages[2]", "dropped")]


def test_a_result_that_names_no_call_answers_the_first_that_waits() -> None:
    found, losses = told(ASKED, called(CALL, OTHER), Message("tool", (result("", name="subtract"), result(""))))
    assert [part.call_id for part in found[2].parts if isinstance(part, ToolResult)] == ["2", "1"]
    assert losses == []


def test_a_call_that_a_provider_ran_itself_waits_for_nothing() -> None:
    messages = (ASKED, called(ToolCall("1", "search", "{}", "hosted")), ASKED)
    assert paired(messages, []) == messages


@pytest.mark.parametrize("name", ["openai-chat", "openai-responses", "gemini"])
def test_no_lone_call_or_result_goes_to_a_provider_that_refuses_them(name: str) -> None:
    messages = (ASKED, called(CALL), ASKED, Message("tool", (result("9"),)))
    body, losses = dialects.get(name).encode_request(Request("elsewhere", "m", messages))
    assert {loss.field for loss in losses} >= {"messages[1].parts[0]", "messages[3].parts[0]"}
    assert b"got no result" in body
    assert b"[result of 9]" in body
    wire = json.loads(body)
    assert not any(key in str(wire) for key in ("tool_calls", "function_call", "functionCall", "functionResponse"))


@pytest.mark.parametrize("name", ["openai-chat", "gemini"])
def test_a_conversation_of_which_nothing_is_left_is_refused(name: str) -> None:
    with pytest.raises(dialects.Malformed, match="messages: hold nothing"):
        dialects.get(name).encode_request(Request("elsewhere", "m", ()))


def test_what_another_dialect_alone_takes_is_brought_into_the_range_of_openai() -> None:
    request = dialects.get("gemini").decode_request(
        b'{"contents":[{"role":"user","parts":[{"text":"a"}]}],"generationConfig":'
        b'{"temperature":1000,"responseModalities":["TEXT","IMAGE"]}}'
    )
    for name in ("openai-chat", "openai-completions"):
        body, losses = dialects.get(name).encode_request(request)
        assert json.loads(body)["temperature"] == 2
        assert {"sampling.temperature", "modalities"} <= {loss.field for loss in losses}
    painter = Request("gemini", "google/gemini-2.5-flash-image", request.messages, modalities=("text", "image"))
    assert json.loads(dialects.get("openai-chat").encode_request(painter)[0])["modalities"] == ["text", "image"]


@pytest.mark.parametrize("name", ["anthropic-messages", "bedrock-converse"])
def test_a_limit_below_zero_is_none(name: str) -> None:
    request = dialects.get("openai-completions").decode_request(b'{"model":"m","prompt":"a","max_tokens":-1}')
    body, _ = dialects.get(name).encode_request(request)
    assert b"-1" not in body


def test_a_type_that_google_reads_by_its_number_is_a_word_elsewhere() -> None:
    wire = {"name": "f", "parameters": {"type": 6, "properties": {"a": {"type": 1}}}}
    body = {"contents": [{"role": "user", "parts": [{"text": "a"}]}], "tools": [{"functionDeclarations": [wire]}]}
    gemini = dialects.get("gemini")
    request = gemini.decode_request(json.dumps(body).encode())
    assert request.tools[0].parameters == {"type": "object", "properties": {"a": {"type": "string"}}}
    assert json.loads(gemini.encode_request(request)[0]) == body
