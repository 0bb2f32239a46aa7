"""What one dialect says and another can carry arrives there; what does not is announced. See `pairs.py`.

Without the recorded material the handmade exchanges below still go through every pair.
"""

import json
from collections.abc import Iterator

import pytest

from tests.dialects.join import unjoin
from tests.dialects.pairs import Outcome, read, recorded, sample, through
from understudy import dialects
from understudy.canon import (
    Answer,
    Audio,
    Choice,
    Citation,
    Ended,
    Event,
    File,
    Image,
    Inline,
    Loss,
    Message,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    ResponseFormat,
    Sampling,
    Text,
    Tool,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
    Usage,
)

MOST = 40
"""Messages of each dialect; all of them take half a minute: `python -m tests.dialects.pairs`."""

each_source = pytest.mark.parametrize("name", dialects.DIALECTS)
PNG, PDF = Inline("iVBORw0KGgo=", "image/png"), Inline("JVBERi0xLjQK", "application/pdf")
SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
WEATHER = Tool("weather", description="The weather.", parameters=SCHEMA)

USER = Message("user", (Text("What is the weather in Lund?"),))
TOOLS_TALK = (
    Message("system", (Text("Be brief."),)),
    USER,
    Message("assistant", (Text("I will look."), ToolCall("call_1", "weather", '{"city":"Lund"}'))),
    Message("tool", (ToolResult("call_1", (Text("12 degrees"),)),)),
    Message("user", (Text("And in Oslo?"),)),
)
REQUESTS = {
    "words": ((USER,), {"sampling": Sampling(temperature=0.5, top_p=0.9, max_tokens=100, stop=("END",))}),
    "tools": (TOOLS_TALK, {"tools": (WEATHER,), "tool_choice": ToolChoice("required", ("weather",))}),
    "no parallel calls": ((USER,), {"tools": (WEATHER,), "parallel_tool_calls": False}),
    "picture": ((Message("user", (Text("What is it?"), Image(PNG), Image(Url("https://example.com/a.png")))),), {}),
    "document": ((Message("user", (File(PDF, filename="a.pdf"), Text("Sum it up."))),), {}),
    "sound": ((Message("user", (Audio(Inline("UklGRg==", "audio/wav"), "wav"), Text("What is said?"))),), {}),
    "schema": ((USER,), {"response_format": ResponseFormat("schema", "answer", schema=SCHEMA, strict=True)}),
    "json": ((USER,), {"response_format": ResponseFormat("json")}),
    "thinking": ((USER,), {"reasoning": ReasoningEffort("high"), "sampling": Sampling(max_tokens=30000)}),
    "settings": ((USER,), {"metadata": {"a": "b"}, "user": "u", "store": True, "previous": "r_1", "choices": 2,
                           "logprobs": 2, "verbosity": "low", "service_tier": "flex",
                           "sampling": Sampling(seed=1, top_k=5, min_p=0.1, frequency_penalty=0.5,
                                                presence_penalty=0.5, logit_bias={"1": 1.0})}),
}  # fmt: skip
SPENT = Usage(30, 20, 50, cached_read=10, reasoning=5)
ANSWERS = {
    "words": (Choice(0, (Text("Twelve degrees."),), "stop"),),
    "cut": (Choice(0, (Text("Twelve de"),), "length"),),
    "filtered": (Choice(0, (Text("Tw"),), "filtered"),),
    "refusal": (Choice(0, (Refusal("I cannot say."),), "stop"),),
    "call": (Choice(0, (Text("I will look."), ToolCall("call_1", "weather", '{"city":"Lund"}')), "tool_calls"),),
    "calls": (Choice(0, (ToolCall("a", "f", "{}"), ToolCall("b", "f", '{"x":[1,null]}')), "tool_calls"),),
    "broken call": (Choice(0, (Text("I will."), ToolCall("a", "f", '{"x":')), "tool_calls"),),
    "thought": (Choice(0, (Reasoning("Hm."), Text("Twelve.")), "stop"),),
    "citation": (Choice(0, (Text("Twelve.", (Citation(url="https://example.com", start=0, end=6),)),), "stop"),),
    "two": (Choice(0, (Text("Twelve."),), "stop"), Choice(1, (Text("Ten."),), "stop")),
}  # fmt: skip


def others(name: str) -> Iterator[str]:
    return (other for other in dialects.DIALECTS if other != name)


@each_source
@pytest.mark.parametrize("what", REQUESTS)
def test_a_request_arrives_or_its_losses_are_announced(name: str, what: str) -> None:
    messages, fields = REQUESTS[what]
    request = Request(name, "m", messages, **fields)
    assert {other: through(request, other).unexplained for other in others(name)} == dict.fromkeys(others(name), ())


@each_source
@pytest.mark.parametrize("what", ANSWERS)
def test_an_answer_arrives_or_its_losses_are_announced(name: str, what: str) -> None:
    answer = Answer(name, "a_1", "m", ANSWERS[what], SPENT, 1_700_000_000)
    stream = [*unjoin(answer), Ended()]
    for message in (answer, stream):
        found = {other: through(message, other).unexplained for other in others(name)}
        assert found == dict.fromkeys(others(name), ())


def test_a_usage_that_contradicts_itself_is_announced() -> None:
    answer = Answer("openai-chat", "a", "m", ANSWERS["words"], Usage(10, 5, cached_read=11, reasoning=20))
    for name in others("openai-chat"):
        assert through(answer, name).unexplained == ()


def test_what_arrives_whole_is_called_exact() -> None:
    request = Request("gemini", "m", (USER,), sampling=Sampling(max_tokens=5))
    assert through(request, "openai-chat") == Outcome((), ())


def test_a_difference_that_no_loss_explains_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The check itself is checked: a dialect that drops silently is caught."""
    request = Request("gemini", "m", TOOLS_TALK, tools=(WEATHER,), sampling=Sampling(seed=7, max_tokens=5))
    chat = dialects.get("openai-chat")
    body = json.loads(chat.encode_request(request)[0])
    del body["seed"], body["messages"][1], body["messages"][1]["tool_calls"], body["tools"][0]["function"]["parameters"]
    monkeypatch.setattr(chat, "encode_request", lambda _: (json.dumps(body).encode(), (Loss("messages[3]", "x"),)))
    found = through(request, "openai-chat").unexplained
    lost = {line.partition(" ")[0] for line in found}
    assert lost >= {"sampling.seed", "messages[1].parts[0]", "messages[2].parts[1]", "tools[0].parameters"}
    assert "messages[3].parts[0].parts[0]" not in lost


@each_source
def test_recorded_exchanges_arrive_or_their_losses_are_announced(name: str) -> None:
    if not recorded():
        pytest.skip("recorded traffic is not here")
    found, count = [], 0
    for wire in sample(name, MOST):
        message: Request | Answer | list[Event] | None = read(name, wire)
        for other in others(name) if message is not None else ():
            count += 1
            found += [f"{wire.id} {wire.kind} to {other}: {line}" for line in through(message, other).unexplained]
    print(f"{name}: {count}")
    assert count
    assert not found, "\n".join(found[:20])
