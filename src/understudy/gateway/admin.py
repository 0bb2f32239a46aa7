"""What an operator may see and do: the state of every target, what changed, and commands to a target.

Times are told both as seconds from now and as Unix time, since `clock.monotonic` means nothing outside this process.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Annotated, Any, Literal

import msgspec

from understudy import clock
from understudy.gateway.routing import Routing, Target
from understudy.resilience import Change, Health, row

KEPT = 1000
"""Changes remembered. The log has all of them."""


class Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is to happen to a target. `seconds` goes with `cool`; without, until it is reopened."""

    target: Annotated[str, msgspec.Meta(description="provider/model")]
    command: Annotated[Literal["cool", "drain", "reopen"], msgspec.Meta(description="What is to happen to it.")]
    seconds: Annotated[
        Annotated[float, msgspec.Meta(gt=0, le=30 * 86400)] | None,
        msgspec.Meta(description="How long it cools; null: until it is reopened."),
    ] = None


class UnknownTargetError(Exception):
    """Nobody knows a target of that name. `str()` says what to do."""


class Journal:
    """The latest changes, numbered from 1, oldest first. `started` tells this numbering from another process's."""

    def __init__(self) -> None:
        self.started = clock.wall()
        self._kept: deque[dict[str, Any]] = deque(maxlen=KEPT)
        self._number = 0

    def add(self, change: Change) -> dict[str, Any]:
        """Remember `change`; returns it as people and programs see it."""
        self._number += 1
        place = change.place
        told = {
            "number": self._number,
            "at": clock.wall(),
            "what": change.what,
            "target": f"{place.provider}/{place.model}",
            "scope": change.scope,
            "why": _why(change.kind),
            "seconds": _finite(change.seconds),
        }
        self._kept.append(told)
        return told

    def since(self, number: int) -> list[dict[str, Any]]:
        """Those behind `number`."""
        return [told for told in self._kept if told["number"] > number]


def targets(routing: Routing, health: Health) -> list[dict[str, Any]]:
    """Every target that a route names or a call has gone to, and how it is."""
    now = clock.monotonic()
    return [described(target, health, now) for target in routing.known()]


def described(target: Target, health: Health, now: float) -> dict[str, Any]:
    """The state of one target."""
    place = target.place
    obstacle = health.lasting(target, now)
    breaker = health.breakers.state(place, now)
    cooldown = health.cooldowns.of(place, now) if target.cooldown else None
    state: str = "ready" if breaker.name == "closed" else breaker.name
    if obstacle is not None:
        state = {"cooldown": "cooling down", "breaker": "open", "drained": "drained"}[obstacle.why]
    return {
        "target": target.name,
        "dialect": target.provider.dialect,
        "key": place.key or None,
        "state": state,
        "cooldown": None
        if cooldown is None
        else {
            "scope": cooldown.scope,
            "kind": cooldown.kind,
            "why": _why(cooldown.kind),
            "seconds_left": _finite(cooldown.until - now),
            "until": _wall(cooldown.until, now),
        },
        "breaker": {
            "state": breaker.name,
            "failures": round(breaker.failures, 2),
            "seconds_left": max(0.0, breaker.until - now) if breaker.until else None,
        },
        "quota": [
            {"limit_of": left.name, "limit": left.limit, "left": left.left, "full_in": left.full_in}
            for left in health.quotas.left(place, now)
        ],
        "in_flight": health.limiter.flying(place),
        "limit": _finite(health.limiter.limit(place, now)),
        "rate": _finite(health.limiter.rate(place, now)),
        "first_content": {
            "load": health.latencies.load(place, now),
            "p95": health.latencies.p95(place),
        },
        "continues": target.prefills,
    }


def obey(command: Command, routing: Routing, health: Health) -> list[dict[str, Any]]:
    """Carry out `command`; returns the target's state since. Raises UnknownTargetError."""
    found = [target for target in routing.known() if target.name == command.target]
    if not found:
        names = ", ".join(sorted({target.name for target in routing.known()})[:20]) or "none"
        raise UnknownTargetError(f"There is no target {command.target[:200]!r}. Known are: {names}.")
    now = clock.monotonic()
    for target in found:
        if command.command == "drain":
            health.drain(target.place)
        elif command.command == "reopen":
            health.reopen(target.place)
        else:
            seconds = math.inf if command.seconds is None else command.seconds
            health.cool(target.place, "key-model", "operator", now, seconds)
    return [described(target, health, now) for target in found]


def _why(kind: str) -> str:
    return row(kind).what if kind else ""


def _finite(value: float | None) -> float | None:
    return None if value is None or math.isinf(value) else value


def _wall(until: float, now: float) -> float | None:
    return None if math.isinf(until) else clock.wall() + until - now
