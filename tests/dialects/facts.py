"""What of a request or an answer any dialect may be expected to carry, and which differences no loss explains.

A fact has a path, a label, and a value. White space between texts is no fact: dialects join and split texts. Ids are no facts
either, but that a result belongs to its call is.
"""

import json
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
    Refusal,
    Request,
    Source,
    Stored,
    Text,
    ToolCall,
    ToolResult,
    Url,
)

SETTINGS = ("parallel_tool_calls", "verbosity", "logprobs", "choices", "metadata", "user", "service_tier", "store", "previous")
SPENT = ("input", "output", "cached_read", "cached_write", "reasoning", "audio_input", "audio_output")


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


def place(source: Source | None) -> str:
    match source:
        case Inline(data=data):
            return data
        case Url(url=url):
            return url
        case Stored(id=identity):
            return identity
    return ""


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
            yield Fact(path, "result of", calls.get(part.call_id) or part.name or "?")
            for i, inner in enumerate(part.parts):
                yield from part_facts(inner, f"{path}.parts[{i}]", "result", calls)
        case Image(source=source):
            yield Fact(path + ".source", "image", place(source))
        case File(source=source):
            yield Fact(path + ".source", "file", place(source))
        case Audio(source=source):
            yield Fact(path + ".source", "audio", place(source))
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
    for name in request.sampling.__struct_fields__:
        value = getattr(request.sampling, name)
        if value is not None and value not in ((), {}):
            yield Fact(f"sampling.{name}", name, said(value))
    for name in SETTINGS:
        value = getattr(request, name)
        if value is not None and value != {}:
            yield Fact(name, name, said(value))
    if request.tool_choice is not None and request.tools:
        yield Fact("tool_choice", "tool choice", f"{request.tool_choice.mode} {request.tool_choice.names}")
    if request.response_format is not None and request.response_format.kind != "text":
        yield Fact("response_format", "format", request.response_format.kind)
        if request.response_format.schema is not None:
            yield Fact("response_format.schema", "schema", said(request.response_format.schema))
    if request.reasoning is not None:
        for name in ("effort", "budget", "enabled"):
            if getattr(request.reasoning, name) is not None:
                yield Fact(f"reasoning.{name}", f"reasoning {name}", said(getattr(request.reasoning, name)))


def schema_of(parameters: dict[str, Any] | None) -> str:
    """A schema without properties and none at all mean the same: a tool that takes nothing."""
    if not parameters or {"type": "object"} == {k: v for k, v in parameters.items() if v not in ({}, [])}:
        return "nothing"
    return said(parameters)


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
        yield Fact(f"{path}.finish", "finish", str(choice.finish))


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
            elif not covered(fact.path, losses):
                yield f"{fact.path} is lost: {fact.label} {fact.value[:200]!r}; losses {brief(losses)}"
    labels = {fact.label for fact in before if isinstance(fact, Fact)}
    for (label, value), count in there.items():
        if count > 0 and label not in labels and not any(label.replace(" ", "_") in loss.field for loss in losses):
            known = [fact.path for fact in after if fact[1:] == (label, value)]
            if not covered(known[0], losses) and not (known[0].startswith("messages") and losses):
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
        if rest > 0 and not any(loss.field.startswith(("messages", "choices", "response_format", "tools", "tool_choice")) for loss in losses):
            yield f"{role} says more: {whole[:300]!r}; losses {brief(losses)}"


def brief(losses: tuple[Loss, ...]) -> list[str]:
    return [loss.field for loss in losses][:12]
