"""Limits and budgets of all keys, in this process: whoever runs one gateway needs no more.

Decisions take a microsecond or two and never wait. The lock is for programs with an event loop in each of several
threads; nobody holds it longer than a decision, and where there is one loop it is never found locked.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from threading import Lock

from understudy.access.budgets import Budgets, Crossed, Over, Spent
from understudy.access.keys import Key
from understudy.access.limits import Left, Limits, Short
from understudy.access.verdict import Verdict, limited, over_budget


class Account:
    """What one key has used."""

    __slots__ = ("budgets", "key", "limits")

    def __init__(self, key: Key) -> None:
        self.key = key
        self.limits = Limits(key.limits)
        self.budgets = Budgets(key.budgets)

    def left(self, now: float) -> list[Left]:
        return self.limits.left(now)

    def adopt(self, key: Key) -> None:
        self.key = key
        self.limits.adopt(key.limits)
        self.budgets.adopt(key.budgets)


class Local:
    """`admit` a call, and `settle` it when it has ended. `tell` hears, with the key's id, when a budget is used up."""

    def __init__(self, tell: Callable[[str, Crossed], None] | None = None) -> None:
        self._accounts: dict[str, Account] = {}
        self._lock = Lock()
        self._tell = tell
        self._before: Mapping[str, Iterable[Spent]] = {}

    def admit(
        self, key: Key, tokens: float, cost: int | None, now: float, wall: float, *, whole: float | None = None
    ) -> Verdict:
        """Whether a call may come in that takes about `tokens` and costs about `cost` micro-dollars (None: unknown).

        `whole` are the tokens that it takes from budgets, where that is another figure. `now` is monotonic, `wall` Unix
        time. What was not needed comes back.
        """
        if not key.limits and not key.budgets:
            return Verdict(key.id)
        size = math.ceil(tokens)
        with self._lock:
            account = self._accounts.get(key.id)
            if account is None or account.key is not key:
                account = self._account(key, wall)
            taken = account.limits.admit(size, now)
            if isinstance(taken, Short):
                return Verdict(key.id, limited(taken), now, size, accounts=account)
            if not account.budgets.purses:
                return Verdict(key.id, None, now, size, taken, accounts=account)
            reserved = account.budgets.admit(size if whole is None else math.ceil(whole), cost, wall)
            if isinstance(reserved, Over):
                account.limits.give_back(taken)
                return Verdict(key.id, over_budget(reserved), now, size, accounts=account)
            return Verdict(key.id, None, now, size, taken, reserved, account, used_up=account.budgets.used_up())

    def settle(self, verdict: Verdict, tokens: int | None, cost: int | None) -> list[Crossed]:
        """The call has ended. `tokens` is all that it used, all attempts together; None for what nobody knows.

        A second time changes nothing.
        """
        account, taken = verdict.accounts, verdict.taken
        if not isinstance(account, Account) or taken is None:
            return []
        with self._lock:
            if verdict.settled:
                return []
            verdict.settled = True
            account.limits.settle(taken, tokens)
            crossed = [] if verdict.reserved is None else account.budgets.settle(verdict.reserved, tokens, cost)
        if self._tell is not None:
            for event in crossed:
                self._tell(verdict.key, event)
        return crossed

    def give_back(self, verdict: Verdict) -> None:
        """The call was not made: nothing of it counts."""
        account, taken = verdict.accounts, verdict.taken
        if not isinstance(account, Account) or taken is None:
            return
        with self._lock:
            if not verdict.settled:
                verdict.settled = True
                account.limits.give_back(taken)
                if verdict.reserved is not None:
                    account.budgets.give_back(verdict.reserved)

    def left(self, key: Key, now: float) -> list[Left]:
        """What is left of a key's limits, for people."""
        with self._lock:
            account = self._accounts.get(key.id)
            return Limits(key.limits).left(now) if account is None else account.left(now)

    def forget(self, identifier: str) -> None:
        """A key that was deleted."""
        with self._lock:
            self._accounts.pop(identifier, None)

    def spent(self) -> dict[str, list[Spent]]:
        """What was spent of budgets, by key: to be kept over a restart."""
        with self._lock:
            return {name: account.budgets.spent() for name, account in self._accounts.items() if account.key.budgets}

    def restore(self, before: Mapping[str, Iterable[Spent]]) -> None:
        """Go on from what was kept. Before the first call."""
        self._before = before

    def know(self, key: Key, spent: Iterable[Spent], wall: float) -> None:
        """What all replicas together have spent of a key's budgets, for when this one has to decide alone."""
        with self._lock:
            self._account(key, wall).budgets.restore(spent, wall)

    def _account(self, key: Key, wall: float) -> Account:
        account = self._accounts.get(key.id)
        if account is None:
            account = self._accounts[key.id] = Account(key)
            if key.id in self._before:
                account.budgets.restore(self._before[key.id], wall)
        elif account.key is not key:
            account.adopt(key)
        return account
