"""One attempt at a target that speaks another dialect than the client: through the canonical form, both ways.

The request is decoded once, whatever the number of targets that are tried, and encoded for each. A stream is translated
event by event: as many as arrive together go out together. What cannot be carried is a `Loss`, on the attempt's record
and in a header; a route with `strict` refuses instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import msgspec

from understudy import clock, dialects
from understudy.canon import (
    Answer,
    Ended,
    Event,
    Failed,
    Fault,
    Loss,
    Request,
    Skipped,
    Started,
    Used,
)
from understudy.dialects.watch import says_something
from understudy.dialects.wire import Malformed
from understudy.gateway import named_files, omissions, surface
from understudy.gateway.arriving import LARGEST_PREAMBLE, last_piece, whole_body
from understudy.gateway.call import Call
from understudy.gateway.client import Client
from understudy.gateway.record import Attempt, Exchange, Failure, Headers
from understudy.gateway.routing import Route, Target
from understudy.gateway.trail import begun
from understudy.resilience import classify
from understudy.upstream import Response, TransportError

_ASKS_FOR_USAGE = (surface.CHAT, surface.COMPLETIONS)
"""Dialects whose streams tell usage only to who asks. Our clients' dialects tell it unasked."""

_TERMINAL = (Ended, Failed)

_NAMED = 5
"""Losses that an error lists; the header and the record have all."""


class StrictError(Exception):
    """The route is strict and the target's dialect cannot carry the call whole. `field` is the first that is lost."""

    def __init__(self, target: Target, losses: list[Loss]) -> None:
        self.field = losses[0].field
        named = "; ".join(f"{loss.field}: {loss.why}" for loss in losses[:_NAMED])
        more = f"; and {len(losses) - _NAMED} more" if len(losses) > _NAMED else ""
        super().__init__(
            f"{target.name} speaks {target.provider.dialect}, which cannot carry {named}{more}. "
            "Leave these out, or set `strict = false` on the route."
        )


async def body_for(target: Target, exchange: Exchange, change: Callable[[Request], Request] | None = None) -> bytes:
    """The client's request in the target's dialect; what it lost is on the attempt.

    `change`, if given, is made to the canonical form first. Raises Malformed, StrictError, UnheldError.
    """
    request, dialect = exchange.call.request(), target.provider.dialect
    usage = request.include_usage
    if request.stream and dialect in _ASKS_FOR_USAGE:
        usage = True
    unfetched: tuple[Loss, ...] = ()
    if b"http" in exchange.call.body:
        request, unfetched = await _fetched(exchange.call, dialect)
    request = named_files.request(request, target, exchange.call.body)
    if change is not None:
        request = change(request)
    omitted = exchange.omissions.get(target.name, ())
    request, without = omissions.changed(request, omitted) if omitted else (request, [])
    # Some dialects choose forms by the model's name: it must be the target's before encoding.
    request = msgspec.structs.replace(request, model=target.model, include_usage=usage)
    body, lost = dialects.get(dialect).encode_request(request)
    if omitted:
        body, cut = omissions.cut(body, omitted)
        without += cut
    exchange.attempts[-1].losses = accepted(target, exchange.route, [*unfetched, *without, *lost])
    return body


async def _fetched(call: Call, dialect: str) -> tuple[Request, tuple[Loss, ...]]:
    """The request with what a target of `dialect` cannot fetch itself; fetched once, however often it is tried."""
    from understudy.gateway.fetch import inline, needs_inline  # noqa: PLC0415  # brings httpx2, which few calls need

    wanted = needs_inline(dialect)
    if wanted is None:
        return call.request(), ()
    if dialect not in call.fetched:
        call.fetched[dialect] = await inline(call.request(), wanted)
    return call.fetched[dialect]


def accepted(target: Target, route: Route, losses: list[Loss]) -> list[Loss]:
    """`losses`, if the route puts up with them. Raises StrictError."""
    if losses and route.strict:
        raise StrictError(target, losses)
    return losses


async def whole(response: Response, target: Target, exchange: Exchange, client: Client) -> Failure | None:
    """Pass on an answer that is not streamed. Raises TransportError."""
    dialect, call = dialects.get(target.provider.dialect), exchange.call
    body, fault = await whole_body(response, dialect, streamed=call.stream)
    if fault is not None and fault.kind != "empty_answer":
        return Failure(_ours(fault), response.status, [], body, dialect.NAME)
    try:
        answer = dialect.decode_answer(body)
    except Malformed as error:
        return Failure(Fault("bad_answer", status=200, message=str(error), phase="body"), 200, [], body, dialect.NAME)
    record = exchange.attempts[-1]
    record.usage, record.answered_by, record.tier = answer.usage, answer.model, answer.service_tier
    encoded, losses = surface.encode_answer(_named(answer, exchange), call.door, call.request())
    record.losses += losses
    headers = [(b"content-type", b"application/json")]
    if fault is not None:
        return Failure(fault, 200, headers, encoded, call.door.dialect)
    record.first_content = clock.monotonic()
    await client.whole(200, headers, encoded)
    return None


def _named(answer: Answer, exchange: Exchange) -> Answer:
    """An answer that some clients could not do without an id."""
    return answer if answer.id else msgspec.structs.replace(answer, id=exchange.id)


def _ours(fault: Fault) -> Fault:
    """A request of ours that the provider finds malformed may be our translation's fault: the client's was valid."""
    if fault.kind == "malformed_request":
        return msgspec.structs.replace(fault, kind="translation_rejected")
    return fault


async def stream(response: Response, target: Target, exchange: Exchange, client: Client) -> Failure | None:
    """Pass on a stream, event by event. Raises TransportError."""
    name, call, record = target.provider.dialect, exchange.call, exchange.attempts[-1]
    decoder = dialects.get(name).StreamDecoder()
    encoder = surface.stream_encoder(call.door, call.request())
    trail = begun(exchange)
    known = len(record.losses)
    held: list[bytes] = []
    size = 0
    content = False
    while True:
        events = await next_events(response, decoder)
        last = events.pop() if events and events[-1].__class__ in _TERMINAL else None
        if any(map(says_something, events)):
            content = True
            response.progressed()
        note(record, events)
        out = b"".join([encoder.encode(event) for event in events])
        if trail is not None:
            trail.said.note_all(events)
        if isinstance(last, Failed):
            if client.committed and out:
                await client.write(out)
            return Failure(classify(last.fault, name))
        if last is not None:
            record.losses[known:] = encoder.losses
            rest = b"".join((*held, out, encoder.encode(last)))
            failure = await _end(client, exchange, encoder, rest, content=content)
            response.release()
            return failure
        if client.committed:
            if out:
                await client.write(out)
            continue
        held.append(out)
        if not content:
            size += len(out)
            if size > LARGEST_PREAMBLE:
                return Failure(Fault("malformed_events", message="1 MiB without any content", phase="stream"))
        elif data := b"".join(held):  # some dialects tell a tool call only when it is whole
            await _begin(client, exchange, encoder)
            await client.write(data)
            held.clear()


def note(record: Attempt, events: Iterable[Event]) -> None:
    """What a record wants to know of a stream's events."""
    for event in events:
        kind = event.__class__
        if kind is Skipped:
            record.skipped += 1
        elif isinstance(event, Used):
            record.usage = event.usage
        elif isinstance(event, Started):
            record.answered_by, record.tier = event.model, event.service_tier


async def next_events(response: Response, decoder: dialects.StreamDecoder) -> list[Event]:
    """The events of the next piece. Raises TransportError, unless the answer is whole without more."""
    try:
        data = await (last_piece(response) if decoder.whole else response.read())
    except TransportError:
        events = decoder.close()
        if events and isinstance(events[-1], Ended):
            return events
        raise
    return decoder.feed(data) if data else decoder.close()


async def _begin(client: Client, exchange: Exchange, encoder: dialects.StreamEncoder) -> None:
    exchange.encoder = encoder
    exchange.attempts[-1].first_content = clock.monotonic()
    await client.start(200, _headers(exchange))


def _headers(exchange: Exchange) -> Headers:
    return [(b"content-type", surface.stream_type(exchange.call.door)), (b"cache-control", b"no-cache")]


async def _end(
    client: Client, exchange: Exchange, encoder: dialects.StreamEncoder, rest: bytes, *, content: bool
) -> Failure | None:
    if not content:
        fault = Fault("empty_answer", status=200, phase="stream")
        return Failure(fault, 200, _headers(exchange), rest, exchange.call.door.dialect)
    if not client.committed:
        await _begin(client, exchange, encoder)
    await client.end(rest)
    return None
