"""What goes out comes back: canonical values, encoded and decoded, wherever no loss was announced. And fuzz."""

import json

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dialects.join import unjoin
from tests.dialects.strategies import maybe, mutations, names, objects, plain, quick, small, urls, words, wrong_types
from understudy import dialects
from understudy.canon import (
    Answer,
    Audio,
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
    Stored,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Usage,
)
from understudy.canon.join import join

DIALECT = dialects.get("openai-chat")
own = st.sampled_from(["openai-chat", "another"])
inline = st.builds(Inline, st.sampled_from(["aGk=", "AAAA"]), st.sampled_from(["image/png", "application/pdf"]))

texts = st.builds(Text, words)
images = st.builds(Image, inline | urls, maybe(st.sampled_from(["low", "high"])))
files = st.builds(File, inline | st.builds(Stored, names), maybe(words))
sounds = st.builds(lambda data: Audio(Inline(data, "audio/wav"), "wav"), st.just("UklG"))
calls = st.builds(ToolCall, names, names, st.text(max_size=8), st.sampled_from(["function", "custom"]), maybe(names))
thoughts = st.builds(Reasoning, words, st.none(), maybe(names), st.none(), maybe(names), st.sampled_from(["", "x/y"]))
sealed = st.builds(lambda data: Reasoning(sealed=data), names)

messages = st.one_of(
    st.builds(Message, st.sampled_from(["system", "developer"]), st.tuples(texts), maybe(words)),
    st.builds(Message, st.just("user"), st.lists(texts | images | files | sounds, max_size=3).map(tuple), maybe(words)),
    st.builds(
        lambda thought, text, call: Message("assistant", (*thought, *text, *call)),
        st.lists(thoughts | sealed, max_size=2),
        st.lists(texts, max_size=2),
        st.lists(calls, max_size=2),
    ),
    st.builds(lambda i, parts: Message("tool", (ToolResult(i, tuple(parts)),)), names, st.lists(texts, max_size=2)),
)
tools = st.builds(Tool, names, st.sampled_from(["function", "custom"]), maybe(words), st.none(), st.none())
functions = st.builds(Tool, names, st.just("function"), maybe(words), maybe(objects), maybe(st.booleans()))
settings_of_sampling = st.builds(
    Sampling,
    temperature=maybe(st.floats(0, 2)),
    top_p=maybe(st.floats(0, 1)),
    top_k=maybe(small),
    seed=maybe(small),
    logit_bias=maybe(st.dictionaries(names, st.integers(-100, 100), min_size=1, max_size=2)),
    max_tokens=maybe(small),
    stop=st.lists(words, max_size=2).map(tuple),
)
formats = st.one_of(
    st.builds(ResponseFormat, st.sampled_from(["text", "json"])),
    st.builds(ResponseFormat, st.just("schema"), names, maybe(words), objects, maybe(st.booleans())),
)
requests = st.builds(
    Request,
    dialect=own,
    model=words,
    messages=st.lists(messages, min_size=1, max_size=4).map(tuple),
    tools=st.lists(tools | functions, max_size=2).map(tuple),
    tool_choice=maybe(st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))),
    parallel_tool_calls=maybe(st.booleans()),
    sampling=settings_of_sampling,
    response_format=maybe(formats),
    reasoning=maybe(st.builds(ReasoningEffort, effort=st.sampled_from(["low", "high"]))),
    verbosity=maybe(st.just("low")),
    logprobs=maybe(st.integers(0, 20)),
    choices=maybe(st.integers(1, 3)),
    modalities=st.lists(st.sampled_from(["text", "audio"]), max_size=2).map(tuple),
    stream=st.booleans(),
    include_usage=maybe(st.booleans()),
    metadata=maybe(st.dictionaries(words, words, min_size=1, max_size=2)),
    user=maybe(words),
    caching=maybe(st.builds(Caching, names, st.none())),
    service_tier=maybe(st.sampled_from(["auto", "flex"])),
    store=maybe(st.booleans()),
)

logprobs = st.builds(TokenLogprob, words, st.floats(-10, 0), maybe(st.just((1, 2))), maybe(st.just(())))
citations = st.builds(Citation, st.just("url"), words, maybe(words), maybe(words), maybe(small), maybe(small))
usages = st.builds(
    Usage, small, small, small, maybe(small), maybe(small), maybe(small), maybe(small), estimated=st.booleans()
)
endings = st.sampled_from(
    [
        ("stop", "stop"),
        ("length", "MAX_TOKENS"),
        ("tool_calls", "tool_calls"),
        ("filtered", "SAFETY"),
        ("unknown", "odd"),
    ]
)


@st.composite
def answers(draw: st.DrawFn, streamed: bool = False) -> Answer:
    choices = []
    for index in range(draw(st.integers(1, 2))):
        text = (
            st.builds(Text, words)
            if streamed
            else st.builds(
                Text, words, st.lists(citations, max_size=2).map(tuple), st.lists(logprobs, max_size=2).map(tuple)
            )
        )
        parts = draw(
            st.tuples(
                st.lists(thoughts | sealed, max_size=2),
                st.lists(text, max_size=2),
                st.lists(st.builds(Refusal, words), max_size=1),
                st.lists(images, max_size=1),
                st.lists(calls, max_size=2),
            )
        )
        finish, native = draw(endings)
        choices.append(Choice(index, tuple(part for kind in parts for part in kind), finish, native))
    tier, usage = draw(maybe(st.just("default"))), draw(maybe(usages))
    return Answer(draw(own), draw(words), draw(words), tuple(choices), usage, draw(maybe(small)), tier)


@quick
@given(requests)
def test_a_request_without_losses_survives(request: Request) -> None:
    try:
        body, losses = DIALECT.encode_request(request)
    except dialects.Malformed:  # there was nothing that could be said
        return
    assume(not losses)
    assert plain(DIALECT.decode_request(body)) == plain(request)


@quick
@given(answers())
def test_an_answer_without_losses_survives(answer: Answer) -> None:
    body, losses = DIALECT.encode_answer(answer)
    assume(not losses)
    assert plain(DIALECT.decode_answer(body)) == plain(answer)


@quick
@given(answers(streamed=True))
def test_a_stream_without_losses_survives(answer: Answer) -> None:
    encoder, decoder = DIALECT.StreamEncoder(), DIALECT.StreamDecoder()
    wire = b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])
    assume(not encoder.losses)
    assert plain(join(decoder.feed(wire) + decoder.close())) == plain(answer)


REQUEST = {
    "model": "m",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "hi", "cache_control": {"type": "ephemeral"}},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}},
                {"type": "file", "file": {"file_id": "f"}},
                {"type": "input_audio", "input_audio": {"data": "AA", "format": "wav"}},
            ],
        },
        {
            "role": "assistant",
            "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            "reasoning_details": [{"type": "reasoning.text", "text": "t"}],
        },
        {"role": "tool", "tool_call_id": "a", "content": "1"},
    ],
    "tools": [{"type": "function", "function": {"name": "f"}}],
    "tool_choice": {"type": "function", "function": {"name": "f"}},
    "stop": ["x"],
    "logprobs": True,
    "top_logprobs": 2,
    "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}}},
    "stream_options": {"include_usage": True},
    "thinking": {"type": "enabled", "budget_tokens": 5},
}
TOKEN = {"token": "h", "logprob": -1, "bytes": [1], "top_logprobs": []}
ANSWER = {
    "id": "a",
    "object": "chat.completion",
    "created": 1,
    "model": "m",
    "choices": [
        {
            "index": 0,
            "message": {
                "role": "assistant",
                "content": "hi",
                "annotations": [{"type": "url_citation", "url_citation": {"url": "u"}}],
                "audio": {"id": "x", "data": "AA"},
                "function_call": {"name": "f", "arguments": {}},
            },
            "logprobs": {"content": [TOKEN]},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 0}},
}
CHUNK = {
    "id": "c",
    "choices": [
        {
            "index": 0,
            "delta": {
                "content": "a",
                "reasoning": "b",
                "tool_calls": [{"index": 0, "id": "i", "function": {"name": "n", "arguments": "{}"}}],
                "reasoning_details": [{"type": "reasoning.text", "text": "x", "index": 0}],
                "audio": {"id": "s"},
                "images": [{"type": "image_url", "image_url": {"url": "u"}}],
                "annotations": [],
                "function_call": {"name": "f"},
            },
            "logprobs": {"content": [TOKEN]},
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 1},
}
ERROR = {
    "error": {"message": {"error": "x"}, "type": "t", "param": None, "code": "c", "metadata": {"raw": "{}"}},
    "detail": [{"loc": [1]}],
}
BODIES = [json.dumps(body).encode() for body in (REQUEST, ANSWER, CHUNK, ERROR)]
STREAM = b"data: " + BODIES[2] + b"\n\nevent: error\ndata: " + BODIES[3] + b"\n\ndata: [DONE]\n\n"
SEEDS = [*BODIES, STREAM]


def all_decoders(data: bytes) -> None:
    for decode in (DIALECT.decode_request, DIALECT.decode_answer):
        try:
            decode(data)
        except dialects.Malformed as error:
            assert error.field  # noqa: PT017  every mistake is named
    for headers in ({}, {"retry-after": data.decode("latin-1"), "date": "Sun, 22 Nov 2026 06:00:00 GMT"}):
        DIALECT.decode_fault(429, headers, data)
    decoder = DIALECT.StreamDecoder()
    events = decoder.feed(data) + decoder.feed(b"\n\n" + b"data: " + data + b"\n\n") + decoder.close()
    encoder = DIALECT.StreamEncoder()
    for event in events:
        encoder.encode(event)


@quick
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@settings(quick, max_examples=400)
@given(mutations(SEEDS))
def test_mutated_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@pytest.mark.parametrize("body", BODIES, ids=["request", "answer", "chunk", "error"])
def test_any_field_of_any_wrong_type_raises_nothing_but_malformed(body: bytes) -> None:
    for data in wrong_types(json.loads(body)):
        all_decoders(data)
