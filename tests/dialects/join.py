"""The answer that a stream's events add up to."""

from typing import Any

import msgspec

from understudy.canon import (
    Answer,
    Audio,
    Choice,
    Delta,
    Event,
    Finished,
    Inline,
    Part,
    PartEnded,
    PartStarted,
    Reasoning,
    Refusal,
    Started,
    Text,
    ToolCall,
    Used,
)


def grow(part: Part, delta: Delta) -> Part:
    change = msgspec.structs.replace
    match part:
        case Text():
            return change(
                part,
                text=part.text + delta.text,
                citations=part.citations + delta.citations,
                logprobs=part.logprobs + delta.logprobs,
            )
        case Refusal():
            return change(part, text=part.text + delta.text)
        case ToolCall():
            return change(part, arguments=part.arguments + delta.text)
        case Reasoning(summary=str(summary)):
            return change(part, summary=summary + delta.text, signature=delta.signature or part.signature)
        case Reasoning():
            return change(part, text=part.text + delta.text, signature=delta.signature or part.signature)
        case Audio(source=source):
            data = (source.data if isinstance(source, Inline) else "") + delta.data
            return change(part, source=Inline(data) if data else None, transcript=(part.transcript or "") + delta.text)
    raise AssertionError(part)


def join(events: list[Event]) -> Answer:
    start: Any = None
    parts: dict[int, dict[int, Part]] = {}
    finished: dict[int, Finished] = {}
    usage = None
    for event in events:
        match event:
            case Started():
                start = event
            case PartStarted():
                parts.setdefault(event.choice, {})[event.index] = event.part
            case Delta():
                parts[event.choice][event.index] = grow(parts[event.choice][event.index], event)
            case Finished():
                finished[event.choice] = event
            case Used():
                usage = event.usage
    choices = tuple(
        Choice(i, tuple(parts.get(i, {}).values()), end.finish, end.native_reason)
        for i, end in sorted(finished.items())
    )
    return Answer(start.dialect, start.id, start.model, choices, usage, start.created, start.service_tier)


def unjoin(answer: Answer) -> list[Event]:
    """A stream that gives `answer`: every text in two pieces."""
    events: list[Event] = [Started(answer.dialect, answer.id, answer.model, answer.created, answer.service_tier)]
    for choice in answer.choices:
        for i, part in enumerate(choice.parts):
            events += pieces(choice.index, i, part)
        events.append(Finished(choice.index, choice.finish or "stop", choice.native_reason))
    return events if answer.usage is None else [*events, Used(answer.usage)]


def pieces(choice: int, index: int, part: Part) -> list[Event]:
    change = msgspec.structs.replace
    deltas: list[Delta] = []
    match part:
        case Text(text=text):
            part = change(part, text="", citations=(), logprobs=())
            deltas = [Delta(choice, index, text[:1]), Delta(choice, index, text[1:])]
        case Refusal(text=text):
            part = change(part, text="")
            deltas = [Delta(choice, index, text)]
        case ToolCall(arguments=text):
            part = change(part, arguments="")
            deltas = [Delta(choice, index, text[:2]), Delta(choice, index, text[2:])]
        case Reasoning(text=text, summary=summary, signature=signature):
            part = change(part, text="", summary=None if summary is None else "", signature=None)
            deltas = [Delta(choice, index, text or summary or ""), Delta(choice, index, signature=signature)]
    said = [delta for delta in deltas if delta.text or delta.signature]
    return [PartStarted(choice, index, part), *said, PartEnded(choice, index)]
