"""What goes out comes back, wherever no loss was announced, for cohere-chat and ollama. And fuzz: only `Malformed`."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from tests.dialects.join import unjoin
from tests.dialects.recorded_cohere_ollama import cohere_errors, ollama_errors
from understudy import dialects
from understudy.canon import (
    Answer,
    Choice,
    Ended,
    Image,
    Inline,
    Message,
    Reasoning,
    ReasoningEffort,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from understudy.canon.join import join
from understudy.dialects import Malformed

quick = settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
each = pytest.mark.parametrize("name", ["cohere-chat", "ollama"])
ERRORS = {"cohere-chat": cohere_errors, "ollama": ollama_errors}

words = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
names = st.text("abcdefgh_", min_size=1, max_size=8)
small = st.integers(1, 400)
values = st.none() | st.booleans() | small | words
arguments = st.dictionaries(names, values, max_size=2).map(lambda value: msgspec.json.encode(value).decode())
objects = st.just({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]})
pictures = st.builds(Image, st.builds(Inline, st.just("iVBORw0K"), st.just("image/png")))


def maybe(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.none() | strategy


@st.composite
def histories(draw: st.DrawFn) -> tuple[Message, ...]:
    out = [Message("system", (Text(draw(words)),))] if draw(st.booleans()) else []
    for number in range(draw(st.integers(1, 3))):
        out.append(Message("user", (Text(draw(words)), *draw(st.lists(pictures, max_size=1)))))
        asked = [ToolCall(f"{number}.{i}", draw(names), draw(arguments)) for i in range(draw(st.integers(0, 2)))]
        said = () if asked else (Text(draw(words)),)
        out.append(Message("assistant", (*said, *asked)))
        out += [Message("tool", (ToolResult(call.id, (Text(draw(words)),), call.name),)) for call in asked]
    return tuple(out) if out[-1].role == "tool" else (*out, Message("user", (Text(draw(words)),)))


requests = st.builds(
    Request,
    dialect=st.just("another"),
    model=words,
    messages=histories(),
    tools=st.lists(st.builds(Tool, names, parameters=objects), max_size=2).map(tuple),
    tool_choice=maybe(st.builds(ToolChoice, st.sampled_from(["none", "required"]))),
    sampling=st.builds(
        Sampling,
        temperature=maybe(st.floats(0, 1.2)),
        top_p=maybe(st.floats(0.01, 0.99)),
        top_k=maybe(small),
        seed=maybe(small),
        frequency_penalty=maybe(st.floats(0, 1)),
        max_tokens=maybe(small),
        stop=st.lists(words, max_size=6).map(tuple),
    ),
    response_format=maybe(
        st.just(ResponseFormat("json")) | objects.map(lambda schema: ResponseFormat("schema", schema=schema))
    ),
    reasoning=maybe(st.builds(ReasoningEffort, enabled=st.booleans())),
    logprobs=maybe(st.integers(0, 1)),
    stream=st.booleans(),
)
tokens = st.builds(TokenLogprob, words, st.floats(-10, 0), st.none(), st.none())


@st.composite
def answers(draw: st.DrawFn) -> Answer:
    said: list[Any] = [Reasoning(draw(words))] if draw(st.booleans()) else []
    said += [Text(draw(words), logprobs=tuple(draw(st.lists(tokens, max_size=1))))] if draw(st.booleans()) else []
    asked = [ToolCall(f"c{i}", draw(names), draw(arguments)) for i in range(draw(st.integers(0, 2)))]
    finish: Any = draw(st.sampled_from(["tool_calls" if asked else "stop", "length", "filtered"]))
    usage = draw(maybe(st.builds(Usage, small, small, cached_read=maybe(small))))
    return Answer("another", "", "", (Choice(0, (*said, *asked), finish),), usage)


def plain(value: Any) -> Any:
    """Builtins without what only a dialect knows: notes, its name, native reasons, ids of tokens."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value))
    if isinstance(value, dict):
        hidden = ("dialect", "native_reason", "extra", "message_extra", "bytes")
        kept = {key: plain(item) for key, item in value.items() if key not in hidden}
        if kept.get("type") == "tool_result":
            kept.pop("name", None)
        return kept
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@each
@quick
@given(request=requests)
def test_a_request_without_losses_survives(name: str, request: Request) -> None:
    body, losses = dialects.get(name).encode_request(request)
    assert ERRORS[name](json.loads(body)) == []
    assume(not losses)
    assert plain(dialects.get(name).decode_request(body)) == plain(request)


@each
@quick
@given(answer=answers())
def test_an_answer_without_losses_survives(name: str, answer: Answer) -> None:
    body, losses = dialects.get(name).encode_answer(answer)
    assume(not losses)
    assert plain(dialects.get(name).decode_answer(body)) == plain(answer)


@each
@quick
@given(answer=answers())
def test_a_stream_without_losses_survives(name: str, answer: Answer) -> None:
    bare = [
        msgspec.structs.replace(part, logprobs=()) if isinstance(part, Text) else part
        for part in answer.choices[0].parts
    ]
    answer = msgspec.structs.replace(answer, choices=(msgspec.structs.replace(answer.choices[0], parts=tuple(bare)),))
    encoder, decoder = dialects.get(name).StreamEncoder(), dialects.get(name).StreamDecoder()
    wire = b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])
    assume(not encoder.losses)
    assert plain(join(decoder.feed(wire) + decoder.close())) == plain(answer)


# --- fuzz ------------------------------------------------------------------------------------------------------------

DOCUMENT = {"id": "d", "data": {"title": "t", "text": "x"}}
CALL = {"id": "c", "type": "function", "function": {"name": "f", "arguments": "{}"}}
CITATION = {
    "start": 0,
    "end": 1,
    "text": "x",
    "content_index": 0,
    "sources": [{"type": "document", "document": DOCUMENT}],
}
TOOL = {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}}
COHERE = [
    {
        "model": "m",
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x", "detail": "low"}}]},
            {
                "role": "assistant",
                "tool_plan": "p",
                "tool_calls": [CALL],
                "content": [{"type": "thinking", "thinking": "t"}],
            },
            {"role": "tool", "tool_call_id": "c", "content": [{"type": "document", "document": DOCUMENT}]},
        ],
        "documents": [DOCUMENT, "x"],
        "tools": [TOOL],
        "strict_tools": True,
        "tool_choice": "REQUIRED",
        "response_format": {"type": "json_object", "json_schema": {"type": "object"}},
        "thinking": {"type": "enabled", "token_budget": 1},
        "stop_sequences": ["x"],
        "k": 1,
        "p": 0.5,
        "logprobs": True,
        "stream": True,
    },
    {
        "id": "a",
        "finish_reason": "COMPLETE",
        "message": {
            "role": "assistant",
            "content": [{"type": "text", "text": "x"}],
            "tool_calls": [CALL],
            "citations": [CITATION],
        },
        "usage": {"tokens": {"input_tokens": 1}, "cached_tokens": 1},
        "logprobs": [{"text": "x", "token_ids": [1], "logprobs": [-1]}],
    },
    {"type": "message-start", "id": "i", "delta": {"message": {"role": "assistant"}}},
    {"type": "content-start", "index": 0, "delta": {"message": {"content": {"type": "text", "text": "x"}}}},
    {"type": "content-delta", "index": 0, "delta": {"message": {"content": {"text": "x"}}}, "logprobs": {"text": "x"}},
    {"type": "tool-plan-delta", "delta": {"message": {"tool_plan": "x"}}},
    {"type": "tool-call-start", "index": 0, "delta": {"message": {"tool_calls": CALL}}},
    {"type": "tool-call-delta", "index": 0, "delta": {"message": {"tool_calls": {"function": {"arguments": "{"}}}}},
    {"type": "citation-start", "index": 0, "delta": {"message": {"citations": CITATION}}},
    {"type": "message-end", "delta": {"finish_reason": "ERROR", "error": "x", "usage": {"tokens": {}}}},
    {"type": "message-end", "delta": {"finish_reason": "COMPLETE", "usage": {"tokens": {"input_tokens": 1}}}},
    {"message": "m", "id": "i", "error_type": "t"},
]
OCALL = {"id": "c", "function": {"name": "f", "arguments": {"a": 1}, "index": 0}}
OLLAMA = [
    {
        "model": "m",
        "messages": [
            {"role": "user", "content": "x", "images": ["AA=="]},
            {"role": "assistant", "content": "x", "thinking": "t", "tool_calls": [OCALL]},
            {"role": "tool", "content": "x", "tool_name": "f", "tool_call_id": "c"},
        ],
        "format": {"type": "object"},
        "think": "low",
        "tools": [TOOL],
        "options": {"stop": ["x"], "num_predict": 1, "temperature": 1, "num_ctx": 5},
        "keep_alive": "5m",
        "stream": True,
        "logprobs": True,
        "top_logprobs": 1,
    },
    {"model": "m", "prompt": "x", "system": "s", "images": ["AA=="], "context": [1], "stream": False},
    {
        "model": "m",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": "x", "thinking": "t", "tool_calls": [OCALL], "images": ["AA=="]},
        "logprobs": [{"token": "x", "logprob": -1, "bytes": [1], "top_logprobs": []}],
        "done": True,
        "done_reason": "stop",
        "eval_count": 1,
    },
    {"model": "m", "response": "x", "thinking": "t", "done": False},
    {"error": "x", "code": "c"},
]
VALUES = ["null", "true", "1", "1e300", '""', '"x"', "[]", "{}", "[null]", '[{"text":1}]', '{"type":"x"}', "[[1]]"]
BODIES = {"cohere-chat": COHERE, "ollama": OLLAMA}


def all_decoders(name: str, data: bytes) -> None:
    dialect: Any = dialects.get(name)
    pairs = ((dialect.decode_request, dialect.encode_request), (dialect.decode_answer, dialect.encode_answer))
    for decode, encode in pairs:
        try:
            found = decode(data)
        except Malformed as error:
            assert error.field  # noqa: PT017  every mistake is named
        else:
            encode(found)
            encode(msgspec.structs.replace(found, dialect="another"))
    dialect.decode_fault(429, {"retry-after": data.decode("latin-1")}, data)
    before = b"data: " if name == "cohere-chat" else b""
    for own in (True, False):
        decoder, encoder = dialect.StreamDecoder(), dialect.StreamEncoder()
        opening = before + json.dumps(COHERE[3] if before else OLLAMA[3]).encode() + b"\n\n"
        for event in decoder.feed(opening + before + data + b"\n\n" + before + data + b"\n\n") + decoder.close():
            elsewhere = not own and type(event).__name__ == "Started"
            encoder.encode(msgspec.structs.replace(event, dialect="another") if elsewhere else event)


@each
@quick
@given(data=st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(name: str, data: bytes) -> None:
    all_decoders(name, data)


@each
@settings(quick, max_examples=200)
@given(data=st.data())
def test_mutated_bytes_raise_nothing_but_malformed(name: str, data: st.DataObject) -> None:
    seed = json.dumps(data.draw(st.sampled_from(BODIES[name]))).encode()
    start = data.draw(st.integers(0, len(seed)))
    end = data.draw(st.integers(start, min(len(seed), start + 20)))
    all_decoders(name, seed[:start] + data.draw(st.binary(max_size=4)) + seed[end:])


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in items for deeper in paths(item, (*path, key)))]


@each
def test_any_field_of_any_wrong_type_raises_nothing_but_malformed(name: str) -> None:
    for body in BODIES[name]:
        for path in paths(body):
            for value in VALUES:
                changed = json.loads(json.dumps(body))
                place = changed
                for key in path[:-1]:
                    place = place[key]
                if path:
                    place[path[-1]] = json.loads(value)
                all_decoders(name, json.dumps(changed if path else json.loads(value)).encode())


@each
def test_deep_nesting_is_malformed(name: str) -> None:
    all_decoders(name, b'{"messages":' + b"[" * 100_000)
    deep = b'{"a":' * 900 + b"1" + b"}" * 900
    all_decoders(
        name, b'{"messages":[{"role":"user","content":"x"}],"response_format":' + deep + b',"format":' + deep + b"}"
    )
