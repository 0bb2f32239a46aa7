"""What is known of every target, in one place: may a call go there now, and what did it make of it.

Each question is answered by a module of its own (cooldowns, breakers, quotas, limits); this one asks them in an order
in which nothing is taken that is not used, and tells them all how an attempt ended. Pure, like they are.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

import msgspec

from understudy.canon import Fault
from understudy.resilience.breaker import Breakers
from understudy.resilience.budget import RetryBudget
from understudy.resilience.cooldown import Cooldowns, Place
from understudy.resilience.faults import Scope, row
from understudy.resilience.hedge import Hedges
from understudy.resilience.latency import Latencies
from understudy.resilience.limiter import Limiter, outcome
from understudy.resilience.quota import Headers, Mark, Quotas
from understudy.resilience.react import Reaction

SPELL = 1.0
"""Seconds between two calls to a place that is to be left alone, when a call has nowhere else to go.

Envoy's panic threshold lets all such calls through; but a model's outage is not helped by more calls.
"""


class Known(Protocol):
    """A target, as far as its health matters. `cooldown` off means that it is never refused a call."""

    @property
    def place(self) -> Place: ...
    @property
    def cooldown(self) -> bool: ...


T = TypeVar("T", bound=Known)


class Obstacle(msgspec.Struct, frozen=True):
    """Why a call may not go to a target now. `kind` is that of the fault behind a cooldown, where it is one.

    `wait` is in seconds; infinite if only a person can end it. A `passing` one is worth waiting for.
    """

    why: Literal["drained", "cooldown", "quota", "limit", "breaker"]
    wait: float
    kind: str = ""

    @property
    def passing(self) -> bool:
        return self.why in ("quota", "limit")


class Change(msgspec.Struct, frozen=True):
    """Something has changed for `place`, or for all that shares its `scope`. `seconds` is how long, None if it is over
    or open-ended; `kind` is the fault behind it, "operator" for a command.
    """

    what: Literal["cooldown", "cooldown_over", "breaker_open", "breaker_closed", "limited", "drained", "reopened"]
    place: Place
    scope: Scope = "key-model"
    kind: str = ""
    seconds: float | None = None


class Health:
    """The state of all targets in this process. `tell` is called with each change, and must be quick."""

    def __init__(self) -> None:
        self.tell: list[Callable[[Change], None]] = []
        self.cooldowns = Cooldowns()
        self.breakers = Breakers()
        self.quotas = Quotas()
        self.limiter = Limiter()
        self.latencies = Latencies()
        self.hedges = Hedges(on=True)  # routes say whether they want any
        self.drained: set[tuple[str, str]] = set()
        self._budgets: dict[Place, RetryBudget] = {}
        self._tried: dict[Place, float] = {}

    def ready(self, targets: Sequence[T], now: float) -> Sequence[T]:
        """`targets` without those that will not take a call for a while, order kept."""
        if not (self.cooldowns.running or self.breakers.troubled or self.drained):
            return targets
        return [target for target in targets if self.lasting(target, now) is None]

    def lasting(self, target: Known, now: float) -> Obstacle | None:
        """Why `target` will not take a call for a while; None if it may. Nothing is taken."""
        place = target.place
        if self.drained and (place.provider, place.model) in self.drained:
            return Obstacle("drained", math.inf)
        if not target.cooldown:
            return None
        cooldown = self.cooldowns.of(place, now)
        if cooldown is not None:
            return Obstacle("cooldown", cooldown.until - now, cooldown.kind)
        breaker = self.breakers.state(place, now)
        return Obstacle("breaker", breaker.until - now) if breaker.name == "open" else None

    def obstacle(self, target: Known, tokens: float, now: float, *, moved: bool = False) -> Obstacle | None:
        """Why no call may go to `target` now; None if one may. Then it counts as under way until one of `answered`,
        `failed` and `dropped` is told.

        `tokens` is what the call will take from a limit on tokens, see `quota.counted`. `moved` says that it comes from
        another target: `target` gets those at a rate that grows.
        """
        place = target.place
        if self.cooldowns.running or self.breakers.troubled or self.drained:
            lasting = self.lasting(target, now)
            if lasting is not None:
                return lasting
        if not target.cooldown:
            self.limiter.count(place, now)
        else:
            if moved:
                self.limiter.ramp(place, now)
            found = self._busy(place, tokens, now)
            if found is not None:
                return found
        self.latencies.started(place, now)
        return None

    def again(self, target: Known, now: float) -> None:
        """The call goes to the same target once more."""
        self.limiter.count(target.place, now)
        self.latencies.started(target.place, now)

    def _busy(self, place: Place, tokens: float, now: float) -> Obstacle | None:
        wait = self.quotas.admits(place, tokens, now)
        if wait > 0:
            return Obstacle("quota", wait, "rate_limit")
        if not self.limiter.acquire(place, now):
            return Obstacle("limit", 1 / self.limiter.rate(place, now), "queue_full")
        if not self.breakers.admits(place, now):
            self.limiter.release(place, "other", now)
            return Obstacle("breaker", SPELL)  # another call is trying it
        return None

    def spell(self, target: Known, now: float) -> bool:
        """Whether a call that has nowhere else to go may try `target` all the same: one now and then, not each.

        If so, it counts as sent, as with `obstacle`. Not for what was drained or is behind an open breaker, which lets
        its own probes through.
        """
        place = target.place
        if (place.provider, place.model) in self.drained or self.breakers.state(place, now).name != "closed":
            return False
        if now - self._tried.get(place, -math.inf) < SPELL:
            return False
        if len(self._tried) > 4096:
            self._tried.clear()
        self._tried[place] = now
        self.limiter.count(place, now)
        self.latencies.started(place, now)
        return True

    def sent(self, target: Known, tokens: float, now: float, *, first: bool) -> Mark | None:
        """A call goes out. Hand what this returns to `heard`. `first` attempts are what retries are a share of."""
        place = target.place
        budget = self._budgets.get(place)
        if budget is None:
            if len(self._budgets) > 8192:
                self._budgets.clear()
            budget = self._budgets[place] = RetryBudget()
        if first:
            budget.sent(tokens, now)
        else:
            budget.spent(tokens, now)
        return self.quotas.sent(place, tokens, now)

    def may_retry(self, target: Known, tokens: float, now: float) -> bool:
        """Whether the same target may be asked once more."""
        budget = self._budgets.get(target.place)
        return budget is None or budget.allows(tokens, now)

    def heard(self, target: Known, headers: Headers, mark: Mark | None, now: float, *, refused: bool) -> None:
        """The head of an answer is here."""
        self.quotas.heard(target.place, headers, now, mark, refused=refused)

    def answered(self, target: Known, began: float, first: float | None, now: float) -> None:
        """An attempt that `began` then has given its whole answer; `first` is when its first content came."""
        place = target.place
        if first is not None:
            self.latencies.answered(place, first - began, now)
        self.latencies.ended(place)
        self.limiter.release(place, "ok", now)
        if self.breakers.troubled:
            shut = target.cooldown and self.breakers.state(place, now).name != "closed"
            self.breakers.succeeded(place, now)
            if shut:
                self.limiter.ramp(place, now)  # it comes back: not everything at once
                self._tell(Change("breaker_closed", place))
        if self.cooldowns.running:
            for ended in self.cooldowns.clear(place):
                self._tell(Change("cooldown_over", place, ended.scope, ended.kind))

    def failed(self, target: Known, began: float, fault: Fault, reaction: Reaction, now: float) -> None:
        """An attempt failed."""
        place = target.place
        self.latencies.ended(place)
        if not target.cooldown:
            self.limiter.release(place, "other", now)
            return
        before = self.limiter.limit(place, now)
        self.limiter.release(place, outcome(fault.kind), now)
        if self.limiter.limit(place, now) < before:
            self._tell(Change("limited", place, kind=fault.kind))
        if row(fault.kind).counts:
            self._count(place, began, fault, now)
        else:
            self.breakers.released(place, began)
        cooling = reaction.cooling
        if cooling is not None:
            self.cool(place, cooling.scope, fault.kind, now, cooling.seconds)

    def dropped(self, target: Known, began: float, now: float) -> None:
        """An attempt ended without saying anything about its target: the client left, the gateway stops."""
        self.latencies.ended(target.place)
        self.limiter.release(target.place, "other", now)
        self.breakers.released(target.place, began)

    def _count(self, place: Place, began: float, fault: Fault, now: float) -> None:
        was = self.breakers.state(place, now).until
        self.breakers.failed(place, now, began)
        until = self.breakers.state(place, now).until
        if until > was:
            self._tell(Change("breaker_open", place, kind=fault.kind, seconds=until - now))

    # -- by command ------------------------------------------------------------------------------------------------

    def cool(self, place: Place, scope: Scope, kind: str, now: float, seconds: float) -> None:
        """Leave `place`'s `scope` alone for `seconds`."""
        known = self.cooldowns.of(place, now)
        cooldown = self.cooldowns.start(place, scope, kind, now, seconds)
        if cooldown is not known and cooldown.since == now:
            self._tell(Change("cooldown", place, scope, kind, seconds))

    def drain(self, place: Place) -> None:
        """No further call goes to `place`'s model, until it is reopened. Those under way go on."""
        self.drained.add((place.provider, place.model))
        self._tell(Change("drained", place, "model", "operator"))

    def reopen(self, place: Place) -> None:
        """Calls may go to `place` again, whatever kept them from it."""
        self.drained.discard((place.provider, place.model))
        self.cooldowns.clear(place)
        self.breakers.close(place)
        self._tell(Change("reopened", place, "model", "operator"))

    def apply(self, change: Change, now: float) -> None:
        """Take over what another replica has found, without telling anybody."""
        place, seconds = change.place, change.seconds
        if change.what == "cooldown" and seconds is not None:
            self.cooldowns.start(place, change.scope, change.kind, now, seconds)
        elif change.what == "cooldown_over":
            self.cooldowns.clear(place)
        elif change.what == "breaker_open" and seconds is not None:
            self.breakers.open(place, now, seconds)
        elif change.what == "breaker_closed":
            if self.breakers.state(place, now).name != "closed":
                self.limiter.ramp(place, now)  # it comes back: not everything at once
            self.breakers.close(place)
        elif change.what == "drained":
            self.drained.add((place.provider, place.model))
        elif change.what == "reopened":
            self.drained.discard((place.provider, place.model))
            self.cooldowns.clear(place)
            self.breakers.close(place)

    def _tell(self, change: Change) -> None:
        for tell in self.tell:
            tell(change)
