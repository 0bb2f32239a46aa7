"""The usual cases have a shorter way through some dialects. Nobody but a clock may be able to tell which was taken."""

import gzip
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.strategies import mutations, paths, quick, wrong_types
from understudy import dialects
from understudy.canon import Answer, Part, Text
from understudy.dialects.openai_chat import plain
from understudy.dialects.openai_chat.answer import decode_answer, decode_any
from understudy.dialects.wire import Malformed

MATERIAL = Path(__file__).parents[2].parent / "shared" / "material" / "exchanges.jsonl.gz"

USAGE = {"prompt_tokens": 19, "completion_tokens": 40, "total_tokens": 59}
DETAILED = USAGE | {
    "prompt_tokens_details": {"cached_tokens": 0, "audio_tokens": 0, "cache_write_tokens": 3},
    "completion_tokens_details": {
        "reasoning_tokens": 7,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 1,
        "rejected_prediction_tokens": 2,
    },
}
HEAD = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1760000000, "model": "gpt-4.1"}
CALLS = [
    {"id": "call_1", "type": "function", "function": {"name": "find", "arguments": '{"a": 1}'}},
    {"id": "call_2", "type": "function", "function": {"name": "", "arguments": ""}},
]


def choice(message: dict[str, Any], finish: str = "stop", **more: Any) -> dict[str, Any]:
    return {"index": 0, "message": {"role": "assistant", **message}, **more, "finish_reason": finish}


USUAL: dict[str, dict[str, Any]] = {
    "bare": HEAD | {"choices": [choice({"content": "Hello!"})]},
    "openai": HEAD
    | {
        "choices": [choice({"content": "Hello!", "refusal": None, "annotations": []}, logprobs=None)],
        "usage": DETAILED,
        "service_tier": "default",
        "system_fingerprint": "fp_1",
    },
    "vllm": HEAD
    | {
        "choices": [choice({"content": "Hello!", "refusal": None, "annotations": [], "tool_calls": []}, logprobs=None)],
        "usage": USAGE | {"prompt_tokens_details": None, "completion_tokens_details": None},
        "service_tier": None,
        "system_fingerprint": None,
    },
    "calls": HEAD
    | {"choices": [choice({"content": None, "tool_calls": CALLS, "refusal": None}, "tool_calls")], "usage": USAGE},
    "words and calls": HEAD | {"choices": [choice({"content": "Let me see.", "tool_calls": CALLS}, "length")]},
    "nothing": HEAD | {"choices": [choice({"content": "", "tool_calls": None}, "content_filter")]},
    "two": HEAD | {"choices": [choice({"content": "a"}), choice({"content": "b"}) | {"index": 7}]},
}
BODIES = [json.dumps(body).encode() for body in USUAL.values()]


def outcome(decode: Any, body: bytes) -> bytes:
    """What comes of `body`, so that 1, 1.0 and true differ and the order of notes does not matter."""
    try:
        answer: Answer = decode(body)
    except Malformed as error:
        return str(error).encode()
    return msgspec.json.encode(answer, order="sorted")


@pytest.mark.parametrize("body", BODIES, ids=list(USUAL))
def test_the_usual_answers_take_the_short_way(body: bytes) -> None:
    assert plain.decode(body) is not None
    assert outcome(decode_answer, body) == outcome(decode_any, body)
    assert decode_answer(body) == decode_any(body)


@pytest.mark.parametrize("body", USUAL.values(), ids=list(USUAL))
def test_an_answer_is_the_same_both_ways_whatever_one_field_holds(body: dict[str, Any]) -> None:
    short = 0
    for changed in wrong_types(body):
        assert outcome(decode_answer, changed) == outcome(decode_any, changed), changed
        short += plain.decode(changed) is not None
    assert short > 0


@pytest.mark.parametrize("body", USUAL.values(), ids=list(USUAL))
@pytest.mark.parametrize("value", [None, "x", 1, {}, {"~as": 1}], ids=str)
def test_an_answer_is_the_same_both_ways_with_a_field_more_or_less_or_twice(body: dict[str, Any], value: Any) -> None:
    for path in paths(body):
        changed = json.loads(json.dumps(body))
        inner = changed
        for key in path:
            inner = inner[key]
        if isinstance(inner, dict):
            inner["unknown"] = value
        else:
            outer = changed
            for key in path[:-1]:
                outer = outer[key]
            del outer[path[-1]]
        text = json.dumps(changed).encode()
        assert outcome(decode_answer, text) == outcome(decode_any, text), text
    for twice in (b'"index": 5, "index": ', b'"index": "x", "index": '):
        text = json.dumps(body).encode().replace(b'"index": ', twice)
        assert outcome(decode_answer, text) == outcome(decode_any, text), text


@pytest.mark.parametrize("body", USUAL.values(), ids=list(USUAL))
def test_the_figures_alone_are_those_of_the_whole_answer(body: dict[str, Any]) -> None:
    for changed in [json.dumps(body).encode(), *wrong_types(body)]:
        try:
            answer = decode_any(changed)
        except Malformed:
            continue  # it may have figures all the same
        expected = (answer.usage, answer.model, answer.service_tier)
        assert dialects.answer_figures("openai-chat", changed) == expected, changed


def test_figures_that_are_not_written_in_the_usual_way_are_read_the_long_way() -> None:
    body = USUAL["bare"] | {"usage": USAGE | {"cost": 0.25}}
    usage, model, tier = dialects.answer_figures("openai-chat", json.dumps(body).encode())
    assert usage is not None
    assert (model, tier) == ("gpt-4.1", None)
    assert (usage.input, usage.extra["cost"]) == (19, 0.25)
    with pytest.raises(Malformed):
        dialects.answer_figures("openai-chat", b'{"error": {"message": "no"}}')
    told = b'{"model": "m", "message": {"role": "assistant", "content": "x"}, "eval_count": 3}'
    usage, model, _ = dialects.answer_figures("ollama", told)
    assert usage is not None
    assert (usage.output, model) == (3, "m")


@quick
@given(mutations(BODIES))
def test_a_broken_answer_is_the_same_both_ways(body: bytes) -> None:
    assert outcome(decode_answer, body) == outcome(decode_any, body)


def test_recorded_answers_are_the_same_both_ways() -> None:
    if not MATERIAL.exists():
        pytest.skip("recorded traffic is not here")
    with gzip.open(MATERIAL) as lines:
        rows = [json.loads(line) for line in lines if b'"openai-chat"' in line]
    bodies = [json.dumps(row["body"]).encode() for row in rows if row["wire"] == "json"]
    assert bodies
    for body in bodies:
        assert outcome(decode_answer, body) == outcome(decode_any, body), body
    assert any(plain.decode(body) is not None for body in bodies)


# --- requests --------------------------------------------------------------------------------------------------------

ROLES = st.sampled_from(["user", "assistant", "user", "assistant", "system", "developer", "tool"])
CONTENTS = st.sampled_from(["hi", "hello", "", None, [], 5, [{"type": "text", "text": "hi"}]])
TURNS = st.lists(st.fixed_dictionaries({"role": ROLES, "content": CONTENTS}), max_size=3)
COMMON = {
    "model": st.sampled_from(["m", "n", ""]),
    "temperature": st.sampled_from([1, 0.5]),
    "top_p": st.sampled_from([1, 0.1]),
    "stream": st.sampled_from([True, True, False]),
}
FIELDS = {
    "anthropic-messages": COMMON
    | {
        "max_tokens": st.sampled_from([5, 6]),
        "top_k": st.sampled_from([5, 6]),
        "stop_sequences": st.sampled_from([["a"], ["a", "b"], []]),
        "system": st.sampled_from(["be brief", "", [{"type": "text", "text": "be brief"}]]),
        "service_tier": st.just("auto"),
    },
    "openai-responses": COMMON
    | {
        "max_output_tokens": st.sampled_from([5, 6]),
        "store": st.sampled_from([True, False]),
        "instructions": st.sampled_from(["be brief", ""]),
        "service_tier": st.just("auto"),
    },
}
MARK = "nothing_said"
"""A field without meaning, which sends a request, or a message, the long way."""


def unmarked(value: Any) -> Any:
    """Without the marks, and without notes in which there is nothing else."""
    if isinstance(value, dict):
        kept = {key: unmarked(item) for key, item in value.items() if key != MARK}
        return {key: item for key, item in kept.items() if item != {} or value[key] == {}}
    return [unmarked(item) for item in value] if isinstance(value, list | tuple) else value


def decoded(name: str, body: dict[str, Any]) -> Any:
    try:
        request = dialects.get(name).decode_request(json.dumps(body).encode())
    except Malformed:
        return Malformed  # which of two mistakes is told may differ
    return unmarked(msgspec.to_builtins(request))


@pytest.mark.parametrize(("name", "key"), [("anthropic-messages", "messages"), ("openai-responses", "input")])
def test_a_request_is_the_same_both_ways(name: str, key: str) -> None:
    fields = FIELDS[name]
    wrong = {field: st.sampled_from(["x", True, 5.5, [1], None]) for field in fields}

    @quick
    @given(TURNS, st.fixed_dictionaries({}, optional=fields), st.just({}) | st.fixed_dictionaries({}, optional=wrong))
    def check(turns: list[dict[str, Any]], said: dict[str, Any], mistakes: dict[str, Any]) -> None:
        for body in ({key: turns, **said, **mistakes}, {key: "hi", **said}, {**said}):
            assert repr(decoded(name, body)) == repr(decoded(name, body | {MARK: None}))
        body = {key: turns, **said}
        assert decoded(name, body) == decoded(name, body | {key: [turn | {MARK: None} for turn in turns]})

    check()


@pytest.mark.parametrize("name", ["anthropic-messages", "openai-responses"])
def test_a_lone_text_goes_to_a_chat_the_same_both_ways(name: str) -> None:
    chat = dialects.get("openai-chat")
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    body = {"messages" if name == "anthropic-messages" else "input": turns, "model": "m"}
    request = dialects.get(name).decode_request(json.dumps(body).encode())
    noted = tuple(
        msgspec.structs.replace(message, parts=tuple(_noted(part) for part in message.parts))
        for message in request.messages
    )
    short, losses = chat.encode_request(request)
    assert json.loads(short)["messages"] == turns
    assert (short, losses) == chat.encode_request(msgspec.structs.replace(request, messages=noted))


def _noted(part: Part) -> Part:
    assert isinstance(part, Text)
    return Text(part.text, extra={"~": {MARK: None}})
