"""Images, speech and transcripts of OpenAI's API, from whichever target of the route answers.

All these targets take the request at the same path below their base URL, so the bytes pass as they came but for the
model's name. What comes back says itself what it is: JSON and text are held until they are whole, so that a broken
answer can still be moved; events are cut at their ends and watched; sound goes on as it comes. A sound that breaks off
has no place for an error, so the client's connection is closed amid the answer instead (`AsgiClient.sever`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from understudy import clock
from understudy.canon import Fault
from understudy.dialects.watch import EVENTS, Watch
from understudy.dialects.wire import Malformed
from understudy.gateway import named_files, surface
from understudy.gateway.arriving import LARGEST_ANSWER, LARGEST_PREAMBLE
from understudy.gateway.client import AsgiClient, Client
from understudy.gateway.operate import JSON, Answered, Operation, OperationCall, Sent, UnfitError, below, named_model
from understudy.gateway.record import Exchange, Failure, Headers
from understudy.gateway.routing import Target
from understudy.operations import media, multipart
from understudy.resilience import classify
from understudy.upstream import Response, TransportError

FORM = b"multipart/form-data"
OPENAI = frozenset({surface.CHAT, surface.RESPONSES, surface.COMPLETIONS})
"""Dialects of providers whose other paths are OpenAI's."""

_OPAQUE = (b"audio/", b"video/", b"image/", b"application/octet-stream")


def is_form(call: OperationCall) -> bool:
    return call.media[: len(FORM)].lower() == FORM


def _model(call: OperationCall) -> str:
    """The model that a form or a JSON body names. Raises Malformed."""
    if not is_form(call):
        return named_model(call)
    field = call.known["model"] = multipart.find(call.body, call.media.decode("latin-1"))
    if not field.value:
        raise Malformed("model", "is empty: name a route or a target")
    return field.value


def _body(call: OperationCall, target: Target) -> bytes:
    """The client's body with the target's own model, and files as its provider knows them. Raises UnfitError."""
    if is_form(call):
        field = call.known["model"]
        return call.body if field.value == target.model else multipart.replace(call.body, field, target.model)
    try:
        return named_files.body(call.body_for(target), target)
    except named_files.UnheldError as error:
        raise UnfitError(error.field, str(error)) from None


async def _passing(
    response: Response, headers: Headers, target: Target, exchange: Exchange, client: Client
) -> Failure | None:
    """Pass on an answer, each kind in its way. Raises TransportError."""
    kind = dict(headers).get(b"content-type", JSON).lower()
    if kind.startswith(b"text/event-stream"):
        return await _events(response, headers, target, exchange, client)
    if kind.startswith(_OPAQUE):
        data = await response.read()
        if not data:
            return Failure(Fault("bad_answer", message="The answer is empty.", phase="body"))
        await flow(data, response, headers, exchange, client)
        return None
    body = await response.body(LARGEST_ANSWER)
    fault = media.whole_fault(body) if kind.startswith(JSON) else None
    if fault is not None or not body:
        fault = fault or Fault("bad_answer", message="The answer is empty.", phase="body")
        return Failure(classify(fault, target.provider.dialect))
    exchange.attempts[-1].first_content = clock.monotonic()
    await client.whole(response.status, headers, body)
    return None


async def flow(data: bytes, response: Response, headers: Headers, exchange: Exchange, client: Client) -> None:
    """Pass on bytes as they come, `data` first: a sound, or a file. Raises TransportError."""
    assert isinstance(client, AsgiClient)  # as for everything beside chat
    exchange.attempts[-1].first_content = clock.monotonic()
    if response.inflate is None:
        headers = [*headers, *(pair for pair in response.headers if pair[0] == b"content-length")]
    await client.start(response.status, headers)
    try:
        while data:
            response.progressed()
            await client.write(data)
            data = await response.read()
    except (TransportError, asyncio.CancelledError):
        client.sever()
        raise
    await client.end()


async def _events(
    response: Response, headers: Headers, target: Target, exchange: Exchange, client: Client
) -> Failure | None:
    record = exchange.attempts[-1]
    watch = Watch(media.StreamDecoder(), EVENTS)
    held: list[bytes] = []
    size = 0
    while True:
        data = await response.read()
        ready = watch.feed(data) if data else watch.close()
        if watch.moved:
            watch.moved = False
            response.progressed()
        if client.committed:
            if ready:
                await client.write(ready)
        elif watch.fault is not None:
            break
        elif watch.content:
            record.first_content = clock.monotonic()
            await client.start(response.status, headers)
            await client.write(b"".join((*held, ready)))
            held.clear()
        else:
            held.append(ready)
            size += len(ready)
            if size > LARGEST_PREAMBLE:
                return Failure(Fault("malformed_events", message="1 MiB without any content", phase="stream"))
        if watch.done or watch.fault is not None:
            break
    record.skipped = watch.skipped
    if watch.fault is not None:
        return Failure(classify(watch.fault, target.provider.dialect))
    if not client.committed:
        return Failure(Fault("bad_answer", message="The stream ended without any content.", phase="stream"))
    await client.end()
    response.release()
    return None


def _answer(_call: OperationCall, _target: Target, _headers: Headers, _body: bytes) -> Answered:
    raise AssertionError("`_passing` takes every answer")


def _operation(name: str, path: str, *kinds: bytes) -> Operation:
    return Operation(
        name=name,
        dialect=surface.CHAT,
        offered=OPENAI,
        model=_model,
        send=lambda call, target: Sent(path=below(target, path), body=_body(call, target), media=call.media),
        answer=_answer,
        passing=_passing,
        media=kinds,
    )


PATHS: Mapping[str, Mapping[str, Operation]] = {
    "/v1/images/generations": {"POST": _operation("images", "/images/generations", JSON)},
    "/v1/images/edits": {"POST": _operation("image edits", "/images/edits", FORM, JSON)},
    "/v1/images/variations": {"POST": _operation("image variations", "/images/variations", FORM)},
    "/v1/audio/speech": {"POST": _operation("speech", "/audio/speech", JSON)},
    "/v1/audio/transcriptions": {"POST": _operation("transcription", "/audio/transcriptions", FORM)},
    "/v1/audio/translations": {"POST": _operation("audio translation", "/audio/translations", FORM)},
}
