"""What goes out comes back: canonical values, encoded and decoded, wherever no loss was announced. And fuzz."""

import json
from typing import Any

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.dialects import strategies
from tests.dialects.join import unjoin
from tests.dialects.recorded_anthropic_messages import turn_rejections
from tests.dialects.strategies import maybe, mutations, names, quick, small, urls, words, wrong_types
from understudy.canon import (
    Answer,
    CacheHint,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    File,
    Finished,
    Image,
    Inline,
    Message,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Stored,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
    Usage,
    Used,
)
from understudy.canon.join import join
from understudy.dialects import Malformed, openai_chat
from understudy.dialects import anthropic_messages as dialect

NAME = "anthropic-messages"

own = st.sampled_from([NAME, "another"])

objects = st.fixed_dictionaries(
    {"type": st.just("object"), "properties": st.just({}), "additionalProperties": st.just(False)},
    optional={"title": words},
)
arguments = st.dictionaries(words, words | small | st.booleans(), max_size=2).map(
    lambda value: json.dumps(value, separators=(",", ":"), ensure_ascii=False)
)
hints = maybe(st.builds(CacheHint, maybe(st.sampled_from([300, 3600]))))
pictures = st.builds(Inline, st.sampled_from(["aGk=", "AAAA"]), st.sampled_from(["image/png", "image/webp"]))
documents = st.builds(Inline, st.sampled_from(["aGk=", "AAAA"]), st.sampled_from(["application/pdf", "text/plain"]))
held = st.builds(Stored, names)

texts = st.builds(Text, words, cache=hints)
images = st.builds(Image, pictures | urls | held, cache=hints)
files = st.builds(File, documents | urls | held, st.none(), maybe(words), maybe(words), st.booleans(), hints)
kinds = st.sampled_from(["function", "hosted"])
calls = st.builds(ToolCall, names, names, arguments, kinds)
thoughts = st.builds(Reasoning, words, st.none(), names, origin=st.sampled_from(["", "anthropic/claude"]))
sealed = st.builds(lambda data: Reasoning(sealed=data, origin="anthropic/claude"), names)
results = st.builds(
    ToolResult, names, st.lists(texts | images, max_size=2).map(tuple), failed=st.booleans(), cache=hints
)

messages = st.one_of(
    st.builds(Message, st.just("user"), st.lists(texts | images | files, min_size=1, max_size=3).map(tuple)),
    st.builds(
        lambda thought, text, call: Message("assistant", (*thought, *text, *call)),
        st.lists(thoughts | sealed, max_size=2),
        st.lists(texts, min_size=1, max_size=2),
        st.lists(calls, max_size=2),
    ),
    st.builds(lambda found: Message("tool", tuple(found)), st.lists(results, min_size=1, max_size=2)),
)


@st.composite
def conversations(draw: st.DrawFn) -> tuple[Message, ...]:
    """A system prompt and turns that alternate, with results for the calls, mostly; sometimes anything."""
    if draw(st.integers(0, 4)) == 0:
        return tuple(draw(st.lists(messages, max_size=4)))
    out = [Message("system", (draw(texts),))] if draw(st.booleans()) else []
    for i in range(draw(st.integers(1, 2))):
        out.append(Message("user", tuple(draw(st.lists(texts | images | files, min_size=1, max_size=3)))))
        called = [ToolCall(f"c{i}{j}", draw(names), draw(arguments)) for j in range(draw(st.integers(0, 2)))]
        out.append(Message("assistant", (*draw(st.lists(thoughts, max_size=1)), draw(texts), *called)))
        if called:
            out.append(Message("tool", tuple(ToolResult(call.id, (draw(texts),)) for call in called)))
    return tuple(out)


tools = st.builds(Tool, names, st.just("function"), maybe(words), objects, maybe(st.booleans()), cache=hints)
requests = st.builds(
    Request,
    dialect=own,
    model=st.sampled_from(["m", "claude-3-7-sonnet", "claude-sonnet-4-5", "claude-opus-5"]),
    messages=conversations(),
    tools=st.lists(tools, max_size=2).map(tuple),
    tool_choice=maybe(st.builds(ToolChoice, st.sampled_from(["auto", "none", "required"]))),
    parallel_tool_calls=maybe(st.just(False)),
    sampling=st.builds(
        Sampling,
        temperature=maybe(st.floats(0, 1)),
        top_p=maybe(st.floats(0, 1)),
        top_k=maybe(small),
        max_tokens=st.integers(2000, 9000),
        stop=st.lists(words, max_size=2).map(tuple),
    ),
    response_format=maybe(st.builds(ResponseFormat, st.just("schema"), schema=objects)),
    reasoning=maybe(
        st.builds(ReasoningEffort, budget=st.integers(1024, 1900), enabled=st.just(True))
        | st.builds(ReasoningEffort, enabled=st.just(False))
    ),
    stream=st.booleans(),
    user=maybe(words),
    service_tier=maybe(st.just("auto")),
)

usages = st.builds(
    lambda fresh, output, read, write, thought: Usage(
        fresh + (read or 0) + (write or 0), output, None, read, write, thought
    ),
    small, small, maybe(small), maybe(small), maybe(small),
)  # fmt: skip
endings = st.sampled_from(
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("paused", "pause_turn"),
     ("refusal", "refusal")]
)  # fmt: skip
citations = st.builds(Citation, st.just("web_search_result_location"), words, maybe(words), maybe(words))
cited = st.builds(Text, words, st.lists(citations, max_size=2).map(tuple))


@st.composite
def answers(draw: st.DrawFn, streamed: bool = False) -> Answer:
    dialect_ = draw(own)
    functions = st.builds(ToolCall, names, names, arguments)
    shown = cited if dialect_ == NAME and not streamed else st.builds(Text, words)
    thought = st.builds(Reasoning, words, st.none(), names, origin=st.just("anthropic/claude"))
    parts = draw(st.lists((thought if streamed else thoughts) | sealed | shown | functions, max_size=4))
    finish, native = draw(endings)
    choice = Choice(0, tuple(parts), finish, native)
    return Answer(dialect_, draw(words), draw(words), (choice,), draw(usages), None, draw(maybe(st.just("standard"))))


def plain(value: Any) -> Any:
    """A value without what decoding knows besides."""
    return strategies.plain(value, "origin")


def told(request: Request) -> Any:
    """A request without what Anthropic has no two ways to say: turns of one role are one."""
    merged: list[tuple[str, list[Any]]] = []
    for message in request.messages:
        role = message.role
        if merged and merged[-1][0] == role:
            merged[-1][1].extend(message.parts)
        else:
            merged.append((role, list(message.parts)))
    settings_ = plain(msgspec.structs.replace(request, messages=(), tool_choice=None, parallel_tool_calls=None))
    choice = request.tool_choice if request.tools and request.tool_choice else ToolChoice("auto")
    forbidden = request.parallel_tool_calls is False and bool(request.tools)
    return settings_, choice.mode, forbidden, plain([part for _, parts in merged for part in parts])


@quick
@given(requests)
def test_a_request_without_losses_survives(request: Request) -> None:
    body, losses = dialect.encode_request(request)
    assume(not losses)
    again = dialect.decode_request(body)
    assert told(again) == told(request)


@quick
@given(requests)
def test_a_request_of_another_dialect_is_one_that_anthropic_takes(request: Request) -> None:
    body, losses = dialect.encode_request(msgspec.structs.replace(request, dialect="another"))
    assert turn_rejections(json.loads(body)) == []
    assert all(loss.field and loss.why for loss in losses)


@quick
@given(requests)
def test_a_request_of_its_own_comes_back_as_it_was(request: Request) -> None:
    wire, _ = dialect.encode_request(msgspec.structs.replace(request, dialect=NAME))
    body, losses = dialect.encode_request(dialect.decode_request(wire))
    assert (json.loads(body), losses) == (json.loads(wire), ())


@quick
@given(answers())
def test_an_answer_without_losses_survives(answer: Answer) -> None:
    body, losses = dialect.encode_answer(answer)
    assume(not losses)
    assert plain(dialect.decode_answer(body)) == plain(answer)


@quick
@given(answers(streamed=True))
def test_a_stream_without_losses_survives(answer: Answer) -> None:
    encoder, decoder = dialect.StreamEncoder(), dialect.StreamDecoder()
    wire = b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])
    assume(not encoder.losses)
    assert plain(join(decoder.feed(wire) + decoder.close())) == plain(answer)


pieces = st.sampled_from(["{", "}", '{"a":', "1}", "{}", " ", "text", '"'])
parts = st.sampled_from(
    [
        Text(""),
        Refusal(""),
        ToolCall("a", "f"),
        ToolCall("b", "g", kind="custom"),
        ToolCall("c", "h", kind="hosted"),
        Reasoning(),
        Reasoning(summary=""),
        Reasoning(sealed="s"),
        Image(Url("https://a")),
        Unknown("odd", {}),
    ]
)


@st.composite
def streams(draw: st.DrawFn) -> list[Event]:
    """Parts that grow in turns and end in any order, as no one dialect sends them."""
    out: list[Event] = [Started("another", "a", "m")]
    live: list[int] = []
    for i in range(draw(st.integers(0, 5))):
        out.append(PartStarted(0, i, draw(parts)))
        live.append(i)
        out += [Delta(0, draw(st.sampled_from(live)), draw(pieces)) for _ in range(draw(st.integers(0, 3)))]
        if draw(st.booleans()):
            out.append(PartEnded(0, live.pop(draw(st.integers(0, len(live) - 1)))))
    out += [PartEnded(0, i) for i in draw(st.permutations(live))]
    return [*out, Finished(0, "stop", "stop"), Used(Usage(1, 2)), Ended()]


@settings(quick, max_examples=300)
@given(streams())
def test_any_order_of_parts_gives_a_stream_that_reads_whole(events: list[Event]) -> None:
    encoder, decoder = dialect.StreamEncoder(), dialect.StreamDecoder()
    again = decoder.feed(b"".join(encoder.encode(event) for event in events)) + decoder.close()
    assert isinstance(again[-1], Ended)
    opened = None
    for event in again:
        if isinstance(event, PartStarted):
            assert opened is None
            opened = event.index
        elif isinstance(event, PartEnded):
            assert opened == event.index
            opened = None
    texts_in = "".join(text_of(events, i) for i, e in enumerate_parts(events) if isinstance(e, Text | Refusal))
    texts_out = "".join(text_of(again, i) for i, e in enumerate_parts(again) if isinstance(e, Text))
    assert texts_in == texts_out


def enumerate_parts(events: list[Event]) -> list[tuple[int, Any]]:
    return [(event.index, event.part) for event in events if isinstance(event, PartStarted)]


def text_of(events: list[Event], index: int) -> str:
    return "".join(event.text for event in events if isinstance(event, Delta) and event.index == index)


# --- fuzz ------------------------------------------------------------------------------------------------------------

REQUEST = {
    "model": "m",
    "max_tokens": 5,
    "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral", "ttl": "1h"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AA=="}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "x"}, "title": "t"},
                {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "a"}]}},
                {"type": "tool_result", "tool_use_id": "a", "content": [{"type": "text", "text": "1"}]},
                {"type": "search_result", "source": "u", "title": "t", "content": [{"type": "text", "text": "a"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "t", "signature": "understudy:eyJvcmlnaW4iOiJ4In0="},
                {"type": "redacted_thinking", "data": "d"},
                {"type": "text", "text": "a", "citations": [{"type": "char_location", "cited_text": "b"}]},
                {"type": "tool_use", "id": "a", "name": "f", "input": {"x": 1}},
            ],
        },
    ],
    "tools": [{"name": "f", "input_schema": {"type": "object"}}, {"type": "bash_20250124", "name": "bash"}],
    "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
    "thinking": {"type": "enabled", "budget_tokens": 5},
    "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {}}},
    "metadata": {"user_id": "u"},
    "stop_sequences": ["x"],
}
ANSWER = {
    "id": "a",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": REQUEST["messages"][1]["content"],  # type: ignore[index]  # a literal of mixed values, just above
    "stop_reason": "end_turn",
    "stop_sequence": None,
    "usage": {"input_tokens": 1, "output_tokens": 2, "output_tokens_details": {"thinking_tokens": 1}},
}
EVENTS: list[dict[str, Any]] = [
    {"type": "message_start", "message": ANSWER | {"content": [], "stop_reason": None}},
    {"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": "", "citations": []}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "a"}},
    {"type": "content_block_delta", "index": 0, "delta": {"type": "citations_delta", "citation": {"type": "x"}}},
    {"type": "content_block_stop", "index": 0},
    {"type": "content_block_start", "index": 1, "content_block": {"type": "tool_use", "id": "a", "name": "f"}},
    {"type": "content_block_delta", "index": 1, "delta": {"type": "input_json_delta", "partial_json": "{"}},
    {"type": "message_delta", "delta": {"stop_reason": "end_turn"}, "usage": {"output_tokens": 1}},
    {"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "c"}}},
    {"type": "message_stop"},
]
BODIES = [json.dumps(body).encode() for body in (REQUEST, ANSWER, *EVENTS)]
STREAM = b"".join(b"event: x\ndata: %b\n\n" % body for body in BODIES[2:])
HEADERS = {"date": "Sun, 22 Nov 2026 06:00:00 GMT"}


def all_decoders(data: bytes) -> None:
    for decode in (dialect.decode_request, dialect.decode_answer):
        try:
            value: Any = decode(data)
        except Malformed as error:
            assert error.field  # noqa: PT017  every mistake is named
            continue
        both = [dialect, openai_chat]
        for one in both:
            if isinstance(value, Request):
                one.encode_request(value)
                one.encode_request(msgspec.structs.replace(value, dialect="another"))
            else:
                one.encode_answer(value)
                one.encode_answer(msgspec.structs.replace(value, dialect="another"))
    text = data.decode("latin-1")
    for headers in ({}, HEADERS | {"retry-after": text}, HEADERS | {"anthropic-ratelimit-tokens-reset": text}):
        dialect.encode_fault(dialect.decode_fault(429, headers, data))
    start = b"data: %b\n\n" % BODIES[2]
    for wire in (data, start + b"data: " + data + b"\n\ndata: " + data):
        decoder = dialect.StreamDecoder()
        events = decoder.feed(wire) + decoder.close()
        for encoder in (dialect.StreamEncoder(), openai_chat.StreamEncoder()):
            for event in events:
                encoder.encode(event)
        encoder = dialect.StreamEncoder()
        for event in events:
            encoder.encode(msgspec.structs.replace(event, dialect="x") if isinstance(event, Started) else event)


@quick
@given(st.binary(max_size=200))
def test_random_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@settings(quick, max_examples=300)
@given(mutations([*BODIES, STREAM]))
def test_mutated_bytes_raise_nothing_but_malformed(data: bytes) -> None:
    all_decoders(data)


@pytest.mark.parametrize("body", BODIES, ids=["request", "answer", *(event["type"] for event in EVENTS)])
def test_any_field_of_any_wrong_type_raises_nothing_but_malformed(body: bytes) -> None:
    for data in wrong_types(json.loads(body)):
        all_decoders(data)
