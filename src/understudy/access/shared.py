"""Limits and budgets of all replicas together, through Redis: exact, as if there were one gateway.

A decision is one run of `admit.lua`: the windows of `limits.py` and the reservations of `budgets.py`, whole or not at
all, by the server's clock. It is the only round trip that a call waits for, and no longer than `patience`; what is to
be booked when it has ended goes to Redis afterwards (`settle.lua`), while nobody waits.

A call holds a lease. A replica that dies leaves leases behind, which end by themselves; what was set aside for them
counts as spent, since nobody knows what they cost.

When Redis does not answer: `open` (the default) decides by limits of this process alone, and by all that is known to be
spent; what is spent meanwhile is booked when Redis is back. `closed` refuses with 503. A Redis that lost its memory
learns with the next call what replicas know to be spent, the most that one of them knows; what calls cost that were
under way just then it does not learn.

Days and months begin by the clock of the replica that asks.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from importlib import resources
from typing import Literal

from understudy import clock
from understudy.access.budgets import Budget, Budgets, Crossed, Purse, Spent
from understudy.access.keys import Key
from understudy.access.limits import SECONDS, SLOTS, Left, Limit
from understudy.access.line import Line, Reply
from understudy.access.local import Local
from understudy.access.verdict import Refusal, Verdict, beyond, limited_by

LEASE = 3600
"""Seconds after which a call that nobody settled is taken for ended: longer than any call lasts."""

_US = 1_000_000
_KEPT = 86_400
"""Seconds for which a budget is kept after its period: calls that began in it are still under way."""

_HEAD = 5
_ADMIT = resources.files(__package__).joinpath("admit.lua").read_text("utf-8")
_SETTLE = resources.files(__package__).joinpath("settle.lua").read_text("utf-8")

UNAVAILABLE = Refusal(
    "limits_unavailable", "The gateway cannot look up what is left of this key's limits. Try again in a moment.", 1.0
)


class _Plan:
    """One key, prepared: what each of its decisions says alike. The purses know what all replicas have spent."""

    def __init__(self, key: Key, prefix: str) -> None:
        self.prefix = f"{prefix}:access:{{{key.id}}}"
        self.budgets = Budgets(())
        self.adopt(key)

    def adopt(self, key: Key) -> None:
        self.key = key
        self.budgets.adopt(key.budgets)
        # The same kind of window twice would be counted twice over: the narrower one says all.
        narrow: dict[tuple[str, str], Limit] = {}
        for limit in key.limits:
            if limit.per is not None:
                other = narrow.get((limit.what, limit.per), limit)
                narrow[limit.what, limit.per] = min(limit, other, key=lambda one: one.amount)
        self.windows = tuple(narrow.values())
        at_once = [limit for limit in key.limits if limit.what == "parallel"]
        self.parallel = min(at_once, key=lambda one: one.amount, default=None)
        self.widths = [round(SECONDS[per] * _US / SLOTS) for _, per in narrow]
        self.of_tokens = [limit.what == "tokens" for limit in self.windows]
        self.names = [f"{self.prefix}:leases", *(f"{self.prefix}:{limit.what}:{limit.per}" for limit in self.windows)]
        self.said: list[int] = []
        for limit, width, of_tokens in zip(self.windows, self.widths, self.of_tokens, strict=True):
            self.said += (limit.amount, width, int(of_tokens))

    def purse(self, budget: Budget) -> Purse:
        """The purse of this kind of budget."""
        kind = (budget.unit, budget.per, budget.zone)
        found = (one for one in self.budgets.purses if (one.budget.unit, one.budget.per, one.budget.zone) == kind)
        return next(found, None) or Purse(budget)


class _Lease:
    """What a call was admitted with: what settling it needs."""

    __slots__ = ("at", "id", "keeps", "names", "parts", "plan", "tokens", "whole", "widths")

    def __init__(self, plan: _Plan, tokens: int, whole: int) -> None:
        self.id = clock.token(8)
        self.plan = plan
        self.tokens = tokens
        self.whole = whole
        self.at = 0
        self.names = list(plan.names)
        self.widths = list(zip(plan.widths, plan.of_tokens, strict=True))
        self.parts: list[tuple[Purse, float, int | None, int]] = []
        self.keeps: list[int] = []


class Shared:
    """`admit` and `settle` as `Local` has them, for all replicas at `url` with the same `prefix`.

    `tell` hears, with the key's id, when a budget is used up: on the replica whose call did it.
    """

    def __init__(
        self,
        url: str,
        prefix: str = "understudy",
        *,
        local: Local,
        when_gone: Literal["open", "closed"] = "open",
        patience: float,
        lease: int = LEASE,
        tell: Callable[[str, Crossed], None] | None = None,
    ) -> None:
        """`patience`: seconds that a call waits for Redis at most. Raises ValueError when `url` is none of Redis."""
        self._prefix = prefix
        self._local = local
        self._open = when_gone == "open"
        self._lease = lease
        self._tell = tell
        self._plans: dict[str, _Plan] = {}
        self._before: Mapping[str, Iterable[Spent]] = {}
        self._leases: dict[str, _Lease] = {}
        self._line = Line(url, (_ADMIT, _SETTLE), patience)
        self.alone = 0

    def start(self) -> None:
        self._line.start()

    async def close(self) -> None:
        await self._line.close()

    @property
    def connected(self) -> bool:
        return self._line.up

    def report(self) -> dict[str, object]:
        """For operators: decisions made without Redis, and settlements that could not be kept."""
        return {"connected": self._line.up, "alone": self.alone, "lost": self._line.lost}

    def restore(self, before: Mapping[str, Iterable[Spent]]) -> None:
        """Go on from what was kept. Before the first call."""
        self._before = before
        self._local.restore(before)

    def spent(self) -> dict[str, list[Spent]]:
        """What all replicas have spent of the budgets, as far as this one knows."""
        found = {name: plan.budgets.spent() for name, plan in self._plans.items() if plan.key.budgets}
        return {name: rows for name, rows in found.items() if rows}

    async def admit(
        self, key: Key, tokens: float, cost: int | None, now: float, wall: float, *, whole: float | None = None
    ) -> Verdict:
        """Whether a call may come in; see `Local.admit`."""
        if not key.limits and not key.budgets:
            return Verdict(key.id)
        plan = self._plan(key, wall)
        if self._line.up:
            lease = _Lease(plan, math.ceil(tokens), math.ceil(tokens if whole is None else whole))
            args = self._args(lease, cost, wall)
            reply = await self._line.ask(_ADMIT, lease.names, args, partial(self._late, lease))
            if reply is not None:
                return self._verdict(lease, reply, now, wall)
        self.alone += 1
        if not self._open:
            return Verdict(key.id, UNAVAILABLE)
        if plan.budgets.purses:
            self._local.know(key, plan.budgets.spent(), wall)
        return self._local.admit(key, tokens, cost, now, wall, whole=whole)

    def settle(self, verdict: Verdict, tokens: int | None, cost: int | None) -> None:
        """The call has ended; see `Local.settle`. Does not wait: it is booked as soon as Redis takes it."""
        lease = self._leases.pop(verdict.lease, None)
        if lease is not None:
            verdict.settled = True
            more = 0 if tokens is None else tokens - lease.tokens
            self._end(lease, [more if of_tokens else 0 for _, of_tokens in lease.widths], tokens, cost)
        elif verdict.taken is not None and not verdict.settled:
            self._local.settle(verdict, tokens, cost)
            self._book(verdict, tokens, cost)

    def give_back(self, verdict: Verdict) -> None:
        """The call was not made: nothing of it counts."""
        lease = self._leases.pop(verdict.lease, None)
        if lease is not None:
            verdict.settled = True
            self._end(lease, [-lease.tokens if of_tokens else -1 for _, of_tokens in lease.widths], None, None, no=True)
        else:
            self._local.give_back(verdict)

    def forget(self, identifier: str) -> None:
        """A key that was deleted. What Redis has of it expires."""
        self._plans.pop(identifier, None)
        self._local.forget(identifier)

    # -- asking --------------------------------------------------------------------------------------------------------

    def _plan(self, key: Key, wall: float) -> _Plan:
        plan = self._plans.get(key.id)
        if plan is None:
            plan = self._plans[key.id] = _Plan(key, self._prefix)
            plan.budgets.restore(self._before.get(key.id, ()), wall)
        elif plan.key is not key:
            plan.adopt(key)
        return plan

    def _args(self, lease: _Lease, cost: int | None, wall: float) -> list[str | int]:
        """What `admit.lua` is told; notes in the lease what is set aside."""
        plan = lease.plan
        said: list[str | int] = [
            lease.id,
            self._lease,
            lease.tokens,
            plan.parallel.amount if plan.parallel else -1,
            len(plan.windows),
            len(plan.budgets.purses),
            *plan.said,
        ]
        for purse in plan.budgets.purses:
            if wall >= purse.end:
                purse.turn(wall)
            budget = purse.budget
            estimate = cost if budget.unit == "usd" else lease.whole
            part = -1 if estimate is None else purse.scaled(estimate)
            keep = math.ceil(purse.end - wall) + _KEPT
            name = _budget_name(plan, purse)
            lease.names += (name, f"{name}:held")
            lease.parts.append((purse, purse.start, estimate, max(part, 0)))
            lease.keeps.append(keep)
            said += (budget.amount, int(budget.hard), part, int(budget.unknown == "refuse"), purse.spent, keep)
        return said

    def _verdict(self, lease: _Lease, reply: Reply, now: float, wall: float) -> Verdict:
        plan = lease.plan
        code, which, wait, at, under_way, *rest = map(int, reply)
        lefts = [Left(limit, rest[2 * index], rest[2 * index + 1] / _US) for index, limit in enumerate(plan.windows)]
        if plan.parallel is not None:
            lefts.append(Left(plan.parallel, max(0, plan.parallel.amount - under_way), 0.0))
        for (purse, start, _, _), spent in zip(lease.parts, rest[2 * len(plan.windows) :], strict=True):
            if purse.start == start and spent > purse.spent:
                purse.spent = spent
        verdict = Verdict(plan.key.id, None, now, lease.tokens, lefts=lefts, used_up=plan.budgets.used_up())
        if code:
            verdict.refusal = _refusal(lease, code, which - 1, None if wait < 0 else wait / _US, wall)
        else:
            lease.at = at
            verdict.lease = lease.id
            self._leases[lease.id] = lease
        return verdict

    def _late(self, lease: _Lease, reply: Reply | None) -> None:
        """Nobody waits for this decision any more. If it was made, or may have been, it is taken back."""
        if reply is None or int(reply[0]) == 0:
            lease.at = 0 if reply is None else int(reply[3])
            self._end(lease, [-lease.tokens if of_tokens else -1 for _, of_tokens in lease.widths], None, None, no=True)

    # -- booking -------------------------------------------------------------------------------------------------------

    def _end(self, lease: _Lease, more: list[int], tokens: int | None, cost: int | None, *, no: bool = False) -> None:
        """Have a lease ended; `no`: the call was not made."""
        said: list[str | int] = [lease.id, "lease", len(lease.widths), len(lease.parts)]
        for (width, _), add in zip(lease.widths, more, strict=True):
            said += (lease.at, width, add)
        for (purse, start, estimate, part), keep in zip(lease.parts, lease.keeps, strict=True):
            used = cost if purse.budget.unit == "usd" else tokens
            if used is not None and estimate is not None:
                purse.learn(estimate, used)
            said += (part, 0 if no else -1 if used is None else used)
            said += (int(used is None and estimate is None and not no), _known(purse, start), keep)
        self._line.tell(_SETTLE, lease.names, said, partial(self._booked, lease.plan, lease.parts))

    def _book(self, verdict: Verdict, tokens: int | None, cost: int | None) -> None:
        """Have Redis know what a call cost that this process let in alone."""
        plan, reserved = self._plans.get(verdict.key), verdict.reserved
        if plan is None or reserved is None or not reserved.parts:
            return
        names = [f"{plan.prefix}:leases"]
        said: list[str | int] = [clock.token(8), "book", 0, len(reserved.parts)]
        parts = [(plan.purse(purse.budget), start, estimate, part) for purse, start, estimate, part in reserved.parts]
        for purse, start, estimate, part in parts:
            used = cost if purse.budget.unit == "usd" else tokens
            name = _budget_name(plan, purse, start)
            names += (name, f"{name}:held")
            said += (part, -1 if used is None else used, int(used is None and estimate is None))
            said += (_known(purse, start), 32 * _KEPT)
        self._line.tell(_SETTLE, names, said, partial(self._booked, plan, parts))

    def _booked(self, plan: _Plan, parts: Iterable[tuple[Purse, float, int | None, int]], reply: Reply | None) -> None:
        if not reply:
            return
        for index, (purse, start, _, _) in enumerate(parts):
            before, after = int(reply[2 * index]), int(reply[2 * index + 1])
            if purse.start == start and after > purse.spent:
                purse.spent = after
            amount = purse.budget.amount
            if self._tell is not None and before < amount <= after:
                self._tell(plan.key.id, Crossed(purse.budget, after, start))


def _known(purse: Purse, start: float) -> int:
    """What is known to be spent in the period that began at `start`."""
    return purse.spent if purse.start == start else 0


def _budget_name(plan: _Plan, purse: Purse, start: float | None = None) -> str:
    budget = purse.budget
    return f"{plan.prefix}:{budget.unit}:{budget.per}:{budget.zone}:{int(purse.start if start is None else start)}"


def _refusal(lease: _Lease, code: int, which: int, wait: float | None, wall: float) -> Refusal:
    plan = lease.plan
    if code in (1, 2):
        return limited_by(plan.windows[which], wait)
    if code == 3:
        assert plan.parallel is not None
        return limited_by(plan.parallel, wait)
    purse = lease.parts[which][0]
    return beyond(purse.budget, unpriced=code == 5, wait=purse.end - wall)
