"""One small request or answer for each feature that a client may use, to find out which dialects carry it.

`reference.py` sends them through every pair of dialects. A probe's `look` gives what has to come back when a dialect
that can say the feature writes and reads it; whatever else a dialect does on the way is its own business.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import msgspec

from understudy.canon import (
    Answer,
    Audio,
    CacheHint,
    Caching,
    Choice,
    Citation,
    File,
    Image,
    Inline,
    Message,
    Part,
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
    Url,
    Usage,
)

MODELS = {
    "anthropic-messages": "claude-sonnet-4-5",
    "bedrock-converse": "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    "cohere-chat": "command-a-03-2025",
    "gemini": "gemini-2.5-flash",
    "ollama": "qwen3",
    "openai-chat": "gpt-4o",
    "openai-completions": "gpt-3.5-turbo-instruct",
    "openai-responses": "gpt-4o",
}
"""A usual model of each dialect: some of what a dialect carries depends on it."""


class Probe(msgspec.Struct, frozen=True):
    """`fields` is the feature; `given` is what it needs around it, which is not asked about."""

    name: str
    fields: dict[str, Any]
    look: Callable[[Any], Any]
    given: dict[str, Any] = {}
    answer: bool = False


ASKED = Message("user", (Text("Hello"),))
LIMIT = Sampling(max_tokens=20_000)
HELLO = Request("", "m", (ASKED,), sampling=LIMIT)
SAID = Answer("", "answer_1", "m", (Choice(0, (Text("Hello"),), "stop"),), Usage(3, 2, 5), 1_700_000_000)

_PNG = Inline("iVBORw0KGgo=", "image/png")
_PDF = Inline("JVBERi0xLjQK", "application/pdf")
_PLAIN = Inline("SGVsbG8=", "text/plain")
_WAV = Inline("UklGRg==", "audio/wav")
_PAGE = "https://example.com/a"
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string"}},
    "required": ["city"],
    "additionalProperties": False,
}
_RANGED = {**_SCHEMA, "properties": {"days": {"type": "integer", "minimum": 1}}, "required": ["days"]}
_WEATHER = Tool("weather", description="The weather.", parameters=_SCHEMA)
_OTHER = Tool("time", description="The time.", parameters=_SCHEMA)
_CALL = ToolCall("call_1", "weather", '{"city":"Lund"}')

Kind = TypeVar("Kind", bound=Part)


def _parts(message: Request | Answer) -> Iterator[Part]:
    """Every part, those of results too."""
    for holder in message.messages if isinstance(message, Request) else message.choices:
        for part in holder.parts:
            yield part
            if isinstance(part, ToolResult):
                yield from part.parts


def _of(kind: type[Kind], *names: str) -> Callable[[Request | Answer], list[tuple[Any, ...]]]:
    """A look at the parts of one kind: these attributes of each."""
    return lambda message: [
        tuple(getattr(part, name) for name in names) or (kind.__name__,)
        for part in _parts(message)
        if isinstance(part, kind)
    ]


def _sampled(name: str, value: Any) -> Probe:
    fields = {name: value} if name == "max_tokens" else {"max_tokens": LIMIT.max_tokens, name: value}
    return Probe(name, {"sampling": Sampling(**fields)}, lambda r: getattr(r.sampling, name))


def _set(name: str, field: str, value: Any, **given: Any) -> Probe:
    return Probe(name, {field: value}, lambda r: getattr(r, field), given)


def _user(name: str, look: Callable[[Any], Any], *parts: Part) -> Probe:
    return Probe(name, {"messages": (Message("user", (*parts, Text("Hello"))),)}, look)


def _talk(name: str, look: Callable[[Any], Any], *parts: Part, result: ToolResult | None = None) -> Probe:
    """An assistant's turn of an earlier exchange, with a result if it called a tool."""
    results = () if result is None else (Message("tool", (result,)),)
    turns = (ASKED, Message("assistant", parts), *results, Message("user", (Text("Go on"),)))
    return Probe(name, {"messages": turns, **({} if result is None else {"tools": (_WEATHER,)})}, look)


def _roles(role: str) -> Callable[[Request], list[str]]:
    return lambda r: [part.text for m in r.messages if m.role == role for part in m.parts if isinstance(part, Text)]


def _first(name: str) -> Callable[[Request], Any]:
    return lambda r: getattr(r.tools[0], name) if r.tools else None


_RESULT = ToolResult("call_1", (Text("12 degrees"),))
_TOLD = (Text("Be brief."),)

REQUESTS: tuple[Probe, ...] = (
    Probe("system prompt", {"messages": (Message("system", _TOLD), ASKED)}, _roles("system")),
    Probe("system prompt amid the conversation", {"messages": (ASKED, Message("system", _TOLD), ASKED)},
          lambda r: [m.role for m in r.messages]),
    Probe("developer message", {"messages": (Message("developer", _TOLD), ASKED)}, _roles("developer")),
    Probe("name of a speaker", {"messages": (Message("user", (Text("Hello"),), name="ann"),)},
          lambda r: r.messages[-1].name),
    _talk("several turns", lambda r: [m.role for m in r.messages], Text("Hello")),
    Probe("beginning of an answer to continue", {"messages": (ASKED, Message("assistant", (Text("He"),)))},
          lambda r: r.messages[-1].role == "assistant"),
    _user("image, sent along", _of(Image, "source"), Image(_PNG)),
    _user("image, by address", _of(Image, "source"), Image(Url(_PAGE))),
    _user("image, detail", _of(Image, "detail"), Image(_PNG, detail="low")),
    _user("PDF, sent along", _of(File), File(_PDF)),
    _user("PDF, its file name", _of(File, "filename"), File(_PDF, filename="a.pdf")),
    _user("PDF, by address", _of(File), File(Url(_PAGE))),
    _user("text file", _of(File), File(_PLAIN, filename="a.txt")),
    _user("file to be cited", _of(File, "citations"), File(_PDF, citations=True)),
    _user("file that the provider holds", _of(File, "source"), File(Stored("file-1"))),
    _user("sound", _of(Audio), Audio(_WAV, "wav")),
    Probe("tools", {"tools": (_WEATHER,)}, lambda r: [(t.name, t.description, t.parameters) for t in r.tools]),
    Probe("tool, enforced schema", {"tools": (Tool("weather", "function", "The weather.", _SCHEMA, strict=True),)},
          _first("strict")),
    Probe("tool, a range in an enforced schema", {"tools": (Tool("weather", "function", None, _RANGED, strict=True),)},
          lambda r: bool(r.tools) and r.tools[0].strict and r.tools[0].parameters == _RANGED),
    Probe("tool that takes plain text", {"tools": (Tool("run", "custom", "Runs it."),)}, _first("kind")),
    Probe("tool that the provider runs", {"tools": (Tool("web_search", "hosted"),)}, _first("kind")),
    *(Probe(f"tool choice: {name}", {"tool_choice": choice}, lambda r: r.tool_choice and r.tool_choice.mode,
            {"tools": (_WEATHER, _OTHER)})
      for name, choice in (("none", ToolChoice("none")), ("required", ToolChoice("required")))),
    Probe("tool choice: by name", {"tool_choice": ToolChoice("required", ("weather",))},
          lambda r: r.tool_choice and r.tool_choice.names, {"tools": (_WEATHER, _OTHER)}),
    _set("no parallel tool calls", "parallel_tool_calls", False, tools=(_WEATHER,)),
    _talk("tool call and its result", _of(ToolResult), _CALL, result=_RESULT),
    _talk("tool result with an image", _of(Image), _CALL, result=ToolResult("call_1", (Image(_PNG),))),
    _talk("tool result that failed", _of(ToolResult, "failed"), _CALL,
          result=ToolResult("call_1", (Text("no such city"),), failed=True)),
    _talk("reasoning of an earlier answer", _of(Reasoning, "text"), Reasoning("Hm."), Text("Hello")),
    _talk("reasoning of an earlier answer, signed", _of(Reasoning, "signature"), Reasoning("Hm.", signature="c2ln"),
          Text("Hello")),
    _talk("refusal of an earlier answer", _of(Refusal, "text"), Refusal("No.")),
    Probe("reasoning effort", {"reasoning": ReasoningEffort("high")}, lambda r: r.reasoning and r.reasoning.effort),
    Probe("reasoning budget", {"reasoning": ReasoningEffort(budget=2048, enabled=True)},
          lambda r: r.reasoning and r.reasoning.budget),
    Probe("reasoning off", {"reasoning": ReasoningEffort(enabled=False)},
          lambda r: r.reasoning is not None and r.reasoning.enabled is False),
    _sampled("max_tokens", 100),
    _sampled("temperature", 0.5),
    Probe("temperature above 1", {"sampling": Sampling(temperature=1.5, max_tokens=20_000)},
          lambda r: r.sampling.temperature),
    _sampled("top_p", 0.9),
    _sampled("top_k", 5),
    _sampled("min_p", 0.1),
    _sampled("frequency_penalty", 0.5),
    _sampled("presence_penalty", 0.5),
    _sampled("repetition_penalty", 1.1),
    _sampled("logit_bias", {"50256": -100.0}),
    _sampled("seed", 7),
    _sampled("stop", ("END",)),
    Probe("stop, six of them", {"sampling": Sampling(max_tokens=20_000, stop=("a", "b", "c", "d", "e", "f"))},
          lambda r: r.sampling.stop),
    _set("logprobs", "logprobs", 3),
    _set("several answers (n)", "choices", 2),
    Probe("answer in JSON", {"response_format": ResponseFormat("json")},
          lambda r: r.response_format and r.response_format.kind),
    Probe("answer by a schema", {"response_format": ResponseFormat("schema", "answer", None, _SCHEMA)},
          lambda r: r.response_format and r.response_format.schema),
    _set("verbosity", "verbosity", "low"),
    _set("modalities", "modalities", ("text", "audio")),
    Probe("cache mark", {"messages": (Message("user", (Text("Hello", cache=CacheHint(300)),)),)}, _of(Text, "cache")),
    Probe("cache key", {"caching": Caching(key="k")}, lambda r: r.caching and r.caching.key),
    _set("metadata", "metadata", {"a": "b"}),
    _set("user", "user", "u_1"),
    _set("service tier", "service_tier", "flex"),
    _set("stored answer", "store", True),
    _set("earlier answer, by its id", "previous", "resp_1"),
)  # fmt: skip


def _answered(name: str, look: Callable[[Any], Any], *parts: Part, finish: str = "stop", **more: Any) -> Probe:
    choice = Choice(0, parts or (Text("Hello"),), finish)  # type: ignore[arg-type]  # a literal, by its name
    return Probe(name, {"choices": (choice,), **more}, look, answer=True)


def _finished(name: str, finish: str) -> Probe:
    return _answered(name, lambda a: a.choices[0].finish == finish, finish=finish)


def _spent(name: str, field: str) -> Probe:
    usage = msgspec.structs.replace(Usage(30, 20, 50), **{field: 10})
    return _answered(name, lambda a: a.usage and getattr(a.usage, field), usage=usage)


_CITED = Text("Hello", (Citation(url=_PAGE, title="A", start=0, end=5),))
_LIKELY = Text("Hello", logprobs=(TokenLogprob("Hello", -0.5, tuple(b"Hello"), (TokenLogprob("Hello", -0.5),)),))

ANSWERS: tuple[Probe, ...] = (
    _answered("text", _of(Text, "text"), Text("Hello")),
    _answered("citation of a page", lambda a: [c.url for p in _parts(a) if isinstance(p, Text) for c in p.citations],
              _CITED),
    _answered("log-probabilities", lambda a: [t.token for p in _parts(a) if isinstance(p, Text) for t in p.logprobs],
              _LIKELY),
    _answered("tool call", _of(ToolCall, "name", "arguments"), _CALL, finish="tool_calls"),
    _answered("tool call, its id", _of(ToolCall, "id"), _CALL, finish="tool_calls"),
    _answered("text before a tool call", _of(Text, "text"), Text("I will look."), _CALL, finish="tool_calls"),
    _answered("call of a tool that takes plain text", _of(ToolCall, "kind"),
              ToolCall("call_1", "run", "ls", "custom"), finish="tool_calls"),
    _answered("tool call whose arguments are no JSON", _of(ToolCall, "arguments"), ToolCall("call_1", "f", '{"a":'),
              finish="tool_calls"),
    _answered("reasoning", _of(Reasoning, "text"), Reasoning("Hm."), Text("Hello")),
    _answered("reasoning, signed", _of(Reasoning, "signature"), Reasoning("Hm.", signature="c2ln"), Text("Hello")),
    _answered("reasoning, sealed", _of(Reasoning, "sealed"), Reasoning(sealed="c2ln"), Text("Hello")),
    _answered("refusal", _of(Refusal, "text"), Refusal("No.")),
    _answered("image", _of(Image), Text("Hello"), Image(_PNG)),
    _answered("sound", _of(Audio, "transcript"), Audio(_WAV, "wav", "Hello", "audio_1", 1_700_000_000)),
    Probe("several answers", {"choices": (Choice(0, (Text("Hello"),), "stop"), Choice(1, (Text("Hi"),), "stop"))},
          lambda a: len(a.choices) == 2, answer=True),
    _finished("finish: length", "length"),
    _finished("finish: filtered", "filtered"),
    _finished("finish: refusal", "refusal"),
    _finished("finish: paused", "paused"),
    _finished("finish: error", "error"),
    _spent("usage: read from the cache", "cached_read"),
    _spent("usage: written to the cache", "cached_write"),
    _spent("usage: reasoning", "reasoning"),
    _spent("usage: sound", "audio_output"),
    Probe("service tier", {"service_tier": "priority"}, lambda a: a.service_tier, answer=True),
    Probe("id of the answer", {"id": "answer_2"}, lambda a: a.id, {"id": ""}, answer=True),
    Probe("time of the answer", {"created": 1_700_000_000}, lambda a: a.created, {"created": None}, answer=True),
)  # fmt: skip
