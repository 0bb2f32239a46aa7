"""Budgets of one key: so many dollars or tokens a day or month. Pure.

Money is whole micro-dollars: sums of floats drift, and Decimal is ten times slower. Days and months are those of a
named zone, UTC by default. A call belongs to the day on which it began, however long it takes.

**Reservation.** What a call may cost is set aside when it is admitted, and replaced by what it did cost when it has
ended (as payment cards do: authorise, then capture). A hard budget admits a call only if all that was spent, all that
is set aside and the call itself fit. So however many calls run at once, a hard budget is exceeded at most by the sum of
what single calls cost beyond what was set aside for them. To keep that small where estimates run low, what is set aside
is scaled by what the last calls cost against their estimates.

**Unknown is never nothing.** A call without a price takes nothing from a budget in USD, but it is counted, and a hard
budget refuses it unless it says `unknown = "allow"`. A call that ended without anybody knowing what it used costs
what was set aside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Literal
from zoneinfo import ZoneInfo

import msgspec

from understudy.access.limits import LARGEST

Unit = Literal["usd", "tokens"]
Span = Literal["day", "month"]

MICRO = 1_000_000
"""Micro-dollars in a dollar."""

_MEMORY = 0.98
"""How much of what was learnt about estimates is left after each call: about the last fifty count."""

_STEEPEST = 20.0
"""Estimates are never scaled by more: one absurd bill must not close a key."""


class Budget(msgspec.Struct, frozen=True, omit_defaults=True):
    """`amount` in micro-dollars or tokens. A hard one refuses; a soft one tells when it is used up (`Crossed`)."""

    unit: Unit
    amount: int
    per: Span
    hard: bool = True
    zone: str = "UTC"
    unknown: Literal["refuse", "allow"] = "refuse"

    def __str__(self) -> str:
        text = f"{self.unit}={amount(self.unit, self.amount)}/{self.per}"
        text += "" if self.hard else ",soft"
        text += "" if self.zone == "UTC" else f",zone={self.zone}"
        return text + ("" if self.unknown == "refuse" else ",unknown=allow")


class Crossed(msgspec.Struct, frozen=True):
    """An event: a budget is used up, told once in its day or month."""

    budget: Budget
    spent: int
    start: float


class Spent(msgspec.Struct, frozen=True):
    """What was spent of a budget in the period that began at `start`: to be kept over a restart."""

    unit: Unit
    per: Span
    zone: str
    start: float
    spent: int
    unpriced: int


def amount(unit: Unit, value: int) -> str:
    """An amount as people write it."""
    if unit == "tokens":
        return str(value)
    text = f"{Decimal(value) / MICRO:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def parse(text: str) -> Budget:
    """A budget as people write it: `usd=20/day`, `usd=500/month,soft,zone=Europe/Berlin`, `tokens=1000000/day`.

    Further words: `hard` (the default) or `soft`, `zone=`, `unknown=refuse` or `unknown=allow`. Raises ValueError.
    """
    head, *words = text.replace(" ", "").split(",")
    unit, _, rest = head.partition("=")
    number, _, per = rest.partition("/")
    settings: dict[str, object] = {"unit": unit, "amount": _number(unit, number, text), "per": per}
    for word in words:
        name, _, value = word.partition("=")
        if word in ("hard", "soft"):
            settings["hard"] = word == "hard"
        elif name in ("zone", "unknown") and value:
            settings[name] = value
        else:
            raise _unreadable(text, f"{word!r} is none of hard, soft, zone=, unknown=")
    try:
        budget = msgspec.convert(settings, Budget)
        ZoneInfo(budget.zone)
    except msgspec.ValidationError as error:
        raise _unreadable(text, str(error)) from None
    except (OSError, ValueError, LookupError):  # what zoneinfo raises for a name that is none
        raise _unreadable(text, "its zone is not in the time zone database") from None
    return budget


def _number(unit: str, number: str, text: str) -> int:
    try:
        value = Decimal(number) * (MICRO if unit == "usd" else 1)
        if value.is_finite() and 0 <= value <= LARGEST and value == int(value):
            return int(value)
    except InvalidOperation:
        pass
    raise _unreadable(text, "the amount is a number of dollars, or a whole number of tokens")


def _unreadable(text: str, why: str) -> ValueError:
    return ValueError(
        f"The budget {text!r} cannot be read: {why}. Write for instance `usd=20/day` or `tokens=1000/day`."
    )


def period(per: Span, zone: str, wall: float) -> tuple[float, float]:
    """Where the day or month around `wall` begins and ends, in Unix seconds."""
    here = ZoneInfo(zone) if zone != "UTC" else UTC
    date = datetime.fromtimestamp(wall, here).date()
    if per == "month":
        date = date.replace(day=1)
        after = date.replace(year=date.year + date.month // 12, month=date.month % 12 + 1)
    else:
        after = date.fromordinal(date.toordinal() + 1)
    begin, end = (datetime(day.year, day.month, day.day, tzinfo=here).timestamp() for day in (date, after))
    return begin, end


class Purse:
    """One budget, and what is spent and set aside of it. `unpriced` counts calls whose cost nobody knew."""

    __slots__ = ("_cost", "_estimated", "budget", "end", "reserved", "spent", "start", "told", "unpriced")

    def __init__(self, budget: Budget) -> None:
        self.budget = budget
        self.start = self.end = 0.0
        self.spent = self.reserved = self.unpriced = 0
        self.told = False
        self._estimated = self._cost = 0.0

    def turn(self, wall: float) -> None:
        """Begin another day or month if it is time. A clock that is set back begins none."""
        if wall >= self.end:
            self.start, self.end = period(self.budget.per, self.budget.zone, wall)
            self.spent = self.reserved = self.unpriced = 0
            self.told = False

    def scaled(self, estimate: int) -> int:
        """What to set aside for a call of this estimate."""
        if self._cost <= self._estimated:
            return estimate
        return math.ceil(estimate * min(self._cost / self._estimated, _STEEPEST))

    def learn(self, estimate: int, cost: int) -> None:
        """A call that cost nothing, having failed, teaches nothing."""
        if estimate > 0 and cost > 0:
            self._estimated = self._estimated * _MEMORY + estimate
            self._cost = self._cost * _MEMORY + cost

    def over(self) -> bool:
        """Whether the budget is a soft one and used up."""
        return not self.budget.hard and self.spent >= self.budget.amount

    def book(self, cost: int) -> Crossed | None:
        """Spend; says so when that uses the budget up for the first time."""
        self.spent += cost
        if self.spent < self.budget.amount or self.told:
            return None
        self.told = True
        return Crossed(self.budget, self.spent, self.start)


class Reserved(msgspec.Struct, gc=False):
    """What an admitted call had set aside: for each budget its purse, the period's start, the estimate, the amount."""

    parts: tuple[tuple[Purse, float, int | None, int], ...]


class Over(msgspec.Struct, frozen=True):
    """Why a call is refused: the budget, whether for want of a price, and the seconds until the period ends."""

    budget: Budget
    unpriced: bool
    wait: float


class Budgets:
    """The budgets of one key. `wall` is Unix time."""

    __slots__ = ("purses",)

    def __init__(self, budgets: Iterable[Budget]) -> None:
        self.purses: tuple[Purse, ...] = ()
        self.adopt(budgets)

    def adopt(self, budgets: Iterable[Budget]) -> None:
        """Go on with other budgets; what was spent of those that stay, if with another amount, stays spent."""
        kept = {_name(purse.budget): purse for purse in self.purses}
        purses = []
        for budget in budgets:
            purse = kept.pop(_name(budget), None) or Purse(budget)
            purse.budget = budget
            purse.told = purse.told and purse.spent >= budget.amount
            purses.append(purse)
        self.purses = tuple(purses)

    def admit(self, tokens: int, cost: int | None, wall: float) -> Reserved | Over:
        """Set aside what a call may take: `tokens`, and `cost` in micro-dollars, None if its price is not known."""
        parts: list[tuple[Purse, float, int | None, int]] = []
        for purse in self.purses:
            if wall >= purse.end:
                purse.turn(wall)
            budget = purse.budget
            estimate = cost if budget.unit == "usd" else tokens
            if estimate is None:
                if budget.hard and (budget.unknown == "refuse" or purse.spent >= budget.amount):
                    return Over(budget, unpriced=budget.unknown == "refuse", wait=purse.end - wall)
                parts.append((purse, purse.start, None, 0))
                continue
            part = purse.scaled(estimate)
            if budget.hard and purse.spent + purse.reserved + part > budget.amount:
                return Over(budget, unpriced=False, wait=purse.end - wall)
            parts.append((purse, purse.start, estimate, part))
        for purse, _, _, part in parts:
            purse.reserved += part
        return Reserved(tuple(parts))

    def settle(self, reserved: Reserved, tokens: int | None, cost: int | None) -> list[Crossed]:
        """The call has ended: book what it used; None is unknown. Gives the budgets that this used up."""
        crossed = []
        for purse, start, estimate, part in reserved.parts:
            used = cost if purse.budget.unit == "usd" else tokens
            if used is not None and estimate is not None:
                purse.learn(estimate, used)
            if purse.start != start:
                continue  # its day is over, and so is that day's account
            purse.reserved -= part
            if used is None and estimate is None:
                purse.unpriced += 1
                continue
            event = purse.book(part if used is None else used)
            if event is not None:
                crossed.append(event)
        return crossed

    def give_back(self, reserved: Reserved) -> None:
        """The call was not made after all."""
        for purse, start, _, part in reserved.parts:
            if purse.start == start:
                purse.reserved -= part

    def used_up(self) -> list[tuple[Budget, int]]:
        """The soft budgets that are used up, and what is spent of each."""
        return [(purse.budget, purse.spent) for purse in self.purses if purse.over()]

    def spent(self) -> list[Spent]:
        """What to keep over a restart. Calls under way count with what is set aside for them."""
        return [
            Spent(budget.unit, budget.per, budget.zone, purse.start, purse.spent + purse.reserved, purse.unpriced)
            for purse in self.purses
            if (budget := purse.budget) and purse.end
        ]

    def restore(self, before: Iterable[Spent], wall: float) -> None:
        """Go on from what was kept, where its day or month is not over."""
        known = {(spent.unit, spent.per, spent.zone, spent.start): spent for spent in before}
        for purse in self.purses:
            purse.turn(wall)
            kept = known.get((*_name(purse.budget), purse.start))
            if kept is not None and kept.spent > purse.spent:
                purse.spent, purse.unpriced = kept.spent, max(kept.unpriced, purse.unpriced)
                purse.told = purse.spent >= purse.budget.amount


def _name(budget: Budget) -> tuple[Unit, Span, str]:
    return (budget.unit, budget.per, budget.zone)
