"""One call from target to target, until one answers or none is left.

Decisions are `resilience/`'s; this file carries them out. Whoever wants to know what Understudy does reads `run` first.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import msgspec

from understudy import clock, dialects
from understudy.canon import Failed, Fault
from understudy.gateway import relay, surface
from understudy.gateway.client import Client
from understudy.gateway.record import Attempt, Exchange, Failure, Outcome
from understudy.gateway.routing import Route, Target
from understudy.resilience import Cooldowns, Reaction, State, choose, react, row, seconds_left
from understudy.upstream import Client as Transport

log = logging.getLogger("understudy")

_PRIVATE = frozenset({"bad_key", "no_credentials", "account_closed", "address_refused", "credit_gone", "spend_cap"})
"""Faults of the owner's own account. The provider's words about them can name keys and accounts: clients get ours."""


async def run(exchange: Exchange, client: Client, cooldowns: Cooldowns, transport: Transport) -> Outcome:
    """Answer the call from the first target of its route that can. Returns how it ended; the client has its answer."""
    failures: list[tuple[Target, Failure]] = []
    route = exchange.route
    targets = choose(route.targets, cooldowns, exchange.started)
    for position, target in enumerate(targets):
        retries, free = route.retries, 1
        while True:
            record = Attempt(target)
            exchange.attempts.append(record)
            failure = await relay.attempt(target, exchange, client, transport)
            record.ended = now = clock.monotonic()
            if failure is None:
                record.action = "answered"
                cooldowns.clear(target.place)
                return "answered"
            failures.append((target, failure))
            state = State(
                retries=retries,
                others=len(targets) - position - 1,
                free=free,
                committed=client.committed,
                moved=failures[0][0] is not target,
                remaining=exchange.deadline - now,
                jitter=clock.random(),
            )
            reaction = react(failure.fault, state)
            record.fault, record.action = failure.fault, reaction.action
            _cool(target, failure.fault, reaction, cooldowns, now)
            if reaction.action == "retry":
                retries -= not reaction.free
                free -= reaction.free
                await clock.sleep(reaction.delay)
                continue
            break
        if reaction.action == "surface":
            break
    return await _give_up(exchange, failures, client, cooldowns)


def _cool(target: Target, fault: Fault, reaction: Reaction, cooldowns: Cooldowns, now: float) -> None:
    if reaction.cooling is not None and target.cooldown:
        cooldowns.start(target.place, reaction.cooling.scope, fault.kind, now, reaction.cooling.seconds)
    if reaction.tell:
        log.warning("%s: %s (status %s, code %s)", target.name, row(fault.kind).what, fault.status, fault.code)


async def _give_up(
    exchange: Exchange, failures: Sequence[tuple[Target, Failure]], client: Client, cooldowns: Cooldowns
) -> Outcome:
    """Tell the client, once, in its own dialect. The first fault is the cause; later ones are only consequences."""
    first, route = failures[0][1], exchange.route
    if client.committed:
        await client.write(_broken(exchange, _told(failures[-1:])))
        await client.end()
        return "broken"
    door = exchange.call.door
    if first.fault.kind == "empty_answer" and first.status == 200 and first.dialect == door.dialect:
        await client.whole(200, list(first.headers), first.body)  # nobody had more to say
        return "answered"
    alone = all(failure.fault.kind == first.fault.kind for _, failure in failures) and len(route.targets) == 1
    if first.status >= 400 and first.fault.kind not in _PRIVATE and (alone or row(first.fault.kind).surface):
        if first.dialect == door.dialect and _is_error(first, door.dialect):
            await client.whole(first.status, list(first.headers), first.body)
            return "failed"
        told = msgspec.structs.replace(first.fault, message=first.fault.message or row(first.fault.kind).what)
    else:
        told = _told(failures)
    status, headers, body = dialects.get(door.dialect).encode_fault(told)
    wait = _soonest(route, cooldowns)
    if wait is not None and status in (429, 503):
        headers["retry-after"] = str(max(1, round(wait)))
    await client.whole(status, [(k.encode(), v.encode()) for k, v in headers.items()], body)
    return "failed"


class _Error(msgspec.Struct):
    error: dict[str, Any]


def _is_error(failure: Failure, dialect: str) -> bool:
    """Whether a client's SDK will find the message where it looks for it."""
    if dialect != surface.CHAT:
        return bool(failure.fault.message)  # read from where the dialect has it
    try:
        msgspec.json.decode(failure.body, type=_Error)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _told(failures: Sequence[tuple[Target, Failure]]) -> Fault:
    """What the client hears: the first fault's kind and status, and each target's reason in a sentence."""
    first = failures[0][1].fault
    entry = row(first.kind)
    reasons = {
        target.name: _reason(failure.fault) for target, failure in reversed(failures)
    }  # the first reason of each target wins, in order of first try
    ordered = [f"{name}: {reasons[name]}" for name in dict.fromkeys(target.name for target, _ in failures)]
    return Fault(
        kind=first.kind,
        status=entry.status,
        code=first.kind,
        type="upstream_error",
        message=f"No target could answer. {'; '.join(ordered)}.",
    )


def _reason(fault: Fault) -> str:
    """A fault in words for clients: the provider's, if it spoke; no addresses of ours, nothing of the account."""
    what = row(fault.kind).what
    if fault.status is None:
        return what
    if fault.kind in _PRIVATE or not fault.message:
        return f"{what} (HTTP {fault.status})"
    said = fault.message[:300].rstrip(". ")
    return f"{what} (HTTP {fault.status}: {said})"


def _soonest(route: Route, cooldowns: Cooldowns) -> float | None:
    """Seconds until the first of the route's targets may be tried again; None if that is unknown."""
    now = clock.monotonic()
    running = [cooldowns.of(target.place, now) for target in route.targets]
    left = [seconds_left(cooldown, now) for cooldown in running if cooldown is not None]
    known = [seconds for seconds in left if seconds is not None]
    return min(known) if known else None


async def stopped(exchange: Exchange, client: Client) -> None:
    """The gateway stops before this answer is done: say so, in a way that no client takes for a finished answer."""
    fault = Fault(
        "internal", status=503, code="gateway_stopping", type="server_error", message="The gateway is stopping."
    )
    if client.committed:
        await client.write(_broken(exchange, fault))
        await client.end()
    else:
        status, headers, body = dialects.get(exchange.call.door.dialect).encode_fault(fault)
        await client.whole(status, [(k.encode(), v.encode()) for k, v in headers.items()], body)


def _broken(exchange: Exchange, fault: Fault) -> bytes:
    """The event that ends a stream which cannot be finished."""
    if exchange.encoder is not None:
        return exchange.encoder.encode(Failed(fault))
    return surface.broken(fault, exchange.call.door)
