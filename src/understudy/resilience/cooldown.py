"""What is left alone for now, since when, why, and until when.

A cooldown belongs to the scope that failed: a rate limit to one key and model, a dead key to the key, an outage to the
model. Asking is cheap, since it happens on every request: no cooldown at all is one truth test.
"""

from __future__ import annotations

import math

import msgspec

from understudy.resilience.faults import Scope


class Place(msgspec.Struct, frozen=True, cache_hash=True):
    """Where a target stands, for scoping: two targets that share a field share that scope's cooldown."""

    provider: str
    model: str
    endpoint: str = ""
    key: str = ""

    def within(self, scope: Scope) -> tuple[str, ...]:
        """The name of the `scope` that this place lies in."""
        if scope == "endpoint":
            return (scope, self.endpoint)
        if scope in ("key", "account"):
            return (scope, self.provider, self.key)
        if scope == "key-model":
            return (scope, self.provider, self.key, self.model)
        if scope == "model":
            return (scope, self.provider, self.model)
        return (scope, self.provider)


class Cooldown(msgspec.Struct, frozen=True):
    """`until` is in `clock.monotonic` seconds; infinite means until somebody acts."""

    scope: Scope
    kind: str
    since: float
    until: float


_SCOPES: tuple[Scope, ...] = ("endpoint", "key", "key-model", "account", "model", "provider")


class Cooldowns:
    """Every running cooldown of this process."""

    def __init__(self) -> None:
        self.running: dict[tuple[str, ...], Cooldown] = {}

    def start(self, place: Place, scope: Scope, kind: str, now: float, seconds: float) -> Cooldown:
        """Leave `place`'s `scope` alone for `seconds`. A longer one that runs already stays as it is."""
        name = place.within(scope)
        cooldown = Cooldown(scope, kind, now, now + seconds)
        running = self.running.get(name)
        if running is not None and running.until >= cooldown.until:
            return running
        self.running[name] = cooldown
        return cooldown

    def of(self, place: Place, now: float) -> Cooldown | None:
        """The cooldown that keeps `place` out the longest, or None if it may be tried."""
        if not self.running:
            return None
        worst: Cooldown | None = None
        for scope in _SCOPES:
            name = place.within(scope)
            cooldown = self.running.get(name)
            if cooldown is None:
                continue
            if cooldown.until <= now:
                del self.running[name]
            elif worst is None or cooldown.until > worst.until:
                worst = cooldown
        return worst

    def clear(self, place: Place) -> list[Cooldown]:
        """`place` has just answered: whatever kept it out is over. Returns what that was."""
        ended = [self.running.pop(place.within(scope), None) for scope in _SCOPES] if self.running else []
        return [cooldown for cooldown in ended if cooldown is not None]


def seconds_left(cooldown: Cooldown, now: float) -> float | None:
    """How long `cooldown` still runs; None when only a person can end it."""
    left = cooldown.until - now
    return None if math.isinf(left) else max(0.0, left)
