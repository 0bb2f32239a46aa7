"""What of a request or an answer any dialect may be expected to carry, and which differences no loss explains.

A fact has a path, a label, and a value. White space between texts is no fact: dialects join and split texts. Ids are
no facts either, but that a result belongs to its call is.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any, NamedTuple

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    File,
    Image,
    Inline,
    Loss,
    Part,
    Reasoning,
    ReasoningEffort,
    Refusal,
    Request,
    Source,
    Stored,
    Text,
    ToolCall,
    ToolChoice,
    ToolResult,
    Url,
)

SETTINGS = (
    "parallel_tool_calls",
    "verbosity",
    "logprobs",
    "choices",
    "metadata",
    "user",
    "service_tier",
    "store",
    "previous",
)
DEFAULTS: dict[str, tuple[Any, ...]] = {
    "parallel_tool_calls": (True,),
    "choices": (1,),
    "service_tier": ("auto", "default", "standard"),
    "store": (False,),
}
"""What holds where nothing is said, so that it is no loss to say nothing."""

DETAILS = ("detail", "filename", "failed", "signature", "sealed", "cache")
"""Attributes of a part. They may go with its source, if that is lost."""

UNENFORCED = ("default", "example", "examples", "title", "description", "$schema", "$id", "propertyOrdering")
"""Keywords of a schema that hold an answer to nothing."""

SPENT = ("input", "output", "cached_read", "cached_write", "reasoning", "audio_input", "audio_output")

SPOKEN = ("messages", "choices", "response_format", "tools", "tool_choice")
"""Fields that may become words, when that is announced."""


class Fact(NamedTuple):
    path: str
    label: str
    value: str


class Words(NamedTuple):
    """A text: compared with all its role says, since texts may be joined and split."""

    path: str
    role: str
    text: str


def squeeze(text: str) -> str:
    return "".join(text.split())


def said(value: Any) -> str:
    """A JSON value as text that does not depend on the order of keys."""
    return json.dumps(plain(value), sort_keys=True)


def plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def arguments(part: ToolCall) -> str:
    try:
        return said(json.loads(part.arguments or "{}"))
    except ValueError:
        return part.arguments


def place(source: Source) -> str:
    """Whether it is an image or a file is told by the media type, which not everybody sends."""
    match source:
        case Inline(data=data):
            return data
        case Url(url=url):
            return url
        case Stored(id=identity):
            return identity


def part_facts(part: Part, path: str, role: str, calls: dict[str, str]) -> Iterator[Fact | Words]:
    match part:
        case Text(text=text):
            yield Words(path, role, squeeze(text))
        case Refusal(text=text):
            yield Words(path, "refusal" if role == "answer" else role, squeeze(text))
        case ToolCall(kind="hosted", name=name):
            yield Fact(path, "hosted call", name)
        case ToolCall(name=name):
            calls[part.id] = name
            yield Fact(path, "call", f"{name} {arguments(part)}")
        case ToolResult():
            yield Fact(path, "result of", calls.get(part.call_id) or part.name or next(iter(calls.values()), "?"))
            for i, inner in enumerate(part.parts):
                yield from part_facts(inner, f"{path}.parts[{i}]", "result", calls)
        case Image(source=source) | File(source=source) | Audio(source=source) if source is not None:
            yield Fact(path + ".source", type(source).__name__.lower(), place(source))
        case Audio():
            yield Words(path, role, squeeze(part.transcript or ""))
        case Reasoning():
            yield Words(path, "reasoning", squeeze(part.text or part.summary or ""))
        case _:
            yield Fact(path, "part", type(part).__name__)


def request_facts(request: Request) -> Iterator[Fact | Words]:
    calls: dict[str, str] = {}
    for i, message in enumerate(request.messages):
        role = "system" if message.role == "developer" else message.role
        for j, part in enumerate(message.parts):
            yield from part_facts(part, f"messages[{i}].parts[{j}]", role, calls)
    for i, tool in enumerate(request.tools):
        yield Fact(f"tools[{i}]", f"{tool.kind} tool", tool.name)
        if tool.kind == "function":
            yield Fact(f"tools[{i}].description", f"description of {tool.name}", squeeze(tool.description or ""))
            yield Fact(f"tools[{i}].parameters", f"parameters of {tool.name}", schema_of(tool.parameters))
    yield from setting_facts(request)
    yield from detail_facts(request)


def detail_facts(request: Request) -> Iterator[Fact]:
    """What hangs on something else, and the fields that only the client's dialect knows."""
    yield from unknown_fields(request, "")
    for i, message in enumerate(request.messages):
        path = f"messages[{i}]."
        yield from unknown_fields(message, path)
        if message.name:
            yield Fact(path + "name", "name", message.name)
        for j, part in enumerate(message.parts):
            yield from unknown_fields(part, f"{path}parts[{j}].")
            for name in DETAILS:
                if getattr(part, name, None):
                    yield Fact(f"{path}parts[{j}].{name}", name, str(getattr(part, name)))
    for i, tool in enumerate(request.tools):
        yield from unknown_fields(tool, f"tools[{i}].")
        if tool.grammar:
            yield Fact(f"tools[{i}].grammar", "grammar", said(tool.grammar))
    for name in ("tool_choice", "response_format", "reasoning"):
        yield from unknown_fields(getattr(request, name), name + ".")
    for name in ("key", "retention"):
        if getattr(request.caching, name, None):
            yield Fact(f"caching.{name}", name, str(getattr(request.caching, name)))


def unknown_fields(holder: Any, path: str) -> Iterator[Fact]:
    for key in getattr(holder, "extra", ()):
        if not key.startswith("~"):
            yield Fact(path + key, "unknown", key)


def setting_facts(request: Request) -> Iterator[Fact]:
    for name in request.sampling.__struct_fields__:
        value = getattr(request.sampling, name)
        if value not in (None, (), {}) and not (name == "max_tokens" and value < 0):  # below zero: no limit
            yield Fact(f"sampling.{name}", name, said(value))
    for name in SETTINGS:
        value = getattr(request, name)
        if value not in (None, {}, *DEFAULTS.get(name, ())) and (request.tools or name != "parallel_tool_calls"):
            yield Fact(name, name, said(value))
    if request.tool_choice is not None and request.tools:
        yield from choosing_facts(request.tool_choice, {tool.name for tool in request.tools})
    if request.response_format is not None and request.response_format.kind != "text":
        yield Fact("response_format", "format", request.response_format.kind)
        if request.response_format.schema is not None:
            yield Fact("response_format.schema", "schema", schema_of(request.response_format.schema))
    if request.reasoning is not None:
        yield from thinking_facts(request.reasoning)


def choosing_facts(choice: ToolChoice, tools: set[str]) -> Iterator[Fact]:
    """Auto is what holds anyway; to name all the tools that there are is to name none."""
    names = () if set(choice.names) >= tools else choice.names
    if choice.mode != "auto" or names:
        yield Fact("tool_choice", "tool choice", f"{choice.mode} {names}")


def thinking_facts(reasoning: ReasoningEffort) -> Iterator[Fact]:
    """A level or a budget above zero says that it is on, `none` or zero that it is off."""
    off = reasoning.enabled is False or reasoning.effort == "none" or reasoning.budget == 0
    if off or reasoning.enabled or reasoning.effort or reasoning.budget:
        yield Fact("reasoning.enabled", "reasoning", "off" if off else "on")
    if not off:
        if reasoning.effort is not None:
            yield Fact("reasoning.effort", "reasoning effort", reasoning.effort)
        if reasoning.budget is not None:
            yield Fact("reasoning.budget", "reasoning budget", said(reasoning.budget))


def schema_of(schema: dict[str, Any] | None) -> str:
    """What a schema allows. One without properties and none at all mean the same: a tool that takes nothing."""
    return said(allowed(schema or {"type": "object"}))


def allowed(schema: Any) -> Any:
    """A schema without its words and in one spelling. An object is taken as closed: who lists some wants no others."""
    if isinstance(schema, list):
        return [allowed(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: allowed(value) for key, value in schema.items() if key not in UNENFORCED and value not in ({}, [])}
    if out.get("additionalProperties") is False:
        del out["additionalProperties"]
    for old, new in (("definitions", "$defs"), ("oneOf", "anyOf")):
        if old in out:
            out[new] = out.pop(old)
    if "const" in out:
        out["enum"] = [out.pop("const")]
    if isinstance(out.get("$ref"), str):
        return {
            "$ref": out["$ref"].replace("#/definitions/", "#/$defs/"),
            **{k: out[k] for k in ("$defs",) if k in out},
        }
    kind = out.pop("type", None)
    if isinstance(kind, list):
        return {"anyOf": [allowed({**out, "type": one} if one != "null" else {"type": "null"}) for one in kind]}
    return out if kind is None or "enum" in out or "anyOf" in out else {**out, "type": kind}


def choice_facts(choice: Choice) -> Iterator[Fact | Words]:
    path, calls = f"choices[{choice.index}]", dict[str, str]()
    for j, part in enumerate(choice.parts):
        yield from part_facts(part, f"{path}.parts[{j}]", "answer", calls)
        if isinstance(part, Text):
            if part.citations:
                yield Fact(f"{path}.parts[{j}].citations", "citations", str(len(part.citations)))
            if part.logprobs:
                yield Fact(f"{path}.parts[{j}].logprobs", "logprobs", str(len(part.logprobs)))
    if choice.finish not in (None, "unknown"):
        # OpenAI says stop where a call was asked for by name; that there are calls is what clients look at.
        finish = "tool_calls" if calls and choice.finish == "stop" else choice.finish
        yield Fact(f"{path}.finish", "finish", str(finish))


def answer_facts(answer: Answer) -> Iterator[Fact | Words]:
    for choice in answer.choices:
        yield from choice_facts(choice)
    for name in SPENT:
        value = getattr(answer.usage, name, None)
        if value:
            yield Fact(f"usage.{name}", name, str(value))


# --- differences ------------------------------------------------------------------------------------------------------


def covered(path: str, losses: tuple[Loss, ...]) -> bool:
    return any(within(path, loss.field) or within(loss.field, path) for loss in losses)


def unneeded(fact: Fact, before: list[Fact | Words], losses: tuple[Loss, ...]) -> bool:
    """What need not arrive since something else that is announced did not: a choice among tools that are not there."""
    part, _, name = fact.path.rpartition(".")
    if name in DETAILS and covered(part + ".source", losses):
        return True
    if fact.path == "tool_choice" and any(loss.field.startswith("tools") for loss in losses):
        return True
    if fact.label == "finish" and fact.value == "tool_calls":  # which follows from the calls, or is lost with them
        return any(isinstance(f, Fact) and f.label == "call" and covered(f.path, losses) for f in before)
    none = any(isinstance(other, Fact) and other[1:] == ("tool choice", "none ()") for other in before)
    return none and fact.path.startswith("tool") and any(loss.field.startswith("tool") for loss in losses)


def kin(path: str, losses: tuple[Loss, ...]) -> bool:
    """Whether what came instead of something, in the same field of the whole, was announced."""
    first = re.split(r"[.\[]", path)[0]
    return any(loss.field.startswith(first) or (first == "tool_choice" and "tools" in loss.field) for loss in losses)


def within(path: str, outer: str) -> bool:
    return path == outer or (path.startswith(outer) and path[len(outer)] in ".[")


def compare_requests(before: Request, after: Request, losses: tuple[Loss, ...]) -> Iterator[str]:
    return differences(list(request_facts(before)), list(request_facts(after)), losses)


def compare_answers(before: Answer, after: Answer, losses: tuple[Loss, ...]) -> Iterator[str]:
    return differences(list(answer_facts(before)), list(answer_facts(after)), losses)


def differences(before: list[Fact | Words], after: list[Fact | Words], losses: tuple[Loss, ...]) -> Iterator[str]:
    there = Counter(fact[1:] for fact in after if isinstance(fact, Fact))
    for fact in before:
        if isinstance(fact, Fact):
            if there[fact[1:]]:
                there[fact[1:]] -= 1
            elif not covered(fact.path, losses) and not unneeded(fact, before, losses):
                yield f"{fact.path} is lost: {fact.label} {fact.value[:200]!r}; losses {brief(losses)}"
    for (label, value), count in there.items():
        known = [fact.path for fact in after if isinstance(fact, Fact) and fact[1:] == (label, value)]
        if count > 0 and label not in ("unknown", *DETAILS) and not kin(known[0], losses):
            yield f"{known[0]} is new: {label} {value[:200]!r}; losses {brief(losses)}"
    yield from differences_of_words(before, after, losses)


def differences_of_words(
    before: list[Fact | Words], after: list[Fact | Words], losses: tuple[Loss, ...]
) -> Iterator[str]:
    roles = dict.fromkeys(fact.role for fact in (*before, *after) if isinstance(fact, Words))
    for role in roles:
        whole = "".join(fact.text for fact in after if isinstance(fact, Words) and fact.role == role)
        at, rest = 0, len(whole)
        for fact in before:
            if not isinstance(fact, Words) or fact.role != role or not fact.text:
                continue
            found = whole.find(fact.text, at)
            if found >= 0:
                at, rest = found + len(fact.text), rest - len(fact.text)
            elif not covered(fact.path, losses):
                yield f"{fact.path} is lost: {role} {fact.text[:200]!r}; losses {brief(losses)}"
        if rest > 0 and not any(loss.field.startswith(SPOKEN) for loss in losses):
            yield f"{role} says more: {whole[:300]!r}; losses {brief(losses)}"


def brief(losses: tuple[Loss, ...]) -> list[str]:
    return [loss.field for loss in losses][:12]
