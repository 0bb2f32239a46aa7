"""Bodies of this dialect: what a mistake is called, and the spellings that come back as they were."""

import base64
import json
from typing import Any

import pytest

from understudy.canon import (
    CacheHint,
    Citation,
    File,
    Image,
    Inline,
    Message,
    Reasoning,
    Request,
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
from understudy.dialects import Malformed
from understudy.dialects import anthropic_messages as dialect

HELLO = {"role": "user", "content": "hi"}


def messages(*given: Any) -> dict[str, Any]:
    return {"model": "m", "max_tokens": 9, "messages": list(given)}


def block(**fields: Any) -> dict[str, Any]:
    return messages({"role": "user", "content": [fields]})


def thinking(**fields: Any) -> dict[str, Any]:
    return messages(HELLO) | {"thinking": fields}


MISTAKES: list[tuple[Any, str]] = [
    ([], "body"),
    ({"model": "m"}, "messages"),
    ({"messages": "hi"}, "messages"),
    (messages(HELLO) | {"model": 5}, "model"),
    (messages("hi"), "messages[0]"),
    (messages({"content": "hi"}), "messages[0].role"),
    (messages({"role": "tool", "content": "hi"}), "messages[0].role"),
    (messages(HELLO, {"role": "user"}), "messages[1].content"),
    (messages(HELLO, {"role": "user", "content": 5}), "messages[1].content"),
    (messages({"role": "user", "content": ["hi"]}), "messages[0].content[0]"),
    (block(type="text"), "messages[0].content[0].text"),
    (block(type="text", text="a", citations=[1]), "messages[0].content[0].citations"),
    (block(type="image"), "messages[0].content[0].source"),
    (block(type="image", source={"type": "base64"}), "messages[0].content[0].source.data"),
    (block(type="document", source={"type": "file"}), "messages[0].content[0].source.file_id"),
    (block(type="tool_use", name="f", input={}), "messages[0].content[0].id"),
    (block(type="tool_use", id="a", name="f", input="{}"), "messages[0].content[0].input"),
    (block(type="tool_result", content="x"), "messages[0].content[0].tool_use_id"),
    (block(type="tool_result", tool_use_id="a", is_error="no"), "messages[0].content[0].is_error"),
    (block(type="tool_result", tool_use_id="a", content=[{"type": "text"}]), "messages[0].content[0].content[0].text"),
    (block(type="thinking", signature="s"), "messages[0].content[0].thinking"),
    (block(type="redacted_thinking"), "messages[0].content[0].data"),
    (block(type="search_result", content=5), "messages[0].content[0].content"),
    (block(type="text", text="a", cache_control="x"), "messages[0].content[0].cache_control"),
    (messages(HELLO) | {"system": 5}, "system"),
    (messages(HELLO) | {"temperature": "hot"}, "temperature"),
    (messages(HELLO) | {"max_tokens": True}, "max_tokens"),
    (messages(HELLO) | {"stop_sequences": [1]}, "stop_sequences[0]"),
    (messages(HELLO) | {"metadata": {"user_id": 1}}, "metadata.user_id"),
    (messages(HELLO) | {"tools": [{"input_schema": {}}]}, "tools[0].name"),
    (messages(HELLO) | {"tools": [{"name": "f", "input_schema": 1}]}, "tools[0].input_schema"),
    (messages(HELLO) | {"tool_choice": "auto"}, "tool_choice"),
    (messages(HELLO) | {"tool_choice": {"type": "maybe"}}, "tool_choice.type"),
    (messages(HELLO) | {"tool_choice": {"type": "tool"}}, "tool_choice.name"),
    (messages(HELLO) | {"output_config": {"effort": 3}}, "output_config.effort"),
    (thinking(type="enabled", budget_tokens="many"), "thinking.budget_tokens"),
]


@pytest.mark.parametrize(("body", "field"), MISTAKES, ids=[field for _, field in MISTAKES])
def test_a_mistake_is_named_by_its_path(body: Any, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        dialect.decode_request(json.dumps(body).encode())
    assert caught.value.field == field


@pytest.mark.parametrize("body", [b"", b"{", b'{"a": "\xff"}', b"[" * 100_000, b'{"a": 1e999}'])
def test_what_is_no_json_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed):
        dialect.decode_request(body)


def test_results_that_nest_without_end_are_taken_as_they_are() -> None:
    body = messages(HELLO)
    inner: Any = "x"
    for _ in range(200):
        inner = [{"type": "tool_result", "tool_use_id": "a", "content": inner}]
    body["messages"][0] = {"role": "user", "content": inner}
    assert again(body) == body


DOCUMENT = {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "Grüß"}}
SEARCH = {"type": "search_result", "source": "https://a", "title": "A", "content": [{"type": "text", "text": "x"}]}
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
BLOCKS: list[dict[str, Any]] = [
    {"type": "text", "text": ""},
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}},
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h", "scope": "global"}},
    {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "9d"}, "citations": None, "new": 1},
    {"type": "text", "text": "a", "citations": [{"type": "char_location", "document_title": None, "cited_text": "b"}]},
    {"type": "text", "text": "a", "citations": [
        {"type": "search_result_location", "source": "https://a", "title": "t", "search_result_index": 0},
        {"type": "search_result_location", "source": "shelf 4", "title": None},
    ]},
    {"type": "image", "source": PNG, "cache_control": {"type": "ephemeral", "ttl": "5m"}},
    {"type": "image", "source": PNG | {"new": 1}},
    {"type": "image", "source": {"type": "url", "url": "https://a"}},
    {"type": "image", "source": {"type": "file", "file_id": "file_1"}},
    {"type": "image", "source": {"type": "holographic"}},
    DOCUMENT,
    DOCUMENT | {"title": "T", "context": "C", "citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}},
    DOCUMENT | {"title": None, "context": "", "citations": {"enabled": False}},
    DOCUMENT | {"citations": {"enabled": True, "depth": 2}},
    {"type": "document", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
    {"type": "document", "source": {"type": "content", "content": "plain"}},
    {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}, "title": "T"},
    {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": PNG}]}},
    {"type": "tool_use", "id": "a", "name": "f", "input": {}, "caller": {"type": "direct"}},
    {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1.0, "y": 2**70}, "cache_control": None},
    {"type": "server_tool_use", "id": "a", "name": "web_search", "input": {"q": "x"}},
    {"type": "mcp_tool_use", "id": "a", "name": "f", "server_name": "s", "input": {}},
    {"type": "tool_result", "tool_use_id": "a"},
    {"type": "tool_result", "tool_use_id": "a", "content": "", "is_error": False},
    {"type": "tool_result", "tool_use_id": "a", "content": [], "is_error": True},
    {"type": "tool_result", "tool_use_id": "a", "content": "x", "cache_control": {"type": "ephemeral"}},
    {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "x"}]},
    {"type": "tool_result", "tool_use_id": "a", "content": [
        {"type": "image", "source": PNG}, DOCUMENT, SEARCH, {"type": "tool_reference", "tool_name": "f"}
    ]},
    {"type": "thinking", "thinking": "hm", "signature": "EpAB"},
    {"type": "thinking", "thinking": "", "signature": "EpAB"},
    {"type": "thinking", "thinking": "hm", "signature": ""},
    {"type": "thinking", "thinking": "hm"},
    {"type": "thinking", "thinking": "hm", "signature": "understudy:broken"},
    {"type": "redacted_thinking", "data": "Zm9v"},
    SEARCH | {"citations": {"enabled": True}, "cache_control": {"type": "ephemeral"}},
    {"type": "container_upload", "file_id": "file_1"},
    {"type": "web_search_tool_result", "tool_use_id": "a", "content": []},
    {"type": "compaction", "content": "x"},
    {"no": "type"},
]  # fmt: skip


def again(body: dict[str, Any]) -> dict[str, Any]:
    encoded, losses = dialect.encode_request(dialect.decode_request(json.dumps(body).encode()))
    assert losses == ()
    decoded: dict[str, Any] = json.loads(encoded)
    return decoded


@pytest.mark.parametrize("given", BLOCKS, ids=[f"{i}-{b.get('type')}" for i, b in enumerate(BLOCKS)])
def test_a_block_comes_back_as_it_was(given: dict[str, Any]) -> None:
    for role in ("user", "assistant"):
        for body in (
            messages({"role": role, "content": [given]}),
            messages({"role": role, "content": [{"type": "text", "text": "before"}, given, given, HELLO]}),
        ):
            assert again(body) == body


FIELDS: list[dict[str, Any]] = [
    {"system": "Be brief."},
    {"system": ""},
    {"system": []},
    {"system": [{"type": "text", "text": "Be brief."}]},
    {"system": [{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}]},
    {"stream": False, "tools": [], "stop_sequences": []},
    {"stream": True, "temperature": 1, "top_p": 0.5, "top_k": 5, "stop_sequences": ["x"]},
    {"tools": [{"name": "f", "input_schema": {}, "type": "custom", "strict": False, "description": ""}]},
    {"tools": [{"name": "f", "input_schema": {"type": "object"}, "defer_loading": True, "input_examples": [{}]}]},
    {"tools": [{"type": "web_search_20250305", "name": "web_search", "max_uses": 1, "cache_control": None}]},
    {"tools": [{"type": "bash_20250124", "name": "bash", "cache_control": {"type": "ephemeral"}}]},
    {"tool_choice": {"type": "any", "disable_parallel_tool_use": True}},
    {"tool_choice": {"type": "auto", "disable_parallel_tool_use": False}},
    {"tool_choice": {"type": "tool", "name": "f", "new": 1}},
    {"tool_choice": {"type": "none"}},
    {"tool_choice": {"type": "none", "disable_parallel_tool_use": True}},
    {"thinking": {"type": "enabled", "budget_tokens": 2000, "display": "omitted"}},
    {"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}},
    {"thinking": {"type": "disabled"}},
    {"thinking": {"type": "between_tools", "x": 1}},
    {"thinking": {"type": "enabled"}},
    {"output_config": {"format": {"type": "json_schema", "schema": {"type": "object"}}, "task_budget": {"total": 5}}},
    {"output_config": {"format": {"type": "grammar"}, "effort": "low"}},
    {"output_config": {}},
    {"output_config": {"effort": None}},
    {"output_format": {"type": "json_schema", "schema": {}, "name": "n"}},
    {"metadata": {"user_id": "u", "team": "t"}},
    {"metadata": {"user_id": None}},
    {"metadata": {}},
    {"service_tier": "standard_only"},
    {"cache_control": {"type": "ephemeral"}, "container": {"id": "c"}, "inference_geo": "eu", "betas": ["x"]},
    {"mcp_servers": [{"type": "url", "url": "https://m", "name": "m"}], "context_management": {"edits": []}},
]


@pytest.mark.parametrize("fields", FIELDS, ids=range(len(FIELDS)))
def test_a_request_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    body = messages(HELLO) | fields
    assert again(body) == body


CONVERSATIONS: list[list[dict[str, Any]]] = [
    [],
    [{"role": "user", "content": ""}],
    [{"role": "user", "content": [], "new": 1}],
    [HELLO, {"role": "system", "content": "Now be long."}, HELLO],
    [HELLO, {"role": "system", "content": [{"type": "text", "text": "Now be long."}]}],
    [{"role": "user", "content": [
        {"type": "text", "text": "a"},
        {"type": "tool_result", "tool_use_id": "a", "content": "1"},
        {"type": "tool_result", "tool_use_id": "b", "content": "2"},
        {"type": "text", "text": "b"},
    ], "id": "x"}],
    [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "a"}]}, HELLO],
]  # fmt: skip


@pytest.mark.parametrize("turns", CONVERSATIONS, ids=range(len(CONVERSATIONS)))
def test_a_conversation_comes_back_as_it_was(turns: list[dict[str, Any]]) -> None:
    assert again(messages(*turns)) == messages(*turns)


def test_a_request_without_max_tokens_or_model_is_taken_and_stays_so() -> None:
    body = {"messages": [HELLO]}
    assert again(body) == body


def decoded(*content: dict[str, Any], role: str = "user") -> tuple[Message, ...]:
    body = messages({"role": role, "content": list(content)})
    return dialect.decode_request(json.dumps(body).encode()).messages


def test_blocks_mean_what_the_vocabulary_says() -> None:
    text = base64.b64encode("Grüß".encode()).decode()
    [message] = decoded(
        {"type": "text", "text": "a", "cache_control": {"type": "ephemeral", "ttl": "1h"}},
        {"type": "image", "source": PNG},
        {"type": "image", "source": {"type": "url", "url": "https://a"}},
        {"type": "document", "source": {"type": "file", "file_id": "f"}, "title": "T", "citations": {"enabled": True}},
        DOCUMENT,
        SEARCH,
        {"type": "container_upload", "file_id": "f"},
    )
    assert message.parts[:4] == (
        Text("a", cache=CacheHint(3600)),
        Image(Inline("iVBO", "image/png")),
        Image(Url("https://a")),
        File(Stored("f"), title="T", citations=True),
    )
    document, search, upload = message.parts[4:]
    assert isinstance(document, File)
    assert document.source == Inline(text, "text/plain")
    assert isinstance(search, Text)
    assert search.text == "A\nhttps://a\n\nx"
    assert upload == Unknown("container_upload", {"type": "container_upload", "file_id": "f"})


def test_results_stand_in_messages_of_their_own() -> None:
    first, second = decoded(
        {"type": "tool_result", "tool_use_id": "a", "content": "no", "is_error": True}, {"type": "text", "text": "b"}
    )
    assert (first.role, first.parts) == ("tool", (ToolResult("a", (Text("no"),), failed=True),))
    assert (second.role, second.parts) == ("user", (Text("b"),))


def test_calls_thoughts_and_citations_mean_what_the_vocabulary_says() -> None:
    [message] = decoded(
        {"type": "thinking", "thinking": "hm", "signature": "s"},
        {"type": "redacted_thinking", "data": "d"},
        {"type": "text", "text": "a", "citations": [
            {"type": "web_search_result_location", "url": "https://a", "title": "A", "cited_text": "b"}]},
        {"type": "tool_use", "id": "i", "name": "f", "input": {"x": 1}},
        {"type": "server_tool_use", "id": "j", "name": "web_search", "input": {}},
        role="assistant",
    )  # fmt: skip
    assert message.parts == (
        Reasoning("hm", signature="s"),
        Reasoning(sealed="d"),
        Text("a", (Citation("web_search_result_location", "https://a", "A", "b"),)),
        ToolCall("i", "f", '{"x":1}'),
        ToolCall("j", "web_search", "{}", "hosted"),
    )


def test_settings_mean_what_the_vocabulary_says() -> None:
    body = messages(HELLO) | {
        "system": "S",
        "tools": [{"name": "f", "input_schema": {"type": "object"}, "strict": True}, {"type": "bash_20250124"}],
        "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 2000},
        "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}},
        "metadata": {"user_id": "u"},
    }
    request = dialect.decode_request(json.dumps(body).encode())
    assert request.messages[0] == Message("system", (Text("S"),))
    assert request.tools == (Tool("f", parameters={"type": "object"}, strict=True), Tool("bash_20250124", "hosted"))
    assert (request.tool_choice, request.parallel_tool_calls) == (ToolChoice("required", ("f",)), False)
    assert request.reasoning is not None
    assert (request.reasoning.enabled, request.reasoning.budget, request.reasoning.effort) == (True, 2000, "low")
    assert request.response_format is not None
    assert request.response_format.schema == {"type": "object"}
    assert (request.user, request.metadata) == ("u", None)


def test_a_request_made_by_hand_is_written_whole() -> None:
    """One that no wire has noted any spelling for, as continuing an answer makes them."""
    request = Request("anthropic-messages", "m", (Message("user", (Text("a"),)), Message("tool", (ToolResult("i"),))),
                      tools=(Tool("f", parameters={}), Tool("c", "custom")), parallel_tool_calls=False)  # fmt: skip
    body = json.loads(dialect.encode_request(request)[0])
    assert body["messages"] == [
        {"role": "user", "content": "a"},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "i"}]},
    ]
    assert body["tool_choice"] == {"type": "auto", "disable_parallel_tool_use": True}
    assert body["tools"][1]["input_schema"]["required"] == ["input"]


def test_what_a_request_of_its_own_cannot_say_is_announced() -> None:
    parts = (ToolCall("i", "f", "{"), Reasoning("x", origin="openai/gpt-5"))
    request = Request("anthropic-messages", "m", (Message("assistant", parts),), logprobs=1)
    losses = dialect.encode_request(request)[1]
    assert {loss.field for loss in losses} == {"messages[0].parts[0]", "messages[0].parts[1]", "logprobs"}


# --- answers ---------------------------------------------------------------------------------------------------------

ANSWER: dict[str, Any] = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "claude-sonnet-4-5",
    "content": [{"type": "text", "text": "hi", "citations": None}],
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 3, "output_tokens": 2},
}
ANSWERS: list[dict[str, Any]] = [
    {},
    {"content": [], "stop_reason": "refusal", "stop_details": {"type": "refusal", "category": None}},
    {"content": BLOCKS[-8:]},
    {"stop_reason": "stop_sequence", "stop_sequence": "END", "container": None, "context_management": {"x": []}},
    {"stop_reason": None},
    {"stop_reason": "brand_new", "role": "narrator", "type": "novel", "model": "", "id": ""},
    {"usage": {"input_tokens": 1, "output_tokens": 2, "cache_read_input_tokens": None, "service_tier": "batch",
               "output_tokens_details": {"thinking_tokens": 1, "x": 1}, "estimated": True, "iterations": []}},
    {"usage": {"input_tokens": "many"}},
    {"usage": {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}}},
    {"usage": None},
    {"usage": {}},
]  # fmt: skip


@pytest.mark.parametrize("fields", ANSWERS, ids=range(len(ANSWERS)))
def test_an_answer_comes_back_as_it_was(fields: dict[str, Any]) -> None:
    body, losses = dialect.encode_answer(dialect.decode_answer(json.dumps(ANSWER | fields).encode()))
    assert losses == ()
    assert json.loads(body) == ANSWER | fields


def test_an_answer_without_a_head_stays_so() -> None:
    body, _ = dialect.encode_answer(dialect.decode_answer(b'{"content": []}'))
    assert json.loads(body) == {"content": []}


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"type": "error", "error": {"type": "api_error", "message": "x"}}, "error"),
        ({"id": "a"}, "content"),
        ({"content": "x"}, "content"),
        ({"content": [5]}, "content[0]"),
        (ANSWER | {"stop_reason": 5}, "stop_reason"),
        (ANSWER | {"usage": 5}, "usage"),
    ],
)
def test_what_is_no_answer_is_named(body: Any, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        dialect.decode_answer(json.dumps(body).encode())
    assert caught.value.field == field


def test_input_tokens_include_what_was_cached_and_back() -> None:
    usage = {"input_tokens": 3, "cache_read_input_tokens": 40, "cache_creation_input_tokens": 500, "output_tokens": 6}
    answer = dialect.decode_answer(json.dumps(ANSWER | {"usage": usage}).encode())
    assert answer.usage == Usage(543, 6, cached_read=40, cached_write=500)
    assert json.loads(dialect.encode_answer(answer)[0])["usage"] == usage


def test_an_answers_thinking_is_marked_as_signed_by_this_model() -> None:
    body = ANSWER | {"content": [{"type": "thinking", "thinking": "hm", "signature": "s"}]}
    answer = dialect.decode_answer(json.dumps(body).encode())
    assert answer.choices[0].parts == (Reasoning("hm", signature="s", origin="anthropic-messages/claude-sonnet-4-5"),)
