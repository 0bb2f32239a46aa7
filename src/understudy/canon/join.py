"""The whole answer that a stream's events add up to."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from understudy.canon.answer import (
    Answer,
    Choice,
    Delta,
    Event,
    Failed,
    Finished,
    PartStarted,
    Started,
    Usage,
    Used,
)
from understudy.canon.request import Audio, Inline, Part, Reasoning, Refusal, Text, ToolCall


class UnfinishedError(ValueError):
    """The events are no whole answer. `str()` says what is missing."""


class _Growing:
    """A part, and what has come to it since."""

    __slots__ = ("deltas", "part")

    def __init__(self, part: Part) -> None:
        self.part = part
        self.deltas: list[Delta] = []

    def whole(self) -> Part:
        part, deltas = self.part, self.deltas
        if not deltas:
            return part
        change = msgspec.structs.replace
        text = "".join([delta.text for delta in deltas])
        if isinstance(part, Text):
            citations = tuple(one for delta in deltas for one in delta.citations)
            logprobs = tuple(one for delta in deltas for one in delta.logprobs)
            signature = _last(part.signature, [delta.signature for delta in deltas])
            return change(
                part,
                text=part.text + text,
                citations=part.citations + citations,
                logprobs=part.logprobs + logprobs,
                signature=signature,
            )
        if isinstance(part, Refusal):
            return change(part, text=part.text + text)
        if isinstance(part, ToolCall):
            signature = _last(part.signature, [delta.signature for delta in deltas])
            return change(part, arguments=part.arguments + text, signature=signature)
        if isinstance(part, Reasoning):
            signature = _last(part.signature, [delta.signature for delta in deltas])
            sealed = _last(part.sealed, [delta.sealed for delta in deltas])
            if part.summary is not None:
                return change(part, summary=part.summary + text, signature=signature, sealed=sealed)
            return change(part, text=part.text + text, signature=signature, sealed=sealed)
        if isinstance(part, Audio):
            data = (part.source.data if isinstance(part.source, Inline) else "") + "".join(
                [delta.data for delta in deltas]
            )
            source = Inline(data) if data else None
            return change(part, source=source, transcript=(part.transcript or "") + text)
        return part


def join(events: Iterable[Event]) -> Answer:
    """The answer. Raises UnfinishedError where the stream failed, or ended before every choice had finished."""
    start: Started | None = None
    parts: dict[int, dict[int, _Growing]] = {}
    finished: dict[int, Finished] = {}
    usage: Usage | None = None
    for event in events:
        if isinstance(event, Delta):
            growing = parts.get(event.choice, {}).get(event.index)
            if growing is None:
                raise UnfinishedError(f"part {event.index} of choice {event.choice} grows before it begins")
            growing.deltas.append(event)
        elif isinstance(event, PartStarted):
            parts.setdefault(event.choice, {})[event.index] = _Growing(event.part)
        elif isinstance(event, Finished):
            finished[event.choice] = event
        elif isinstance(event, Used):
            usage = event.usage
        elif isinstance(event, Started):
            start = event
        elif isinstance(event, Failed):
            raise UnfinishedError(f"the stream failed: {event.fault.message}")
    if start is None or not finished or parts.keys() - finished.keys():
        raise UnfinishedError("the stream ended before the answer was whole")
    choices = tuple(
        Choice(
            index,
            tuple(growing.whole() for _, growing in sorted(parts.get(index, {}).items())),
            end.finish,
            end.native_reason,
        )
        for index, end in sorted(finished.items())
    )
    return Answer(start.dialect, start.id, start.model, choices, usage, start.created, start.service_tier)


def _last(before: str | None, later: list[str | None]) -> str | None:
    return next((one for one in reversed(later) if one is not None), before)
