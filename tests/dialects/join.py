"""A whole answer taken apart again, as a stream would tell it."""

import msgspec

from understudy.canon import (
    Answer,
    Delta,
    Event,
    Finished,
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
