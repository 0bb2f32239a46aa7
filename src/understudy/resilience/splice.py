"""Going on with an answer that broke off after its beginning had gone to the client. Pure.

What has been sent cannot be taken back, so another attempt has to continue exactly there, and the client must read
every word once. Three ways, in this order: `prefill` (the model gets its own words as a started turn and goes on),
`replay` (the call is made again, and counts only if the new answer begins with the very words that were sent),
`instruct` (a user turn asks to go on, which not every owner wants in a prompt). Only plain text can be continued: half
a tool call, an answer bound to a schema, or reasoning that one provider has signed cannot be finished by another.

What each way needs is from the providers' documents (Anthropic, "Prefill Claude's response" and "Recovering from
errors"; Mistral, DeepSeek and Kimi on prefixes); the seam's rules are our own.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from understudy.canon import Delta, Event, Finished, Message, PartEnded, PartStarted, Request, Started, Text

Way = Literal["prefill", "replay", "instruct"]

RESTART = 16
"""Characters that a continuation must share with the answer's own beginning to count as the same answer begun anew."""

WINDOW = 400
"""Characters at the end of what was sent that a continuation may repeat."""

OVERLAP = {"prefill": 24, "instruct": 8}
"""Characters that a continuation must repeat at the seam for it to be no chance. A model that goes on with its own
turn seldom repeats, one that is asked to go on often does."""

_QUOTED = 120
"""Characters of the end that an instruction quotes."""

_CHARACTERS = 4
"""Per token, roughly: OpenAI's rule of thumb for English."""

_LEAST = 16
"""Tokens that a continuation may always have."""


class MismatchError(Exception):
    """What came does not continue what was sent."""


class Said:
    """What a client has been sent of an answer, as far as another may have to go on from it.

    `plain` is False once anything but text has begun. `open` is the index of the text part that is still growing.
    """

    __slots__ = ("events", "finished", "grown", "open", "parts", "plain")

    def __init__(self) -> None:
        self.events: list[Started | PartStarted] = []
        self.grown: dict[int, list[str]] = {}  # the words of each part, in the order of the parts
        self.plain = True
        self.finished = False
        self.open: int | None = None
        self.parts = 0

    @property
    def text(self) -> str:
        """Every word so far."""
        return "".join(["".join(pieces) for pieces in self.grown.values()])

    def note_all(self, events: Iterable[Event]) -> None:
        """Take notice of events that have been sent."""
        for event in events:
            self._note(event)

    def _note(self, event: Event) -> None:
        if isinstance(event, Delta):
            pieces = self.grown.get(event.index)
            if pieces is None or event.choice or event.citations or event.data or event.sealed:
                self.plain = False
            else:
                pieces.append(event.text)
        elif isinstance(event, PartStarted):
            self.parts = max(self.parts, event.index + 1)
            if event.choice or not isinstance(event.part, Text) or event.part.citations:
                self.plain = False
            else:
                self.open = event.index
                self.events.append(event)
                self.grown[event.index] = [event.part.text]
        elif isinstance(event, PartEnded):
            if event.index == self.open:
                self.open = None
        elif isinstance(event, Started):
            self.events.append(event)
        elif isinstance(event, Finished):
            self.finished = True


def obstacle(request: Request, said: Said) -> str | None:
    """Why this answer cannot be continued by anyone; None if it can."""
    if not said.plain:
        return "more than plain text had been sent"
    if said.finished:
        return "the answer had finished"
    if (request.choices or 1) > 1:
        return "several answers were asked for"
    form = request.response_format
    if form is not None and form.kind != "text":
        return "the answer is bound to a format"
    return None


def ways(said: Said, *, prefills: bool, instructs: bool) -> tuple[Way, ...]:
    """The ways to go on at a target, in the order to try. Nothing said yet is a call like the first."""
    if not said.text.strip():
        return ("replay",)
    found: list[Way] = ["replay"]
    if prefills:
        found.insert(0, "prefill")
    if instructs:
        found.append("instruct")
    return tuple(found)


def continued(request: Request, said: str, way: Way) -> Request:
    """The client's own request, changed so that the answer goes on behind `said`.

    Always made from the original: several hops do not add up. White space at the end is left out, since some models
    refuse a turn that ends with it; `Seam` knows.
    """
    if way == "replay":
        return request
    messages = list(request.messages)
    text = said.rstrip()
    if messages and messages[-1].role == "assistant":  # the client began the turn itself
        last = messages[-1]
        begun = "".join(part.text for part in last.parts if isinstance(part, Text))
        messages[-1] = msgspec.structs.replace(last, parts=(Text(begun + text),))
    else:
        messages.append(Message("assistant", (Text(text),)))
    if way == "instruct":
        messages.append(Message("user", (Text(_instruction(text)),)))
    sampling = request.sampling
    if sampling.max_tokens is not None:
        left = max(_LEAST, sampling.max_tokens - len(said) // _CHARACTERS)
        sampling = msgspec.structs.replace(sampling, max_tokens=min(sampling.max_tokens, left))
    reasoning = None if way == "prefill" else request.reasoning  # providers refuse a started turn while thinking is on
    return msgspec.structs.replace(request, messages=tuple(messages), sampling=sampling, reasoning=reasoning)


def _instruction(text: str) -> str:
    return (
        "Your previous response was interrupted and ended with:\n"
        f"{text[-_QUOTED:]}\n"
        "Continue exactly from there. Do not repeat anything and do not comment on the interruption."
    )


class Seam:
    """The words of a continuation, freed of what was sent before. Raises MismatchError when it is none.

    Words are held back until it is certain that they are new: usually a token or two.
    """

    __slots__ = ("_at", "_held", "_said", "_way", "joined")

    def __init__(self, said: str, way: Way) -> None:
        self._said = said
        self._way = way
        self._held = ""
        self._at = 0  # characters of `said` that a replay has repeated
        self.joined = False

    def take(self, text: str) -> str:
        """The new words in `text` and in what was held."""
        if self.joined or not text:
            return text
        if self._way == "replay":
            return self._repeat(text)
        self._held += text
        if self._undecided():
            return ""
        return self._join()

    def end(self) -> str:
        """The continuation's words are over: whatever was held."""
        if self.joined:
            return ""
        if self._way == "replay":
            if self._at < len(self._said):
                raise MismatchError("The answer ended before what was sent.")
            self.joined = True
            return ""
        return self._join()

    def _repeat(self, text: str) -> str:
        known = self._said[self._at : self._at + len(text)]
        if not text.startswith(known):
            raise MismatchError("The answer began with other words than those sent.")
        self._at += len(known)
        if self._at == len(self._said):
            self.joined = True
        return text[len(known) :]

    def _undecided(self) -> bool:
        """Whether what is held may still turn out to be a repetition."""
        held = self._held
        if not held.strip() or (len(held) < len(self._said) and self._said.startswith(held.lstrip())):
            return True
        return len(held) < WINDOW and held in self._said[-WINDOW:]

    def _join(self) -> str:
        self.joined = True
        held, said = self._held, self._said
        again = held.lstrip()
        same = _common(again, said)
        if same == len(said) and same >= 4:  # the whole answer anew, which is as good as a continuation
            return again[same:]
        if same >= RESTART:
            raise MismatchError("The answer began again, with other words.")
        tail = said[-WINDOW:]
        for length in range(min(len(held), len(tail)), OVERLAP[self._way] - 1, -1):
            if tail.endswith(held[:length]):
                return held[length:]
        space = said[len(said.rstrip()) :]
        held = held[_common(held, space) :]
        # Asked to go on, models begin with a word; going on with their own turn, with what the next token is.
        apart = self._way == "instruct" and said[-1:].isalnum() and held[:1].isalnum()
        return f" {held}" if apart else held


def _common(one: str, other: str) -> int:
    """How many characters both begin with."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
