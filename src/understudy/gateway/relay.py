"""One attempt at a target. Where it speaks the client's dialect, the bytes go through as they are; `translate.py` has
the other case.

This is the hot path. A stream costs one read, one look (`Watch`) and one write for each piece that arrives, whatever
the number of events in it; nothing is decoded whole, nothing is logged, no task is started.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

from understudy import clock, dialects
from understudy.canon import Fault, Loss
from understudy.dialects.wire import Malformed
from understudy.gateway import named_files, splicing, surface, translate
from understudy.gateway.arriving import LARGEST_PREAMBLE, last_piece, transport_fault, whole_body
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange, Failure, Headers
from understudy.gateway.routing import Target
from understudy.gateway.routing import link as linked
from understudy.gateway.trail import writing
from understudy.local.embedded import Embedded, EngineFailed, QueueFull
from understudy.providers import auth
from understudy.resilience import classify
from understudy.upstream import Client as Transport
from understudy.upstream import Response, TransportError

NOT_PASSED_ON = frozenset(
    {
        # RFC 9110, 7.6.1: they belong to one connection
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer",
        b"transfer-encoding", b"upgrade",
        # ours to say
        b"content-length", b"content-encoding", b"date", b"server", b"vary", b"via",
        b"x-understudy-attempts", b"x-understudy-cache", b"x-understudy-exchange", b"x-understudy-losses",
        b"x-understudy-target",
        # speak of the provider's site to a browser, not of the answer
        b"alt-svc", b"nel", b"report-to", b"set-cookie", b"set-cookie2", b"strict-transport-security",
        b"access-control-allow-credentials", b"access-control-allow-headers", b"access-control-allow-methods",
        b"access-control-allow-origin", b"access-control-expose-headers", b"access-control-max-age",
    }
)  # fmt: skip

_UNSEALED = Loss("messages", "earlier reasoning of another provider, which only that one can read")


def attempt(
    target: Target, exchange: Exchange, client: Client, transport: Transport
) -> Coroutine[Any, Any, Failure | None]:
    """Try `target` once. None: the client has its whole answer. A Failure after `client.committed` cannot be moved."""
    if target.engine is None:
        return _send(target, exchange, client)
    return _embedded(target, target.engine, exchange, client, transport)


async def _embedded(
    target: Target, engine: Embedded, exchange: Exchange, client: Client, transport: Transport
) -> Failure | None:
    wait = min(exchange.route.clocks.first_token, exchange.deadline - clock.monotonic())
    try:
        async with contextlib.AsyncExitStack() as held:
            async with asyncio.timeout(wait):
                await held.enter_async_context(engine.slot())
                address = await engine.start()
            if target.link is None or target.link.base_url != address.base_url:
                headers = auth.headers("bearer", address.key)
                target.link = linked(address.base_url, target.provider.dialect, transport, headers)
            return await _send(target, exchange, client)
    except TimeoutError:
        return Failure(Fault("first_token_timeout", message=f"{target.name} was not free within {wait:.1f} s"))
    except QueueFull as error:
        return Failure(Fault("queue_full", message=str(error)))
    except EngineFailed as error:
        return Failure(Fault("unreachable", message=str(error), phase="connect"))


async def _send(target: Target, exchange: Exchange, client: Client) -> Failure | None:
    call, record, provider = exchange.call, exchange.attempts[-1], target.provider
    # An array can't be cut between elements without being read: it is written anew from events.
    own = provider.dialect == call.door.dialect and call.door.form != "array"
    own = own and exchange.splice is None and target.name not in exchange.omissions
    try:
        body = _own_body(target, exchange) if own else await _other_body(target, exchange)
    except Malformed as error:
        return Failure(Fault("malformed_request", status=400, param=error.field, message=str(error), phase="send"))
    except translate.StrictError as error:
        return Failure(Fault("lossy", status=400, param=error.field, message=str(error), phase="send"))
    except named_files.UnheldError as error:
        return Failure(Fault("unsupported", status=400, param=error.field, message=str(error), phase="send"))
    link = splicing.link_to(target, exchange.splice)
    form = call.door.form if own else ""
    head = link.start(target.model, stream=call.stream, form=form) + call.lines_for(target)
    if provider.signer is not None:
        url = link.site + link.where(target.model, stream=call.stream, form=form)
        try:
            async with asyncio.timeout(min(exchange.route.clocks.first_token, exchange.deadline - clock.monotonic())):
                signed = await provider.signer("POST", url, ((b"content-type", b"application/json"),), body)
        except auth.AuthError as error:
            return Failure(Fault("no_credentials", message=str(error), phase="send"))
        except TimeoutError:
            return Failure(Fault("no_credentials", message="Credentials did not come in time.", phase="send"))
        head += b"".join([b"%b: %b\r\n" % pair for pair in signed])
    head = b"%bcontent-length: %d\r\n\r\n" % (head, len(body))
    clocks = exchange.route.clocks_for(target, stream=call.stream)
    try:
        response = await link.origin.send(head, body, clocks, exchange.deadline)
    except TransportError as error:
        return Failure(transport_fault(error, "send" if error.sent else "connect"))
    record.connected, record.head = response.connected, response.head_at
    exchange.health.heard(target, response.headers, record.mark, response.head_at, refused=response.status == 429)
    try:
        headers = passed_on(response.headers)
        stream = response.status == 200 and call.stream and _is_stream(headers, provider.dialect)
        if not own:
            streamed = translate.stream if exchange.splice is None else splicing.stream
            return await (streamed if stream else translate.whole)(response, target, exchange, client)
        if stream:
            return await _stream(response, headers, exchange, client)
        return await _whole(response, headers, exchange, client)
    except TransportError as error:
        return Failure(transport_fault(error, "stream" if call.stream else "body"))
    finally:
        response.cancel()


def _own_body(target: Target, exchange: Exchange) -> bytes:
    """The body for a target of the client's dialect. Raises Malformed, StrictError, UnheldError."""
    body = named_files.body(exchange.call.body_for(target), target)
    if exchange.call.unsealed:
        exchange.attempts[-1].losses = translate.accepted(target, exchange.route, [_UNSEALED])
    return body


async def _other_body(target: Target, exchange: Exchange) -> bytes:
    """The body for any other target, or for one that is to go on with an answer. Raises Malformed, StrictError."""
    return await (translate.body_for if exchange.splice is None else splicing.body_for)(target, exchange)


def passed_on(headers: Headers) -> Headers:
    """A provider's headers without those that are not for the client."""
    listed = dict(headers).get(b"connection", b"")
    if listed and listed not in (b"keep-alive", b"close"):
        also = {name.strip() for name in listed.lower().split(b",")}
        headers = [pair for pair in headers if pair[0] not in also]
    return [pair for pair in headers if pair[0] not in NOT_PASSED_ON]


def _is_stream(headers: Headers, dialect: str) -> bool:
    return any(name == b"content-type" and surface.is_stream(value, dialect) for name, value in headers)


async def _stream(response: Response, headers: Headers, exchange: Exchange, client: Client) -> Failure | None:
    record, name = exchange.attempts[-1], exchange.call.door.dialect
    watch = dialects.watch(name)
    write: Callable[[bytes], Coroutine[Any, Any, None]] = client.write
    held: list[bytes] = []
    size = 0
    while True:
        data = await (last_piece(response) if watch.whole else response.read())
        ready = watch.feed(data) if data else watch.close()
        if watch.moved:
            watch.moved = False
            response.progressed()
        if watch.done or watch.fault is not None:
            break
        if client.committed:
            if ready:
                await write(ready)
        elif watch.content:
            record.first_content = clock.monotonic()
            await client.start(200, headers)
            write = writing(exchange, client)
            await write(b"".join((*held, ready)))
            held.clear()
        else:
            held.append(ready)
            size += len(ready)
            if size > LARGEST_PREAMBLE:
                return Failure(Fault("malformed_events", message="1 MiB without any content", phase="stream"))
    record.skipped = watch.skipped
    record.usage, record.answered_by, record.tier = watch.usage, watch.answered_by, watch.tier
    rest = b"".join((*held, ready))
    if watch.fault is not None:
        if client.committed and rest:
            await write(rest)
        return Failure(classify(watch.fault, name))
    # A finish that says more than a plain stop is an answer, even without content; one that says it failed is none.
    if not watch.content and watch.finish in (None, "stop", "error"):
        kind = "empty_answer" if watch.finish is not None else "stream_cut"  # without any event, nobody finished
        return Failure(Fault(kind, status=200, phase="stream"), 200, headers, rest, name)
    if not client.committed:
        record.first_content = clock.monotonic()
        await client.start(200, headers)
    await client.end(rest)
    response.release()
    return None


async def _whole(response: Response, headers: Headers, exchange: Exchange, client: Client) -> Failure | None:
    dialect = dialects.get(exchange.call.door.dialect)
    body, fault = await whole_body(response, dialect, streamed=exchange.call.stream)
    if fault is not None:
        return Failure(fault, response.status, headers, body, dialect.NAME)
    record = exchange.attempts[-1]
    record.first_content, record.answer = clock.monotonic(), body
    await client.whole(200, headers, body)
    return None
