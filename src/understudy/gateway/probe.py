"""Asking a target for one token, to see whether it would answer: on request only, since it may cost money."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from understudy import clock
from understudy.canon import Fault
from understudy.gateway import relay, surface
from understudy.gateway.app import Gateway
from understudy.gateway.call import Call
from understudy.gateway.client import AsgiClient
from understudy.gateway.record import Attempt, Exchange
from understudy.gateway.routing import Route, Target

_BODY = {"stream": True, "messages": [{"role": "user", "content": "Reply with the word OK."}]}


class Probed(msgspec.Struct, frozen=True):
    """What came of a probe: seconds to the first content, or the fault."""

    target: str
    seconds: float | None
    fault: Fault | None


async def probe(gateway: Gateway, route: Route, target: Target) -> Probed:
    """Ask `target` for a short answer by the way every call takes, and hang up at its first content."""
    call = Call(msgspec.json.encode({"model": target.model, **_BODY}), {}, surface.DOORS["/v1/chat/completions"])
    exchange = Exchange(call, route, gateway.health)
    record = Attempt(target)
    exchange.attempts.append(record)
    answered = asyncio.Event()

    async def send(_message: dict[str, Any]) -> None:
        answered.set()

    client = AsgiClient(send)
    client.exchange = exchange
    work = relay.attempt(target, exchange, client, gateway.transport)
    attempt, first = asyncio.ensure_future(work), asyncio.ensure_future(answered.wait())
    await asyncio.wait((attempt, first), return_when=asyncio.FIRST_COMPLETED)
    seconds = clock.monotonic() - record.started
    done = attempt.done()
    for task in (attempt, first):
        task.cancel()
    await asyncio.wait((attempt, first))
    failure = attempt.result() if done else None
    if failure is not None:
        return Probed(target.name, None, failure.fault)
    return Probed(target.name, seconds, None)
