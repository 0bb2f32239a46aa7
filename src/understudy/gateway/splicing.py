"""Going on with a stream behind commit: the client has the beginning of an answer, and its provider has failed.

`Splice` is the state of one exchange that goes on: what was said, and the client's stream, which further attempts write
to. An attempt gets the client's request in canonical form with what was said so far, and its events are joined to that
stream: one start, one end, rising indices. `resilience/splice.py` decides what is possible and finds the seam. The last
event says where the seams are (`understudy.continued`); so does the record of the exchange.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from understudy import clock, dialects
from understudy.canon import (
    Delta,
    Ended,
    Event,
    Extras,
    Failed,
    Fault,
    Finished,
    Loss,
    PartEnded,
    PartStarted,
    Ping,
    Reasoning,
    Text,
    Usage,
    Used,
)
from understudy.dialects import openai_responses
from understudy.dialects.bedrock_converse.framing import FrameDecoder, encode_frame
from understudy.dialects.watch import says_something
from understudy.dialects.wire import Malformed, dump, foreign, parse
from understudy.gateway import surface, translate
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange, Failure
from understudy.gateway.routing import Link, Target
from understudy.providers.continuing import handed_over
from understudy.resilience import classify, splice
from understudy.upstream import Response

_SEQUENCE = re.compile(rb'"sequence_number":\s*(\d+)')
_MATTERS_NOT = "reasoning of the model that went on with a started answer"


class Splice:
    """An answer that has begun and is to go on. `way` is the next attempt's; `seams` are those that held."""

    def __init__(self, exchange: Exchange, said: splice.Said, encoder: dialects.StreamEncoder, cause: Fault) -> None:
        self.said = said
        self.encoder = encoder
        self.seams: list[dict[str, Any]] = []
        self.way: splice.Way = "replay"
        self._tried: set[tuple[str, splice.Way]] = set()
        self._instructs = exchange.route.mid_stream == "instruct"
        self._cause = cause.kind
        self._from = exchange.attempts[-1].target

    def left(self, target: Target) -> list[splice.Way]:
        """The ways that have not been tried at `target`."""
        possible = splice.ways(self.said, prefills=target.prefills, instructs=self._instructs)
        return [way for way in possible if (target.name, way) not in self._tried]

    def use(self, target: Target) -> bool:
        """Choose the way of the next attempt, at `target`; False if it has none left."""
        left = self.left(target)
        if left:
            self.way = left[0]
            self._tried.add((target.name, self.way))
        return bool(left)

    def hold(self, target: Target, at: int) -> None:
        """The client has its first words from `target`, behind `at` characters of text."""
        self.seams.append({"at": at, "from": self._from, "to": target.name, "how": self.way, "fault": self._cause})

    def broke(self, target: Target, cause: Fault) -> None:
        """`target` went on for a while, and then failed as well."""
        if self.seams and self.seams[-1]["to"] == target.name:
            self._from, self._cause = target.name, cause.kind

    def again(self, target: Target) -> None:
        """The latest attempt failed for a reason that has nothing to do with the way: it may be used once more."""
        self._tried.discard((target.name, self.way))


def begin(exchange: Exchange, cause: Fault) -> Splice | None:
    """What is needed to go on with the answer that `cause` has just broken off; None if it must not, or cannot."""
    trail, call = exchange.trail, exchange.call
    if trail is None or not call.stream:
        return None
    try:
        request = call.request()
    except Malformed:
        return None
    said = trail.fold()
    if splice.obstacle(request, said) is not None:
        return None
    encoder = exchange.encoder
    if encoder is None:
        encoder = exchange.encoder = _resumed(exchange, said, trail.last)
    return Splice(exchange, said, encoder, cause)


def _resumed(exchange: Exchange, said: splice.Said, last: bytes) -> dialects.StreamEncoder:
    """A writer of the client's stream that stands where the bytes passed on so far have left off."""
    encoder = surface.stream_encoder(exchange.call.door, exchange.call.request())
    for event in said.events:
        encoder.encode(event)
        if isinstance(event, PartStarted):
            if words := "".join(said.grown[event.index]):
                encoder.encode(Delta(0, event.index, words))
            if event.index != said.open:
                encoder.encode(PartEnded(0, event.index))
    numbers = _SEQUENCE.findall(last)
    if isinstance(encoder, openai_responses.StreamEncoder) and numbers:
        encoder.sequence = int(numbers[-1]) + 1
    return encoder


async def body_for(target: Target, exchange: Exchange) -> bytes:
    """The request that makes `target` go on. Raises Malformed, StrictError."""
    state = exchange.splice
    assert state is not None
    said, way = state.said.text, state.way
    body = await translate.body_for(target, exchange, lambda request: splice.continued(request, said, way))
    how = target.provider.continues
    if way == "prefill" and how is not None and target.provider.dialect == surface.CHAT:
        body = handed_over(body, how)
    return body


def link_to(target: Target, state: Splice | None) -> Link:
    """How to reach `target`: some take a started answer at another place than a call."""
    elsewhere = target.provider.continues_link if state is not None and state.way == "prefill" else None
    link = elsewhere or target.link
    assert link is not None  # an engine has started by now
    return link


async def stream(response: Response, target: Target, exchange: Exchange, client: Client) -> Failure | None:
    """Join a target's stream to what the client has. Raises TransportError."""
    state = exchange.splice
    assert state is not None
    name, attempt = target.provider.dialect, exchange.attempts[-1]
    decoder = dialects.get(name).StreamDecoder()
    joint = _Joint(state, attempt.losses, name, exchange.call.door.dialect)
    encoder = state.encoder
    begun = len(state.said.text)
    while True:
        events = await translate.next_events(response, decoder)
        last = events.pop() if events and isinstance(events[-1], (Ended, Failed)) else None
        if any(map(says_something, events)):
            response.progressed()
        translate.note(attempt, events)
        try:
            joined = joint.join(events)
        except splice.MismatchError as error:
            return Failure(Fault("not_continued", message=str(error), phase="stream"))
        out = b"".join([encoder.encode(event) for event in joined])
        state.said.note_all(joined)
        if out:
            if attempt.first_content is None:
                attempt.first_content = clock.monotonic()
                state.hold(target, begun)
            await client.write(out)
        if isinstance(last, Failed):
            return Failure(classify(last.fault, name))
        if last is not None:
            if attempt.first_content is None:
                if state.way != "replay":  # nothing to add, or nothing said: a replay can tell, this cannot
                    return Failure(Fault("not_continued", message="The continuation was empty.", phase="stream"))
                state.hold(target, begun)  # the very end had been sent: only the finish is new
            pieces = [encoder.encode(event) for event in (*joint.finish(), last)]
            await client.end(marked(pieces, exchange.call.door.dialect, {"continued": state.seams}))
            response.release()
            return None


class _Joint:
    """A continuation's events as events of the client's stream.

    Its first text is more of the open text; reasoning is left out, since an answer does not turn to thinking in its
    middle. What finishes is held until the end is certain.
    """

    def __init__(self, state: Splice, losses: list[Loss], target: str, client: str) -> None:
        self._target, self._client = target, client  # their dialects
        self._seam = splice.Seam(state.said.text, state.way)
        self._said = state.said
        self._losses = losses
        self._places: dict[int, int | None] = {}  # None: left out
        self._first: int | None = None
        self._finish: list[Event] = []

    def join(self, events: list[Event]) -> list[Event]:
        """Raises MismatchError."""
        out: list[Event] = []
        for event in events:
            if isinstance(event, Delta):
                self._delta(event, out)
            elif isinstance(event, PartStarted):
                self._part(event, out)
            elif isinstance(event, PartEnded):
                self._part_ended(event, out)
            elif isinstance(event, Finished) and event.choice == 0:
                self._settle(out)
                self._finish.append(Finished(0, event.finish, self._word(event)))
            elif isinstance(event, Used):
                # Figures of this attempt alone: what the first one used was never told.
                usage = msgspec.structs.replace(event.usage, extra=Usage().extra)
                self._finish.append(Used(usage))
            elif isinstance(event, Extras):
                self._losses += foreign(event.fields, "")
            elif isinstance(event, Ping):
                out.append(event)
        return out

    def _word(self, event: Finished) -> str | None:
        """The provider's own word, where the client knows it. Ollama's clients get none from the finish alone."""
        if self._target == self._client:
            return event.native_reason
        return event.finish if self._client == surface.OLLAMA and event.finish in ("stop", "length") else None

    def finish(self) -> list[Event]:
        """What comes before the end."""
        closing: list[Event] = [] if self._said.open is None else [PartEnded(0, self._said.open)]
        return closing + self._finish

    def _part(self, event: PartStarted, out: list[Event]) -> None:
        if event.choice:
            return
        if isinstance(event.part, Reasoning):
            self._places[event.index] = None
            self._losses.append(Loss(f"choices[0].parts[{event.index}]", _MATTERS_NOT))
        elif isinstance(event.part, Text) and self._first is None:
            self._first = event.index
            self._places[event.index] = self._said.open  # None: opened with its first words
            self._grow(event.part.text, out)
        else:
            self._settle(out)
            if self._said.open is not None:
                out.append(PartEnded(0, self._said.open))
                self._said.open = None
            place = self._places[event.index] = self._next(out)
            out.append(PartStarted(0, place, event.part))

    def _next(self, out: list[Event]) -> int:
        fresh = [event.index + 1 for event in out if isinstance(event, PartStarted)]
        return max([self._said.parts, *fresh])

    def _delta(self, event: Delta, out: list[Event]) -> None:
        if event.choice:
            return
        if event.index == self._first:
            if event.citations:
                self._losses.append(Loss("choices[0].parts[0].citations", "behind a seam their places are unknown"))
            self._grow(event.text, out)
            return
        place = self._places.get(event.index)
        if place is not None:
            out.append(msgspec.structs.replace(event, index=place))

    def _grow(self, text: str, out: list[Event]) -> None:
        fresh = self._seam.take(text)
        if fresh:
            self._say(fresh, out)

    def _say(self, text: str, out: list[Event]) -> None:
        assert self._first is not None
        place = self._places[self._first]
        if place is None:
            place = self._places[self._first] = self._next(out)
            out.append(PartStarted(0, place, Text("")))
        out.append(Delta(0, place, text))

    def _settle(self, out: list[Event]) -> None:
        """No more words of the first text: those held are said."""
        if self._first is None:
            self._first = -1  # it has no text: whatever was sent must have been all
            self._places[-1] = self._said.open
        if rest := self._seam.end():
            self._say(rest, out)

    def _part_ended(self, event: PartEnded, out: list[Event]) -> None:
        if event.choice:
            return
        if event.index == self._first:
            self._settle(out)
        place = self._places.get(event.index)
        if place is not None:
            out.append(PartEnded(0, place))


def marked(pieces: list[bytes], dialect: str, note: dict[str, Any]) -> bytes:
    """A stream's last pieces with `understudy: note` in the last event that is a JSON object."""
    member = b'"understudy":' + dump(note)
    for at in range(len(pieces) - 1, -1, -1):
        piece = pieces[at]
        if dialect == surface.BEDROCK:
            changed = _marked_frames(piece, member)
        else:
            start = piece.rfind(b"data: {") + 6 if b"data: {" in piece else piece.find(b"{")
            if start < 0 or (
                dialect != surface.OLLAMA and not piece.lstrip(b"[,\n").startswith((b"{", b"data", b"event"))
            ):
                continue
            changed = _with_member(piece, start, member)
        if changed is not None:
            pieces[at] = changed
            break
    return b"".join(pieces)


def _with_member(piece: bytes, start: int, member: bytes) -> bytes:
    """`piece` with `member` in the object that begins at `start`."""
    comma = b"" if piece[start + 1 : start + 2] == b"}" else b","
    return b"%b%b%b%b" % (piece[: start + 1], member, comma, piece[start + 1 :])


def _marked_frames(piece: bytes, member: bytes) -> bytes | None:
    frames = FrameDecoder().feed(piece)
    if not frames or not isinstance(parse(frames[-1][1]), dict):
        return None
    headers, payload = frames[-1]
    return b"".join(encode_frame(*frame) for frame in frames[:-1]) + encode_frame(
        headers, _with_member(payload, payload.index(b"{"), member)
    )
