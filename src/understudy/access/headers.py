"""What a client is told of its limits, in its dialect's own headers, so that its SDK waits as long as needed.

- OpenAI's dialects: `x-ratelimit-{limit,remaining,reset}-{requests,tokens}`, the reset a duration as Go writes it
  (`12ms`, `6m0s`) until the limit is whole again; platform.openai.com/docs/guides/rate-limits. Ollama and Cohere have
  no headers for this; their clients get these as well, since tools that know any know them.
- Anthropic: `anthropic-ratelimit-{requests,tokens}-{limit,remaining,reset}`, the reset an RFC 3339 time;
  docs.anthropic.com/en/api/rate-limits.
- Gemini and Bedrock send none, and their SDKs read none. Gemini's clients find the wait in the error (`RetryInfo`),
  AWS's in `x-amz-retry-after`, in milliseconds (botocore, `retries/standard.py`).
- All: `retry-after` in whole seconds (RFC 9110), rounded up; and `retry-after-ms`, which the SDKs of OpenAI, Anthropic
  and Cohere prefer. Where trying again soon is of no use they are told `x-should-retry: false`.
- A soft budget that is used up is told to all, in a header of our own.

These headers have room for one limit on requests and one on tokens; a key with several of a kind shows the scarcest.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from understudy.access.budgets import Budget, amount
from understudy.access.limits import Left
from understudy.access.verdict import PASSING, Verdict

Headers = list[tuple[bytes, bytes]]

_ANTHROPIC = "anthropic-messages"
_AWS = "bedrock-converse"
_SILENT = frozenset({"gemini", _AWS})


def told(verdict: Verdict, dialect: str, wall: float) -> Headers:
    """The headers that go with the answer to a call, refused or not. `wall` is Unix time."""
    lines = limits(verdict.left(), dialect, wall)
    if verdict.used_up:
        lines.append((b"x-understudy-budget", ", ".join(map(_used_up, verdict.used_up)).encode()))
    refusal = verdict.refusal
    if refusal is not None:
        if refusal.retry_after is not None:
            lines += retry_after(refusal.retry_after)
            if dialect == _AWS:
                lines.append((b"x-amz-retry-after", lines[-1][1]))
        if refusal.code not in PASSING:
            lines.append((b"x-should-retry", b"false"))
    return lines


def limits(lefts: Sequence[Left], dialect: str, wall: float) -> Headers:
    """What is left, in the words of `dialect`."""
    if dialect in _SILENT:
        return []
    lines: Headers = []
    for what in ("requests", "tokens"):
        scarce = _scarcest(left for left in lefts if left.limit.what == what)
        if scarce is None:
            continue
        if dialect == _ANTHROPIC:
            name = f"anthropic-ratelimit-{what}-{{}}"
            reset = datetime.fromtimestamp(math.ceil(wall + scarce.full_in), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        else:
            name = f"x-ratelimit-{{}}-{what}"
            reset = duration(scarce.full_in)
        for field, value in (("limit", scarce.limit.amount), ("remaining", scarce.left), ("reset", reset)):
            lines.append((name.format(field).encode(), str(value).encode()))
    return lines


def _used_up(budget_and_spent: tuple[Budget, int]) -> str:
    budget, spent = budget_and_spent
    return f"{budget.unit}={amount(budget.unit, budget.amount)}/{budget.per};spent={amount(budget.unit, spent)}"


def retry_after(seconds: float) -> Headers:
    return [
        (b"retry-after", str(max(1, math.ceil(seconds))).encode()),
        (b"retry-after-ms", str(max(1, math.ceil(seconds * 1000))).encode()),
    ]


def duration(seconds: float) -> str:
    """As Go writes it: `0s`, `12ms`, `1.5s`, `6m0s`, `1h0m0s`; rounded up to milliseconds."""
    thousandths = math.ceil(seconds * 1000 - 1e-6)
    if thousandths <= 0:
        return "0s"
    if thousandths < 1000:
        return f"{thousandths}ms"
    minutes, rest = divmod(thousandths, 60_000)
    hours, minutes = divmod(minutes, 60)
    whole = f"{rest // 1000}.{rest % 1000:03}".rstrip("0").rstrip(".") + "s"
    if hours:
        return f"{hours}h{minutes}m{whole}"
    return f"{minutes}m{whole}" if minutes else whole


def _scarcest(lefts: Iterable[Left]) -> Left | None:
    return min(lefts, key=lambda left: left.left / left.limit.amount if left.limit.amount else 0.0, default=None)
