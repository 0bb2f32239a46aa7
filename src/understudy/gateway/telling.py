"""What a client hears when nobody could answer: one clear error, in its own dialect.

The first fault is the cause; later ones are only consequences. A provider's words about the owner's account stay here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from understudy import clock, dialects
from understudy.canon import Failed, Fault
from understudy.gateway import surface
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange, Failure, Outcome
from understudy.gateway.routing import Target
from understudy.resilience import Obstacle, row

_PRIVATE = frozenset(
    {"bad_key", "leaked_key", "no_credentials", "account_closed", "address_refused", "credit_gone", "spend_cap"}
)
"""Faults of the owner's own account. The provider's words about them can name keys and accounts: clients get ours."""


_HIDDEN = "[secret]"
"""Stands where a provider repeated the key that it was shown."""

_USUAL = frozenset({400, 401, 402, 403, 404, 408, 409, 413, 415, 422, 429, *range(500, 505)})
"""Statuses that say the same in every dialect. Some providers have words of their own, as Cohere's 498."""


def not_tried(obstacle: Obstacle) -> Failure:
    """A target that the call did not go to, as if it had failed in that way."""
    kind = obstacle.kind or ("drained" if obstacle.why == "drained" else "resting")
    left = f", for another {max(1, round(obstacle.wait))} s" if obstacle.wait < float("inf") else ""
    words = {
        "drained": "taken out of service by an operator",
        "cooldown": f"left alone since it said: {row(kind).what}",
        "quota": "no quota left",
        "limit": "as many calls under way as it takes",
        "breaker": "left alone after failures",
    }
    return Failure(Fault(kind, phase="connect"), told=f"{words[obstacle.why]}{left}")


async def give_up(
    exchange: Exchange, failures: Sequence[tuple[Target, Failure]], client: Client, broke: int
) -> Outcome:
    """Tell the client, once, in its own dialect. The first fault is the cause; later ones are only consequences."""
    first, route = failures[0][1], exchange.route
    if client.committed:
        await client.write(_broken(exchange, _told(failures[broke:])))
        await client.end()
        return "broken"
    door = exchange.call.door
    if first.fault.kind == "empty_answer" and first.status == 200 and first.dialect == door.dialect:
        await client.whole(200, list(first.headers), first.body)  # nobody had more to say
        return "answered"
    same = all(failure.fault.kind == first.fault.kind for _, failure in failures)
    alone = same and len(route.targets) == 1 and not exchange.left_out
    if first.status >= 400 and first.fault.kind not in _PRIVATE and (alone or row(first.fault.kind).surface):
        if first.dialect == door.dialect and _is_error(first, door.dialect):
            await client.whole(first.status, list(first.headers), first.body)
            return "failed"
        told = msgspec.structs.replace(first.fault, message=first.fault.message or row(first.fault.kind).what)
        if first.dialect != door.dialect and first.status not in _USUAL:
            told = msgspec.structs.replace(told, status=row(first.fault.kind).status)
    else:
        told = _told(failures, exchange.left_out)
    status, headers, body = dialects.get(door.dialect).encode_fault(told)
    wait = _soonest(exchange)
    if wait is not None and status in (429, 503):
        headers["retry-after"] = str(max(1, round(wait)))
    await client.whole(status, [(k.encode(), v.encode()) for k, v in headers.items()], body)
    return "failed"


def concealed(failure: Failure, secrets: Sequence[str]) -> Failure:
    """`failure` without the provider's credentials, for one that repeats what it was shown."""
    for secret in secrets:
        failure = _without(failure, secret)
    return failure


def _without(failure: Failure, secret: str) -> Failure:
    plain = secret.encode()
    fault = failure.fault
    said = {name: getattr(fault, name) for name in ("code", "type", "param", "message", "request_id")}
    changed = {name: text.replace(secret, _HIDDEN) for name, text in said.items() if text and secret in text}
    if changed:
        fault = msgspec.structs.replace(fault, **changed)
    elif plain not in failure.body and all(plain not in value for _, value in failure.headers):
        return failure
    return msgspec.structs.replace(
        failure,
        fault=fault,
        headers=[(name, value.replace(plain, _HIDDEN.encode())) for name, value in failure.headers],
        body=failure.body.replace(plain, _HIDDEN.encode()),
        told=failure.told.replace(secret, _HIDDEN),
    )


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


def _told(failures: Sequence[tuple[Target, Failure]], left_out: Sequence[str] = ()) -> Fault:
    """What the client hears: the first fault's kind and status, and each target's reason in a sentence."""
    first = failures[0][1].fault
    entry = row(first.kind)
    reasons = {
        target.name: failure.told or _reason(failure.fault) for target, failure in reversed(failures)
    }  # the first reason of each target wins, in order of first try
    ordered = [f"{name}: {reasons[name]}" for name in dict.fromkeys(target.name for target, _ in failures)]
    ordered += [f"not tried: {why}" for why in left_out]
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


def _soonest(exchange: Exchange) -> float | None:
    """Seconds until the first of the route's targets may be tried again; None if that is unknown."""
    now = clock.monotonic()
    known = [exchange.health.lasting(target, now) for target in exchange.route.targets]
    waits = [obstacle.wait for obstacle in known if obstacle is not None]
    return min((wait for wait in waits if wait < float("inf")), default=None)


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
