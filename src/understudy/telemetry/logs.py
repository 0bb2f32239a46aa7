"""One line of JSON for each exchange that is over: who was asked, what became of it, how long it took.

No content, no header, no key, and no word of a provider's message, which may quote any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from understudy.telemetry.over import Names, Over, OverAttempt

_encoder = msgspec.json.Encoder()
_KEPT = ("input", "output", "cached_read", "cached_write", "reasoning")


class Lines:
    """`write` takes a line at a time, without its end: a log's `info`, or a file's writer."""

    def __init__(self, write: Callable[[str], object], *, routes: Names, targets: Names) -> None:
        self._write = write
        self._routes = routes
        self._targets = targets

    def observe(self, exchange: Over, costs: Sequence[int | None] = ()) -> None:
        self._write(_encoder.encode(self.line(exchange, costs)).decode())

    def line(self, exchange: Over, costs: Sequence[int | None] = ()) -> dict[str, Any]:
        answered = exchange.outcome == "answered"
        return {
            "at": round(exchange.wall, 3),
            "exchange": exchange.id,
            "route": self._routes.shown(exchange.route.name, answered=answered),
            "dialect": exchange.call.door.dialect,
            "stream": exchange.call.stream,
            "outcome": exchange.outcome,
            "status": exchange.status,
            "seconds": _since(exchange.started, exchange.ended),
            **({} if exchange.cache is None else {"cache": exchange.cache}),
            "attempts": [
                self._attempt(attempt, exchange, costs[number] if number < len(costs) else None)
                for number, attempt in enumerate(exchange.attempts)
            ],
        }

    def _attempt(self, attempt: OverAttempt, exchange: Over, cost: int | None) -> dict[str, Any]:
        good = attempt.fault is None and exchange.outcome == "answered"
        told: dict[str, Any] = {
            "target": self._targets.shown(attempt.target, answered=good),
            "reaction": attempt.action,
            "after": _since(exchange.started, attempt.started),
            "first_content": _since(attempt.started, attempt.first_content),
            "seconds": _since(attempt.started, attempt.ended),
        }
        if attempt.fault is not None:
            told["fault"] = attempt.fault.kind
            told["fault_status"] = attempt.fault.status
        if attempt.way is not None:
            told["way"] = attempt.way
        usage = attempt.usage
        if usage is not None:
            told["tokens"] = {name: getattr(usage, name) for name in _KEPT if getattr(usage, name) is not None}
        if cost is not None:
            told["cost_usd"] = cost / 1_000_000
        return told


def _since(start: float, end: float | None) -> float | None:
    return None if end is None else round(end - start, 4)
