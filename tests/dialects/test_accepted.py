"""A sample of the recorded requests, in every other dialect, is taken by that dialect's provider. See `accepted.py`."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.dialects.accepted import REJECTIONS, verdict
from tests.dialects.document import Document
from tests.dialects.pairs import read, recorded
from understudy import dialects
from understudy.canon import Message, Request, Text, ToolCall
from understudy.dialects.probes import MODELS

MOST = 25


@pytest.mark.parametrize("name", dialects.DIALECTS)
def test_recorded_requests_are_taken_by_every_other_provider(name: str) -> None:
    if not recorded():
        pytest.skip("recorded traffic is not here")
    wires = [wire for wire in recorded()[name] if wire.kind == "request"]
    counts, wrong = Counter[str](), []
    for wire in wires[:: max(1, len(wires) // MOST)]:
        request = read(name, wire)
        for other in REJECTIONS if isinstance(request, Request) else ():
            if other != name:
                assert isinstance(request, Request)
                word, why = verdict(request, other)
                counts[word] += 1
                wrong += [f"{wire.id} to {other}: {why}"] if word == "rejected" else []
    print(name, dict(counts))
    assert counts["accepted"]
    assert not wrong, "\n".join(wrong)


SPOILT: dict[str, Any] = {
    "anthropic-messages": ("max_tokens", "many"),
    "bedrock-converse": ("messages", [{"role": "nobody", "content": [{"text": "a"}]}]),
    "cohere-chat": ("max_tokens", "many"),
    "gemini": ("unheard_of", 1),
    "ollama": ("unheard_of", 1),
    "openai-chat": ("unheard_of", 1),
    "openai-completions": ("temperature", 5),
    "openai-responses": ("unheard_of", 1),
}


@pytest.mark.parametrize("name", REJECTIONS)
def test_the_check_itself_finds_what_a_provider_refuses(name: str) -> None:
    request = Request("", MODELS[name], (Message("user", (Text("Hello"),)),))
    body = json.loads(dialects.get(name).encode_request(request)[0])
    key, value = SPOILT[name]
    assert REJECTIONS[name](body) == []
    assert REJECTIONS[name](body | {key: value})


def test_a_call_that_nobody_answers_is_refused_by_the_check() -> None:
    for name in ("openai-chat", "openai-responses"):
        messages = (Message("user", (Text("a"),)), Message("assistant", (ToolCall("c", "f", "{}"),)))
        body = json.loads(dialects.get(name).encode_request(Request(name, MODELS[name], messages))[0])
        assert REJECTIONS[name](
            {**body, "messages": body["messages"] + [messages_end()]} if "messages" in body else body
        )


def messages_end() -> dict[str, str]:
    return {"role": "user", "content": "and?"}


def test_a_document_refuses_unknown_names_wrong_types_and_values_out_of_bounds() -> None:
    kind = {"type": "object", "required": ["a"], "properties": {"a": {"type": "integer", "minimum": 1}}}
    named = {"type": "object", "properties": {"type": {"enum": ["x"]}, "b": {"type": "string", "maxLength": 2}}}
    document = Document(
        {
            "Whole": {"allOf": [kind, {"type": "object", "properties": {"c": {"anyOf": [named, {"type": "null"}]}}}]},
            "Open": {**kind, "additionalProperties": {"type": "boolean"}},
        }
    )
    refusals = document.refusals
    assert refusals({"a": 1, "c": None}, "Whole") == []
    assert refusals({"a": 1, "c": {"type": "x", "b": "ok"}}, "Whole") == []
    assert refusals({"c": None}, "Whole") == [".a: is required"]
    assert refusals({"a": 0}, "Whole") == [".a: 0 is not from 1 to 0"]
    assert refusals({"a": True}, "Whole") == [".a: 'True' is no integer"]
    assert refusals({"a": 1, "d": 1}, "Whole") == [".d: is unknown"]
    assert refusals({"a": 1, "c": {"type": "x", "b": "long"}}, "Whole") == [".c.b: 4 characters"]
    assert refusals({"a": 1, "c": {"type": "x", "e": 1}}, "Whole") == [".c.e: is unknown"]
    assert refusals({"a": 1, "d": True}, "Open") == []
    assert refusals({"a": 1, "d": 1}, "Open") == [".d: '1' is no boolean"]
