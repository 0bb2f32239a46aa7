"""Legacy completions: prompts, answers, what is lost on the way to and from other dialects, recorded traffic."""

import contextlib
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dialects.test_recorded import differences
from understudy.canon import (
    Answer,
    Caching,
    Choice,
    Citation,
    Delta,
    Ended,
    Event,
    Failed,
    Finished,
    Image,
    Loss,
    Message,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Started,
    Text,
    TokenLogprob,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Unknown,
    Url,
)
from understudy.canon.join import join
from understudy.dialects import openai_chat, openai_completions
from understudy.dialects.openai_completions.request import DEFAULT_MAX_TOKENS
from understudy.dialects.wire import Malformed

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "exchanges.jsonl.gz"
NAME = "openai-completions"
LOGPROBS = {
    "tokens": ["A", " b"],
    "token_logprobs": [-0.5, -1.25],
    "top_logprobs": [{"A": -0.5, "B": -2.0}, {" b": -1.25}],
    "text_offset": [17, 18],
}


def body(value: Any) -> bytes:
    return json.dumps(value).encode()


def again(value: Any) -> Any:
    encoded, losses = openai_completions.encode_request(openai_completions.decode_request(body(value)))
    assert losses == ()
    return json.loads(encoded)


def foreign(*messages: Message, **fields: Any) -> tuple[Any, list[Loss]]:
    request = Request("openai-chat", "m", messages, **fields)
    encoded, losses = openai_completions.encode_request(request)
    return json.loads(encoded), list(losses)


def user(*parts: Part) -> Message:
    return Message("user", parts)


# --- requests --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("prompt", ["", "Hi", ["Hi"], ["a", "b"], [1, 2], [[1, 2], [3]]])
def test_every_form_of_prompt_comes_back(prompt: Any) -> None:
    wire = {"model": "m", "prompt": prompt, "n": 2, "stop": "x", "logprobs": 0, "suffix": "}", "best_of": 3}
    more = {"echo": True, "max_tokens": 5, "stream": True, "stream_options": {"include_usage": True}, "seed": None}
    assert again({**wire, **more}) == {**wire, **more}


def test_settings_without_meaning_come_back_and_are_no_loss_elsewhere() -> None:
    wire = {"model": "m", "prompt": "Hi", "echo": False, "best_of": 1, "logprobs": None, "suffix": ""}
    assert again(wire) == wire
    assert openai_chat.encode_request(openai_completions.decode_request(body(wire)))[1] == ()


def test_a_prompt_is_a_users_message_elsewhere() -> None:
    request = openai_completions.decode_request(body({"model": "m", "prompt": ["Hi"], "logprobs": 2}))
    encoded, losses = openai_chat.encode_request(request)
    assert losses == ()
    assert json.loads(encoded)["messages"] == [{"role": "user", "content": "Hi"}]
    assert json.loads(encoded)["top_logprobs"] == 2


@pytest.mark.parametrize("prompt", [["a", "b"], [1, 2], [[1], [2]]])
def test_several_prompts_and_tokens_are_a_loss_elsewhere_and_never_a_conversation(prompt: Any) -> None:
    request = openai_completions.decode_request(body({"model": "m", "prompt": prompt, "suffix": "}", "echo": True}))
    losses = openai_chat.encode_request(request)[1]
    assert {loss.field for loss in losses} == {"messages[0].parts[0]", "suffix", "echo"}


@pytest.mark.parametrize(
    ("wire", "field"),
    [
        ([], "body"),
        ({}, "prompt"),
        ({"prompt": None}, "prompt"),
        ({"prompt": []}, "prompt"),
        ({"prompt": ["a", 1]}, "prompt"),
        ({"prompt": [[1], []]}, "prompt"),
        ({"prompt": "a", "logprobs": True}, "logprobs"),
        ({"prompt": "a", "temperature": "x"}, "temperature"),
        ({"prompt": "a", "stop": [1]}, "stop[0]"),
    ],
)
def test_a_mistake_is_named_by_its_path(wire: Any, field: str) -> None:
    with pytest.raises(Malformed) as caught:
        openai_completions.decode_request(body(wire))
    assert caught.value.field == field


def test_a_lone_users_text_is_the_prompt_and_a_limit_is_filled_in() -> None:
    out, losses = foreign(user(Text("Hi")))
    assert out == {"model": "m", "prompt": "Hi", "max_tokens": DEFAULT_MAX_TOKENS}
    assert [(loss.field, loss.kind) for loss in losses] == [("sampling.max_tokens", "approximated")]


def test_a_conversation_becomes_a_play_and_says_so() -> None:
    call, result = ToolCall("c", "now", '{"tz":1}'), ToolResult("c", (Text("noon"),))
    out, losses = foreign(
        Message("system", (Text("Be brief."),)),
        user(Text("Time?"), Image(Url("https://x.example/a.png"))),
        Message("assistant", (Reasoning("hm"), Refusal("No."), call), name="Bo"),
        Message("tool", (result,)),
        user(Unknown("video", {})),
        sampling=Sampling(max_tokens=9),
    )
    said = ["Be brief.", "User: Time?", 'Assistant: No.\n[called now with {"tz":1}]', "Tool: noon", "Assistant:"]
    assert out["prompt"] == "\n\n".join(said)
    assert [loss.field for loss in losses] == [
        "messages[1].parts[1]",
        "messages[2].name",
        "messages[2].parts[0]",
        "messages[2].parts[1]",
        "messages[2].parts[2]",
        "messages[3].parts[0]",
        "messages[4].parts[0]",
        "messages",
    ]


def test_an_assistants_last_turn_is_gone_on_with_and_an_empty_conversation_is_told() -> None:
    out, _ = foreign(user(Text("Hi")), Message("assistant", (Text("Once"),)))
    assert out["prompt"].endswith("Assistant: Once")
    out, losses = foreign()
    assert out["prompt"] == ""
    assert losses[0].field == "messages"


def test_every_setting_that_has_no_place_is_a_loss() -> None:
    text = Text("Hi", (Citation(),), (TokenLogprob("a", 0.0),), extra={"odd": 1}, signature="s")
    out, losses = foreign(
        user(text),
        tools=(Tool("f"),),
        tool_choice=ToolChoice("required"),
        parallel_tool_calls=True,
        sampling=Sampling(0.5, 0.9, 3, 0.1, 0.2, 0.3, 0.4, {"5": 1}, 7, 8, tuple("abcde")),
        response_format=ResponseFormat("json"),
        reasoning=ReasoningEffort("low"),
        verbosity="low",
        logprobs=9,
        choices=2,
        modalities=("text", "audio"),
        stream=True,
        include_usage=True,
        metadata={"a": "b"},
        user="u",
        caching=Caching("k", "24h"),
        service_tier="flex",
        store=True,
        previous="r",
        extra={"other": 1},
    )
    assert {loss.field for loss in losses} == {
        *(f"messages[0].parts[0].{name}" for name in ("odd", "citations", "logprobs", "signature")),
        *(f"sampling.{name}" for name in ("top_k", "min_p", "repetition_penalty", "stop")),
        *("logprobs", "tools[0]", "tool_choice", "parallel_tool_calls", "response_format", "reasoning", "verbosity"),
        *("modalities", "metadata", "caching.key", "caching.retention", "service_tier", "store", "previous", "other"),
    }
    assert out["stop"] == list("abcd")
    assert (out["logprobs"], out["n"], out["user"], out["seed"], out["max_tokens"]) == (5, 2, "u", 7, 8)
    assert out["stream_options"] == {"include_usage": True}


# --- answers and streams ---------------------------------------------------------------------------------------------


def whole(**choice: Any) -> dict[str, Any]:
    head = {"id": "c", "object": "text_completion", "created": 1, "model": "m"}
    return {**head, "choices": [{"text": "A b", "index": 0, "logprobs": None, "finish_reason": "stop", **choice}]}


@pytest.mark.parametrize(
    "logprobs",
    [
        None,
        LOGPROBS,
        {**LOGPROBS, "top_logprobs": None},
        {**LOGPROBS, "token_logprobs": [None, -1.0]},
        {**LOGPROBS, "tokens": ["A"]},
        {**LOGPROBS, "top_logprobs": [3, 4]},
        {**LOGPROBS, "extra": 1},
        {"content": []},
    ],
)
def test_log_probabilities_come_back_whatever_their_shape(logprobs: Any) -> None:
    wire = whole(logprobs=logprobs)
    encoded, losses = openai_completions.encode_answer(openai_completions.decode_answer(body(wire)))
    assert json.loads(encoded) == wire
    assert losses == ()


def test_log_probabilities_are_a_chats_elsewhere_and_come_back_with_offsets_counted_anew() -> None:
    answer = openai_completions.decode_answer(body(whole(logprobs=LOGPROBS)))
    chat, losses = openai_chat.encode_answer(answer)
    assert losses == ()
    tokens = json.loads(chat)["choices"][0]["logprobs"]["content"]
    assert [token["token"] for token in tokens] == ["A", " b"]
    back, losses = openai_completions.encode_answer(openai_chat.decode_answer(chat))
    assert losses == ()
    assert json.loads(back)["choices"][0]["logprobs"] == {**LOGPROBS, "text_offset": [0, 1]}


def test_what_is_no_text_is_a_loss_and_an_unknown_finish_is_told() -> None:
    parts = (Reasoning("hm"), Text("Hi", (Citation(url="u"),)), ToolCall("c", "f", "{}"))
    encoded, losses = openai_completions.encode_answer(
        Answer("openai-chat", "a", "m", (Choice(0, parts, "tool_calls"),))
    )
    assert json.loads(encoded)["choices"] == [{"index": 0, "text": "Hi", "logprobs": None, "finish_reason": "stop"}]
    fields = ["parts[0]", "parts[1].citations", "parts[2]", "finish"]
    assert [loss.field for loss in losses] == [f"choices[0].{field}" for field in fields]


@pytest.mark.parametrize("wire", [{}, {"choices": [{}]}, {"error": {"message": "m"}}, whole(text=3), {"choices": 3}])
def test_what_is_no_answer_is_malformed(wire: Any) -> None:
    with pytest.raises(Malformed):
        openai_completions.decode_answer(body(wire))


def test_a_foreign_stream_becomes_text_alone_and_its_parts_keep_their_order() -> None:
    encoder = openai_completions.StreamEncoder(Request(NAME, "m", (), include_usage=False))
    events: list[Event] = [
        Started("anthropic-messages", "i", "m"),
        PartStarted(0, 0, Reasoning()),
        Delta(0, 0, "hm"),
        PartEnded(0, 0),
        PartStarted(0, 1, Text("")),
        Delta(0, 1, "Hi", citations=(Citation(url="u"),)),
        Delta(0, 1, "!", citations=(Citation(url="u"),)),
        PartEnded(0, 1),
        Finished(0, "tool_calls"),
        Ended(),
    ]
    decoder = openai_completions.StreamDecoder()
    found = decoder.feed(b"".join(encoder.encode(event) for event in events))
    assert join(found).choices[0].parts == (Text("Hi!"),)
    assert isinstance(found[-1], Ended)
    fields = ["parts[0]", "parts[1].citations", "finish"]
    assert [loss.field for loss in encoder.losses] == [f"choices[0].{field}" for field in fields]


def test_a_stream_of_the_chat_dialect_is_not_taken_for_our_own() -> None:
    encoder = openai_completions.StreamEncoder()
    encoder.encode(Started("openai-chat", "i", "m", extra={"odd": 1}))
    assert [loss.field for loss in encoder.losses] == ["odd"]


def facts(answer: Answer) -> Any:
    said = [("".join(p.text for p in choice.parts if isinstance(p, Text)), choice.finish) for choice in answer.choices]
    usage = answer.usage
    return answer.id, answer.model, said, usage and (usage.input, usage.output, usage.total, usage.cached_read)


# --- recorded traffic ------------------------------------------------------------------------------------------------


OTHERS = ("/agents/", "/prompts/", "/organization/")
"""Paths that end in `completions` and speak another dialect."""


@pytest.fixture(scope="module")
def exchanges() -> list[dict[str, Any]]:
    if not MATERIAL.exists():
        pytest.skip("the recorded exchanges are not here")
    with gzip.open(MATERIAL, "rt") as lines:
        rows = [json.loads(line) for line in lines if f'"dialect": "{NAME}"' in line]
    return [row for row in rows if not any(mark in row["path"] for mark in OTHERS)]


def test_every_recorded_exchange_comes_back_as_it_was(exchanges: list[dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()
    wrong: list[str] = []
    for row in exchanges:
        if row["request"] is not None:
            counts["requests"] += 1
            wrong += [f"{row['id']} {found}" for found in differences(row["request"], again(row["request"]))]
        if row["wire"] == "json" and row["status"] < 400:
            answer = openai_completions.decode_answer(body(row["body"]))
            encoded, losses = openai_completions.encode_answer(answer)
            assert losses == ()
            if "/fim/" in row["path"]:  # answers as a chat: the text is the same, the shape is ours
                counts["fill-in-the-middle answers"] += 1
                text = row["body"]["choices"][0]["message"]["content"]
                assert json.loads(encoded)["choices"][0]["text"] == text
                continue
            counts["answers"] += 1
            wrong += [f"{row['id']} {found}" for found in differences(row["body"], json.loads(encoded))]
            chat = openai_chat.decode_answer(openai_chat.encode_answer(answer)[0])
            assert facts(chat) == facts(answer)
    print(dict(counts))
    assert not wrong, "\n".join(wrong[:20])


def test_every_recorded_stream_reads_the_same_when_written_again(exchanges: list[dict[str, Any]]) -> None:
    counts: Counter[str] = Counter()
    for row in exchanges:
        if row["wire"] != "sse":
            continue
        decoder, second = openai_completions.StreamDecoder(), openai_completions.StreamDecoder()
        found = decoder.feed(row["body_text"].encode()) + decoder.close()
        if row["vendor"] == "writer":  # `{"value": …}`: a format of Writer's own
            assert isinstance(found[-1], Failed)
            counts["another format"] += 1
            continue
        encoder = openai_completions.StreamEncoder()
        written = b"".join(encoder.encode(event) for event in found)
        assert encoder.losses == []
        assert isinstance(found[-1], Ended)
        assert join(second.feed(written) + second.close()) == join(found), row["id"]
        counts["same"] += 1
    print(dict(counts))


# --- properties ------------------------------------------------------------------------------------------------------


words = st.text(max_size=12)


KEYS = st.sampled_from(["prompt", "choices", "text", "logprobs", "tokens", "index", "stop"])
VALUES = st.recursive(
    st.none() | st.integers() | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
)


@given(st.binary(max_size=200) | VALUES.map(body))
def test_nothing_but_malformed_is_ever_raised(data: bytes) -> None:
    for decode in (openai_completions.decode_request, openai_completions.decode_answer):
        with contextlib.suppress(Malformed):
            decode(data)
    decoder = openai_completions.StreamDecoder()
    decoder.feed(b"data: " + data + b"\n\n")
    decoder.close()


@given(words.filter(bool), st.sampled_from(["stop", "length", "filtered"]))
def test_a_text_survives_wherever_no_loss_is_announced(text: str, finish: Any) -> None:
    answer = Answer(NAME, "i", "m", (Choice(0, (Text(text),), finish),), created=3)
    encoded, losses = openai_completions.encode_answer(answer)
    assert losses == ()
    found = openai_completions.decode_answer(encoded).choices[0]
    assert (found.parts, found.finish) == ((Text(text),), finish)
    request = Request(NAME, "m", (user(Text(text)),), sampling=Sampling(0.5, max_tokens=3, stop=("a",)))
    encoded, losses = openai_completions.encode_request(request)
    assert losses == ()
    assert msgspec.structs.replace(openai_completions.decode_request(encoded), extra={}) == request


def test_errors_are_those_of_the_chat_dialect() -> None:
    fault = openai_completions.decode_fault(
        404, {}, body({"error": {"message": "No such model.", "type": "t", "param": None, "code": "model_not_found"}})
    )
    assert (fault.status, fault.code, fault.message) == (404, "model_not_found", "No such model.")
