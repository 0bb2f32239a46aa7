"""Where a call goes next: the targets of its route in order, without those that would refuse it, busy ones last."""

from __future__ import annotations

from collections.abc import Sequence

from understudy import clock
from understudy.gateway.arranging import arranged
from understudy.gateway.record import Exchange, Failure
from understudy.gateway.routing import Target
from understudy.gateway.telling import not_tried
from understudy.resilience import Obstacle

_SHORTEST = 0.01
"""Seconds between two looks at whether a busy target has room."""


class Queue:
    """The targets that a call may still go to, in order. Those that are busy are waited for when no other is left."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange
        self._health = health = exchange.health
        self._targets = health.ready(arranged(exchange), exchange.started)
        self._at = 0
        self._busy: list[tuple[Target, Obstacle]] = []
        self._waited = 0.0
        self.moved = False
        # What a call takes from a limit on tokens matters only where somebody has told of one.
        self.tokens = exchange.call.tokens() if health.quotas.places else exchange.call.size()

    def next(self) -> Target | None:
        """The next target that takes the call now, and expects it; None if there is none without waiting."""
        targets = self._targets
        while self._at < len(targets):
            target = targets[self._at]
            self._at += 1
            now = clock.monotonic() if self._exchange.attempts else self._exchange.started
            obstacle = self._health.obstacle(target, self.tokens, now, moved=self.moved)
            if obstacle is None:
                return target
            self._busy.append((target, obstacle))
        return None

    async def later(self) -> Target | None:
        """A target that was busy, once it takes the call; None if that takes too long, and no other is to be tried."""
        free = await self._wait() if self._busy else None
        return free if free is not None or self._exchange.attempts else self._spell()

    def others(self) -> int:
        """How many targets are left."""
        return len(self._targets) - self._at + sum(obstacle.passing for _, obstacle in self._busy)

    def refusals(self) -> list[tuple[Target, Failure]]:
        """Why the call went nowhere at all."""
        now = clock.monotonic()
        known = dict(self._busy)
        found = [(target, known.get(target) or self._health.lasting(target, now)) for target in self._all()]
        return [(target, not_tried(obstacle or Obstacle("cooldown", 1.0, "resting"))) for target, obstacle in found]

    async def _wait(self) -> Target | None:
        """Wait for one of those that are busy, the first in order that can; None if that takes too long."""
        exchange, health = self._exchange, self._health
        patience = min(exchange.route.clocks.first_token, exchange.deadline - clock.monotonic())
        while True:
            waits = [obstacle.wait for _, obstacle in self._busy if obstacle.passing]
            if not waits or self._waited + min(waits) > patience:
                return None
            # The share of chance keeps those who wait for the same moment apart.
            pause = max(_SHORTEST, min(min(waits) * (1 + clock.random() / 4), patience - self._waited))
            self._waited += pause
            await clock.sleep(pause)
            now = clock.monotonic()
            for at, (target, obstacle) in enumerate(self._busy):
                if not obstacle.passing:
                    continue
                again = health.obstacle(target, self.tokens, now, moved=self.moved)
                if again is None:
                    del self._busy[at]
                    return target
                self._busy[at] = (target, again)

    def _spell(self) -> Target | None:
        """Every target is to be left alone: now and then a call tries the one that comes back first all the same."""
        now = clock.monotonic()
        waits = {target: obstacle.wait for target in self._all() if (obstacle := self._health.lasting(target, now))}
        if not waits:
            return None
        target = min(waits, key=waits.__getitem__)
        return target if self._health.spell(target, now) else None

    def _all(self) -> Sequence[Target]:
        return [one for target in self._exchange.route.targets for one in target.keys or (target,)]
