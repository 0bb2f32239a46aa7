"""What goes out comes back: canonical values, encoded and decoded, wherever no loss was announced. And fuzz."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dialects.join import unjoin
from tests.dialects.strategies import maybe, mutations, names, objects, quick, small, urls, words, wrong_types
from understudy import dialects
from understudy.canon import (
    Answer,
    Caching,
    Choice,
    Citation,
    Ended,
    File,
    Image,
    Inline,
    Message,
    Reasoning,
    ReasoningEffort,
    Refusal,
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
from understudy.dialects import openai_responses

NAME = openai_responses.NAME

own = st.sampled_from([NAME, "another"])
inline = st.builds(Inline, st.sampled_from(["aGk=", "AAAA"]), st.sampled_from(["image/png", "application/pdf"]))

texts = st.builds(Text, words)
images = st.builds(Image, inline | urls, st.sampled_from(["low", "high"]))
files = st.builds(File, inline | urls, words)
calls = st.builds(ToolCall, names, names, st.text(max_size=8), st.sampled_from(["function", "custom"]))
thoughts = st.builds(Reasoning, text=words) | st.builds(Reasoning, summary=words)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """Turns that do not touch: two of an assistant's would be one here."""
    out = []
    for _ in range(draw(st.integers(1, 3))):
        asked = draw(st.lists(texts | images | files, min_size=1, max_size=3))
        out.append(Message(draw(st.sampled_from(["system", "developer", "user"])), tuple(asked)))
        turn = draw(st.lists(texts | calls, max_size=3))
        if turn:
            out.append(Message("assistant", tuple(turn)))
        for call in turn:
            if isinstance(call, ToolCall):
                results = draw(st.lists(texts | images, max_size=2))
                out.append(Message("tool", (ToolResult(call.id, tuple(results)),)))
    return tuple(out)


functions = st.builds(Tool, names, st.just("function"), maybe(words), objects, st.booleans())
tools = functions | st.builds(Tool, names, st.just("custom"), maybe(words))
formats = st.one_of(
    st.builds(ResponseFormat, st.sampled_from(["text", "json"])),
    st.builds(ResponseFormat, st.just("schema"), names, maybe(words), objects, maybe(st.booleans())),
)
requests = st.builds(
    Request,
    dialect=own,
    model=words,
    messages=conversations(),
    tools=st.lists(tools, max_size=2).map(tuple),
    tool_choice=maybe(st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))),
    parallel_tool_calls=maybe(st.booleans()),
    sampling=st.builds(
        Sampling,
        temperature=maybe(st.floats(0, 2)),
        top_p=maybe(st.floats(0, 1)),
        max_tokens=maybe(st.integers(16, 10**6)),
        seed=maybe(small),
        frequency_penalty=maybe(st.floats(0, 1)),
    ),
    response_format=maybe(formats),
    reasoning=maybe(st.builds(ReasoningEffort, effort=st.sampled_from(["low", "high"]))),
    verbosity=maybe(st.just("low")),
    logprobs=maybe(st.integers(0, 20)),
    stream=st.booleans(),
    metadata=maybe(st.dictionaries(words, words, min_size=1, max_size=2)),
    user=maybe(words),
    caching=maybe(st.builds(Caching, names, maybe(st.just("24h")))),
    service_tier=maybe(st.sampled_from(["auto", "flex"])),
    store=st.booleans(),
)

logprobs = st.builds(TokenLogprob, words, st.floats(-10, 0), st.just((1, 2)), st.just(()))
citations = st.builds(Citation, st.just("url"), words, words, st.none(), small, small)
usages = st.builds(Usage, small, small, small, small, small, small, maybe(small), maybe(small), estimated=st.booleans())
endings = st.sampled_from(
    [("stop", "end_turn"), ("length", "MAX_TOKENS"), ("length", "max_output_tokens"), ("filtered", "SAFETY"),
     ("unknown", "odd")]
)  # fmt: skip


@st.composite
def answers(draw: st.DrawFn, streamed: bool = False) -> Answer:
    some = st.lists(citations, max_size=2).map(tuple), st.lists(logprobs, max_size=2).map(tuple)
    said = st.builds(Text, words) if streamed else st.builds(Text, words, *some)
    made = st.builds(Image, st.builds(Inline, st.just("AAAA"), st.sampled_from(["image/png", "image/webp"])))
    parts = draw(st.lists(said | thoughts | st.builds(Refusal, words) | calls | made, max_size=5))
    finish, native = draw(endings)
    if finish == "stop" and any(isinstance(part, ToolCall) for part in parts):
        finish, native = "tool_calls", "tool_use"
    choice = Choice(0, tuple(parts), finish, native)
    tier, usage = draw(st.sampled_from(["default", "flex"])), draw(maybe(usages))
    return Answer(draw(own), draw(words), draw(words), (choice,), usage, draw(small), tier)


def plain(value: Any) -> Any:
    """Builtins without notes of spelling, ids of our own making and the dialect's name."""
    if isinstance(value, msgspec.Struct):
        return plain(msgspec.to_builtins(value))
    if isinstance(value, dict):
        kept = {key: plain(item) for key, item in value.items() if not key.startswith("~") and key != "dialect"}
        if kept.get("type") == "reasoning":
            kept.pop("id", None)
        kept.pop("output_format", None)
        return {key: item for key, item in kept.items() if item != {} or not key.endswith("extra")}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


@quick
@given(requests)
def test_a_request_without_losses_survives(request: Request) -> None:
    body, losses = openai_responses.encode_request(request)
    assume(not losses)
    assert plain(openai_responses.decode_request(body)) == plain(request)


@quick
@given(answers())
def test_an_answer_without_losses_survives(answer: Answer) -> None:
    body, losses = openai_responses.encode_answer(answer)
    assume(not losses)
    assert plain(openai_responses.decode_answer(body)) == plain(answer)


@quick
@given(answers(streamed=True))
def test_a_stream_without_losses_survives(answer: Answer) -> None:
    encoder, decoder = openai_responses.StreamEncoder(), openai_responses.StreamDecoder()
    wire = b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])
    assume(not encoder.losses)
    events = decoder.feed(wire) + decoder.close()
    assert plain(join(events)) == plain(answer)


MESSAGE = {
    "type": "message",
    "id": "m",
    "role": "assistant",
    "status": "completed",
    "content": [
        {
            "type": "output_text",
            "text": "hi",
            "annotations": [{"type": "url_citation", "url": "u", "start_index": 0}],
            "logprobs": [{"token": "h", "logprob": -1, "bytes": [1], "top_logprobs": []}],
        },
        {"type": "refusal", "refusal": "no"},
    ],
}
OUTPUT = [
    {"type": "reasoning", "id": "r", "summary": [{"type": "summary_text", "text": "t"}], "encrypted_content": "g"},
    MESSAGE,
    {"type": "function_call", "id": "f", "call_id": "c", "name": "n", "arguments": "{}"},
    {"type": "image_generation_call", "id": "i", "result": "AA", "output_format": "png"},
]
REQUEST = {
    "model": "m",
    "instructions": "s",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "hi", "prompt_cache_breakpoint": {"mode": "explicit"}},
                {"type": "input_image", "image_url": "data:image/png;base64,AA==", "detail": "low"},
                {"type": "input_file", "file_id": "f", "filename": "n"},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            ],
        },
        *OUTPUT,
        {"type": "function_call_output", "call_id": "c", "output": [{"type": "input_text", "text": "1"}]},
        {"type": "web_search_call", "id": "w", "action": {}},
    ],
    "tools": [
        {"type": "function", "name": "f", "function": {"name": "f"}},
        {"type": "custom", "name": "c", "format": {"type": "grammar", "syntax": "lark"}},
    ],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "f"}]},
    "text": {"format": {"type": "json_schema", "name": "n", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
}
ANSWER = {
    "id": "a",
    "object": "response",
    "created_at": 1,
    "status": "incomplete",
    "incomplete_details": {"reason": "max_output_tokens"},
    "model": "m",
    "output": OUTPUT,
    "usage": {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 0}, "output_tokens": 2},
}
PLACE = {"output_index": 0, "content_index": 0, "item_id": "m"}
STREAM: list[dict[str, Any]] = [
    {"type": "response.created", "response": {**ANSWER, "output": []}},
    {"type": "response.output_item.added", "output_index": 0, "item": {**MESSAGE, "content": []}},
    {"type": "response.content_part.added", **PLACE, "part": {"type": "output_text", "text": ""}},
    {"type": "response.output_text.delta", **PLACE, "delta": "h", "logprobs": []},
    {"type": "response.output_text.annotation.added", **PLACE, "annotation": {"type": "url_citation", "url": "u"}},
    {"type": "response.content_part.done", **PLACE, "part": MESSAGE["content"][0]},  # type: ignore[index]  # a list
    {"type": "response.output_item.done", "output_index": 0, "item": MESSAGE},
    {"type": "response.reasoning_summary_part.added", "output_index": 1, "summary_index": 0, "part": {}},
    {"type": "response.reasoning_summary_text.delta", "output_index": 1, "summary_index": 0, "delta": "t"},
    {"type": "response.custom_tool_call_input.delta", "output_index": 2, "delta": "t"},
    {"type": "response.moon", "output_index": 3},
    {"type": "response.completed", "response": ANSWER},
    {"type": "error", "error": {"message": "x", "code": "c"}, "code": 1},
]
BODIES = [json.dumps(body).encode() for body in (REQUEST, ANSWER)]
WIRE = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in STREAM)
VALUES = ["null", "true", "1", "-1e3", "1e300", '""', '"x"', "[]", "{}", "[null]", '[{"type":1}]', '{"type":"text"}']


def all_decoders(data: bytes) -> None:
    for decode in (openai_responses.decode_request, openai_responses.decode_answer):
        try:
            value = decode(data)
        except dialects.Malformed as error:
            assert error.field  # noqa: PT017  every mistake is named
        else:
            if isinstance(value, Request):
                openai_responses.encode_request(value)
                openai_responses.encode_request(msgspec.structs.replace(value, dialect="another"))
            else:
                openai_responses.encode_answer(value)
                openai_responses.encode_answer(msgspec.structs.replace(value, dialect="another"))
    openai_responses.decode_fault(429, {}, data)
    read_and_write(data)
    read_and_write(b"data: " + data + b"\n\n")


def read_and_write(wire: bytes) -> None:
    decoder, encoder = openai_responses.StreamDecoder(), openai_responses.StreamEncoder()
    for event in decoder.feed(wire) + decoder.close():
        encoder.encode(event)


@quick
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@settings(quick, max_examples=300)
@given(mutations([*BODIES, WIRE]))
def test_mutated_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@pytest.mark.parametrize("body", [REQUEST, ANSWER], ids=["request", "answer"])
def test_any_field_of_any_wrong_type_raises_nothing_but_malformed(body: dict[str, Any]) -> None:
    for data in wrong_types(body, VALUES):
        all_decoders(data)


@pytest.mark.parametrize("place", range(len(STREAM)), ids=[event["type"] for event in STREAM])
def test_any_field_of_an_event_may_be_of_any_type(place: int) -> None:
    before = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in STREAM[:place])
    after = b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in STREAM[place + 1 :])
    for event in wrong_types(STREAM[place], VALUES[:8]):
        read_and_write(before + b"data: " + event + b"\n\n" + after)
