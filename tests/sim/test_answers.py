"""What the simulated model says when it behaves."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
import openai
import pytest

from understudy.sim import Sim

from .wire_client import TOOL, ask, see

CUSTOM = {"type": "custom", "custom": {"name": "shell"}}
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "age": {"type": "integer"}},
    "required": ["name", "age"],
}


def message(**fields: Any) -> dict[str, Any]:
    return see(ask("ok", **fields)).json["choices"][0]["message"]


def called(**fields: Any) -> list[tuple[str, str]]:
    calls = message(**fields).get("tool_calls") or []
    return [(c["type"], c[c["type"]]["name"]) for c in calls]


def test_the_same_question_has_the_same_answer_and_says_that_it_is_simulated() -> None:
    first, second = (see(ask("ok", say="hello")) for _ in range(2))
    assert first.json["choices"] == second.json["choices"]
    assert first.json["system_fingerprint"] == "simulated"
    assert first.headers["x-understudy-simulated"] == "true"
    assert "hello" in message(say="hello")["content"]


def test_a_stream_says_what_the_whole_answer_says() -> None:
    assert see(ask("ok", stream=True)).text == message()["content"]


def test_text_parts_are_read_and_a_long_question_is_not_echoed_whole() -> None:
    parts = [{"type": "text", "text": "one"}, {"type": "image_url"}, "odd", {"type": "text", "text": "two"}]
    assert message(messages=[{"role": "user", "content": parts}])["content"].endswith("one two")
    assert message(messages=[{"role": "system", "content": None}])["content"].endswith("said: ")
    assert len(message(say="x" * 10_000)["content"]) < 300


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"tools": [TOOL]}, []),
        ({"tools": [TOOL], "say": "what is the weather?"}, [("function", "weather")]),
        ({"tools": [TOOL], "say": "please use a tool"}, [("function", "weather")]),
        ({"tools": [TOOL], "say": "please use a tool", "tool_choice": "none"}, []),
        ({"tools": [TOOL], "tool_choice": "required"}, [("function", "weather")]),
        ({"tools": [TOOL, CUSTOM], "tool_choice": {"type": "custom", "custom": {"name": "shell"}}},
         [("custom", "shell")]),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": "required"}}},
         [("function", "weather")]),
        ({"tools": [TOOL], "tool_choice": {"type": "allowed_tools"}}, []),
        ({"tools": [{"type": "function"}], "say": "hi"}, []),
    ],
)  # fmt: skip
def test_a_tool_is_called_when_it_is_demanded_or_spoken_of(fields: dict[str, Any], expected: list[Any]) -> None:
    assert called(**fields) == expected


def test_a_tool_call_has_arguments_of_its_schema_whole_and_streamed() -> None:
    fields: dict[str, Any] = {"tools": [TOOL], "tool_choice": "required"}
    call = message(**fields)["tool_calls"][0]
    assert msgspec.json.decode(call["function"]["arguments"]) == {"city": "simulated"}
    seen = see(ask("ok", stream=True, **fields))
    calls = [c for d in seen.deltas for c in d.get("tool_calls", ())]
    assert (calls[0]["id"], calls[0]["function"]["name"]) == (call["id"], "weather")
    assert "".join(c["function"]["arguments"] for c in calls) == call["function"]["arguments"]
    assert seen.finishes == ["tool_calls"]


def test_a_broken_tool_call_needs_no_tools_in_the_request() -> None:
    seen = see(ask("tool-cut", stream=True))
    assert (seen.deltas[0]["tool_calls"][0]["function"]["name"], seen.end) == ("lookup", "closed")


def test_a_custom_tool_is_streamed_as_text() -> None:
    seen = see(ask("ok", stream=True, tools=[CUSTOM], tool_choice="required"))
    calls = [c for d in seen.deltas for c in d.get("tool_calls", ())]
    assert "".join(c["custom"]["input"] for c in calls) == "simulated input for shell"


def test_a_tool_result_is_answered_not_asked_for_again() -> None:
    messages = [{"role": "user", "content": "weather tool"}, {"role": "tool", "tool_call_id": "x", "content": "21 C"}]
    answer = message(messages=messages, tools=[TOOL])
    assert "tool_calls" not in answer
    assert answer["content"].endswith("21 C")


def test_a_tool_that_is_not_there_is_refused() -> None:
    seen = see(ask("ok", tools=[TOOL], tool_choice={"type": "function", "function": {"name": "other"}}))
    assert (seen.status, seen.json["error"]["param"]) == (400, "tool_choice")


def test_a_schema_gets_an_instance_and_json_gets_an_object() -> None:
    shape = {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}
    assert msgspec.json.decode(message(response_format=shape)["content"]) == {"name": "simulated", "age": 1}
    assert msgspec.json.decode(message(response_format={"type": "json_object"})["content"])["simulated"] is True
    assert "simulated answer" in message(response_format={"type": "text"})["content"]


@pytest.mark.parametrize("described", [None, {"name": "x"}])
def test_a_schema_that_is_missing_is_refused(described: Any) -> None:
    seen = see(ask("ok", response_format={"type": "json_schema", "json_schema": described}))
    assert seen.json["error"]["param"] == "response_format.json_schema.schema"


def test_several_choices_each_have_an_answer_and_an_end() -> None:
    assert [c["index"] for c in see(ask("ok", n=3)).json["choices"]] == [0, 1, 2]
    seen = see(ask("ok", stream=True, n=2))
    assert seen.finishes == ["stop", "stop"]
    assert {c["index"] for d in seen.data for c in d["choices"]} == {0, 1}


def test_log_probabilities_come_for_each_token_when_asked_for() -> None:
    choice = see(ask("ok", logprobs=True, top_logprobs=2)).json["choices"][0]
    tokens = choice["logprobs"]["content"]
    assert "".join(t["token"] for t in tokens) == choice["message"]["content"]
    assert all(len(t["top_logprobs"]) == 2 and bytes(t["bytes"]).decode() == t["token"] for t in tokens)
    seen = see(ask("ok", stream=True, logprobs=True))
    got = [
        c["logprobs"]["content"][0]["token"] for d in seen.data for c in d["choices"] if d and c["delta"].get("content")
    ]
    assert "".join(got) == seen.text


def test_usage_comes_at_the_end_of_a_stream_only_when_asked_for() -> None:
    assert not any("usage" in chunk for chunk in see(ask("ok", stream=True)).data)
    *others, last = see(ask("ok", stream=True, stream_options={"include_usage": True})).data
    assert all(chunk["usage"] is None for chunk in others)
    assert last["choices"] == []
    assert last["usage"] == see(ask("ok")).json["usage"]


def test_a_token_limit_is_kept() -> None:
    choice = see(ask("ok", max_completion_tokens=3)).json["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("This is a", "length")


def test_a_length_can_be_asked_for() -> None:
    assert see(ask("ok:tokens=40", stream=True)).pieces == 40


def test_the_official_client_reads_answers_streams_and_errors() -> None:
    async def main() -> None:
        async with Sim(key="sk-right") as sim, openai.AsyncOpenAI(base_url=sim.url, api_key="sk-right") as client:
            said: Any = [{"role": "user", "content": "hi"}]
            whole = await client.chat.completions.create(model="ok", messages=said)
            stream = await client.chat.completions.create(model="ok", messages=said, stream=True)
            text = [c.choices[0].delta.content or "" async for c in stream]
            assert "".join(text) == whole.choices[0].message.content
            assert "silent" in [model.id async for model in client.models.list()]
            with pytest.raises(openai.NotFoundError, match="its models are"):
                await client.chat.completions.create(model="gpt-9", messages=said)
            with pytest.raises(openai.APIError, match="server had an error"):
                async for _ in await client.chat.completions.create(model="error-event", messages=said, stream=True):
                    pass

    asyncio.run(main())
