"""Converse under random input: what announces no loss survives, and nothing but `Malformed` is ever raised."""

import contextlib
import json
from typing import Any

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.join import unjoin
from understudy.canon import Answer, Choice, Ended, Part, Reasoning, Text, ToolCall, Usage
from understudy.canon.join import join
from understudy.dialects import bedrock_converse, openai_chat
from understudy.dialects.wire import Malformed

NAME = "bedrock-converse"
CLAUDE = "us.anthropic.claude-sonnet-4-5-20250929-v1:0"


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


words = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=12)
objects = st.dictionaries(words, words | st.integers(-9, 9), max_size=3).map(json.dumps)
parts_out = st.lists(
    st.builds(Text, words)
    | st.builds(ToolCall, st.from_regex(r"[a-z_]{1,9}", fullmatch=True), st.just("f"), objects)
    | st.builds(Reasoning, words, signature=st.just("c2ln"), origin=st.just(NAME + "/")),
    max_size=4,
)


@given(parts_out, st.sampled_from(["stop", "length", "tool_calls", "filtered"]))
def test_what_announces_no_loss_survives(parts: list[Part], finish: Any) -> None:
    answer = Answer("gemini", "", "", (Choice(0, tuple(parts), finish),), Usage(3, 4, 7))
    encoded, losses = bedrock_converse.encode_answer(answer)
    assert losses == ()
    back = bedrock_converse.decode_answer(encoded)
    encoder, decoder = bedrock_converse.StreamEncoder(), bedrock_converse.StreamDecoder()
    streamed = join(decoder.feed(b"".join(encoder.encode(event) for event in [*unjoin(answer), Ended()])))
    assert encoder.losses == []
    for found in (back, streamed):
        assert [plain(part) for part in found.choices[0].parts] == [plain(part) for part in parts]
        assert (found.choices[0].finish, found.usage) == (finish, answer.usage)


def plain(part: Part) -> Part:
    if isinstance(part, ToolCall):
        return msgspec.structs.replace(part, arguments=json.dumps(json.loads(part.arguments or "{}"), sort_keys=True))
    return part


WORDS = ["messages", "role", "content", "text", "toolUse", "input", "toolResult", "image", "source", "bytes"]
WORDS += ["document", "reasoningContent", "toolConfig", "tools", "output", "message"]
KEYS = st.sampled_from(WORDS)
VALUES = st.recursive(
    st.none() | st.integers() | st.sampled_from(["user", "assistant", ""]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.binary(max_size=100) | VALUES.map(body) | st.lists(st.dictionaries(KEYS, VALUES, max_size=3), max_size=3).map(
    lambda blocks: body({"messages": [{"role": "user", "content": blocks}]})))  # fmt: skip
def test_nothing_but_malformed_is_ever_raised(data: bytes) -> None:
    with contextlib.suppress(Malformed):
        bedrock_converse.decode_answer(data)
    with contextlib.suppress(Malformed):
        request = bedrock_converse.decode_request(data)
        openai_chat.encode_request(request)
        bedrock_converse.encode_request(msgspec.structs.replace(request, dialect="other", model=CLAUDE))
