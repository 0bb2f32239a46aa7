"""A request is told by what it asks for, in every dialect alike."""

import pytest

from tests.rehearsal.making import TOOL, asked
from understudy import dialects
from understudy.rehearsal.kinds import facets, kind, length, turn


def request(body, dialect="openai-chat"):
    import msgspec

    return dialects.get(dialect).decode_request(msgspec.json.encode(body))


PICTURE = {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}}
CALL = {"id": "c", "type": "function", "function": {"name": "weather", "arguments": "{}"}}


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        (asked(), "text"),
        (asked(tools=[TOOL]), "tools"),
        (asked(tools=[TOOL], tool_choice="none"), "text"),
        (asked(tools=[TOOL], response_format={"type": "json_object"}), "structured"),
        (asked([{"type": "text", "text": "What is it?"}, PICTURE], response_format={"type": "json_object"}), "media"),
    ],
)
def test_the_rarest_kind_counts(body, wanted):
    assert kind(request(body)) == wanted


@pytest.mark.parametrize(("letters", "wanted"), [(10, "short"), (4000, "medium"), (40_000, "long")])
def test_length_is_that_of_the_prompt(letters, wanted):
    assert length(request(asked("x" * letters))) == wanted


def test_turns():
    assert turn(request(asked())) == "first"
    before = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}]
    assert turn(request({"model": "m", "messages": [*before, {"role": "user", "content": "c"}]})) == "later"
    tools = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": None, "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c", "content": "sunny"},
    ]
    assert turn(request({"model": "m", "messages": tools})) == "after tools"


def test_the_same_request_is_of_the_same_kind_in_another_dialect():
    chat = request(asked(tools=[TOOL]))
    anthropic = request(
        {
            "model": "m",
            "max_tokens": 9,
            "messages": [{"role": "user", "content": "Hello there"}],
            "tools": [{"name": "weather", "input_schema": TOOL["function"]["parameters"]}],
        },
        "anthropic-messages",
    )
    assert facets(chat) == facets(anthropic)
