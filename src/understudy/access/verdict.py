"""Whether a call may come in, and what to tell its client: the same from one process and from all replicas."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Protocol

import msgspec

from understudy.access.budgets import Budget, Over, Reserved
from understudy.access.limits import Left, Limit, Short, Taken

Code = Literal["rate_limit_exceeded", "request_too_large", "budget_exceeded", "price_unknown", "limits_unavailable"]

STATUS: dict[Code, int] = {
    "rate_limit_exceeded": 429,
    "request_too_large": 429,
    "budget_exceeded": 429,
    "price_unknown": 403,
    "limits_unavailable": 503,
}
"""Of the answer. OpenAI and Anthropic answer 429 as well to a request that no limit could ever let through, and where
a budget is used up."""

PASSING = frozenset({"rate_limit_exceeded", "limits_unavailable"})
"""What a client's SDK may try again by itself."""


class Accounts(Protocol):
    def left(self, now: float) -> list[Left]: ...


class Refusal(msgspec.Struct, frozen=True):
    """Why a call may not come in. `retry_after` is in seconds; None where waiting does not help."""

    code: Code
    message: str
    retry_after: float | None

    @property
    def status(self) -> int:
        return STATUS[self.code]


class Verdict(msgspec.Struct):
    """`refusal` is None for a call that may come in; then hand this to `settle` when it has ended, once. `used_up` are
    the key's soft budgets that are, and what is spent of each.

    The other fields belong to whoever gave it: `taken`, `reserved` and `accounts` to `local.py`, `lease` to
    `shared.py`.
    """

    key: str
    refusal: Refusal | None = None
    at: float = 0.0
    tokens: int = 0
    taken: Taken | None = None
    reserved: Reserved | None = None
    accounts: Accounts | None = None
    lefts: list[Left] | None = None
    used_up: Sequence[tuple[Budget, int]] = ()
    lease: str = ""
    settled: bool = False

    @property
    def ok(self) -> bool:
        return self.refusal is None

    def left(self) -> list[Left]:
        """What is left of each of the key's limits, for headers. Worked out when asked."""
        if self.lefts is not None:
            return self.lefts
        return [] if self.accounts is None else self.accounts.left(self.at)


def limited(short: Short) -> Refusal:
    """The refusal of a rate limit."""
    return limited_by(short.limit, short.wait)


def limited_by(limit: Limit, wait: float | None) -> Refusal:
    if limit.what == "parallel":
        message = f"Too many calls are under way with this key (limit: {limit.amount} at once)."
        return Refusal("rate_limit_exceeded", f"{message} Wait until one has ended.", wait)
    if wait is None:
        message = f"This call is larger than the key's whole limit of {limit.amount} {limit.what} per {limit.per}."
        return Refusal("request_too_large", f"{message} Send less, or ask for a smaller answer.", None)
    message = f"Rate limit of this key reached: {limit.amount} {limit.what} per {limit.per}."
    return Refusal("rate_limit_exceeded", f"{message} Try again in {_seconds(wait)}.", wait)


def over_budget(over: Over) -> Refusal:
    """The refusal of a budget."""
    return beyond(over.budget, unpriced=over.unpriced, wait=over.wait)


def beyond(budget: Budget, *, unpriced: bool, wait: float) -> Refusal:
    named = f"{budget.per} budget in {'USD' if budget.unit == 'usd' else 'tokens'}"
    if unpriced:
        message = (
            f"The price of this model is not known, and this key has a hard {named}. Give the target a price, or the "
            'budget `unknown = "allow"`.'
        )
        return Refusal("price_unknown", message, None)
    message = f"The {named} of this key does not have room for this call; it begins anew in {_seconds(wait)}."
    return Refusal("budget_exceeded", message, wait)


def _seconds(wait: float) -> str:
    if wait < 1:
        return f"{math.ceil(wait * 1000)} ms"
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if wait >= 2 * size:
            return f"{math.ceil(wait / size)} {name}"
    return f"{math.ceil(wait)} s"
