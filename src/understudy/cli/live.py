"""What a running gateway tells of its targets and their changes, as structs, and in words for people."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import msgspec
from msgspec import Meta

from understudy.cli.asking import Way, ask, plain, told

Moment = Annotated[float, Meta(ge=0, le=1e11)]
"""Unix time, up to the year 5138: what a calendar can hold."""


class Cooldown(msgspec.Struct, frozen=True):
    scope: str
    why: str
    seconds_left: float | None


class Breaker(msgspec.Struct, frozen=True):
    state: str
    failures: float
    seconds_left: float | None


class Quota(msgspec.Struct, frozen=True):
    limit_of: str
    limit: float
    left: float
    full_in: float | None


class FirstContent(msgspec.Struct, frozen=True):
    p95: float | None


class Target(msgspec.Struct, frozen=True):
    """How one target is, with one of its keys. See `gateway/admin.py`, which tells it."""

    target: str
    key: str | None
    state: str
    cooldown: Cooldown | None
    breaker: Breaker
    quota: list[Quota]
    in_flight: int
    limit: float | None
    first_content: FirstContent


class Targets(msgspec.Struct, frozen=True):
    targets: list[Target]


class Event(msgspec.Struct, frozen=True):
    number: Annotated[int, Meta(ge=1, lt=10**18)]
    at: Moment
    what: str
    target: str
    scope: str
    why: str
    seconds: float | None


class Events(msgspec.Struct, frozen=True):
    """`started` is when the gateway was, which tells one counting of events from another."""

    events: list[Event]
    started: float


class Follower:
    """Asks for what is new, again and again. A gateway that was started anew counts from 1 again, which it notices."""

    def __init__(self, way: Way, since: int = 0) -> None:
        self.way, self.since = way, since
        self._started: float | None = None

    async def news(self) -> list[Event]:
        """The changes since it asked last, oldest first. Raises CannotAskError."""
        found = await self._ask()
        if self._started is not None and found.started != self._started:
            self.since = 0
            found = await self._ask()
        self._started = found.started
        if found.events:
            self.since = found.events[-1].number
        return found.events

    async def _ask(self) -> Events:
        return told(self.way, await ask(self.way, "/admin/events", since=self.since), Events)


COLOURS = {"ready": "green", "half-open": "yellow", "cooling down": "yellow", "open": "red", "drained": "magenta"}


def reason(target: Target) -> str:
    """Why it is not ready, and for how long: `too many requests (key-model), 27 s left`. Empty if nothing is said."""
    if target.state == "drained":
        return "an operator has said so, until it is reopened"
    cooldown = target.cooldown
    if cooldown is not None:
        left = "until it is reopened" if cooldown.seconds_left is None else f"{span(cooldown.seconds_left)} left"
        return f"{plain(cooldown.why)} ({plain(cooldown.scope)}), {left}"
    if target.state == "open" and target.breaker.seconds_left is not None:
        return f"too many failures, {span(target.breaker.seconds_left)} left"
    return ""


def breaker(target: Target) -> str:
    found = target.breaker
    left = f", {span(found.seconds_left)} left" if found.seconds_left else ""
    failures = f", {found.failures:g} failures" if found.failures and found.state == "closed" else ""
    return f"{plain(found.state)}{left}{failures}"


def quota(limits: Sequence[Quota]) -> str:
    """What is left of the two scarcest limits: `requests 12 of 60, tokens 88k of 90k`."""
    scarce = sorted(limits, key=lambda one: one.left / one.limit if one.limit else 0.0)
    words = [f"{plain(one.limit_of)} {_count(one.left)} of {_count(one.limit)}" for one in scarce[:2]]
    return ", ".join(words) + (f" and {len(scarce) - 2} more" if len(scarce) > 2 else "")


def in_flight(target: Target) -> str:
    return f"{target.in_flight}" if target.limit is None else f"{target.in_flight} of {target.limit:.0f}"


def sentence(target: Target) -> str:
    """All of it in a line: `cooling down: too many requests (key-model), 27 s left; in flight 0 of 25`."""
    why = reason(target)
    words = [plain(target.state) + (f": {why}" if why else ""), f"in flight {in_flight(target)}"]
    if target.first_content.p95 is not None:
        words.append(f"95 of 100 begin within {latency(target.first_content.p95)}")
    if target.quota:
        words.append(f"left: {quota(target.quota)}")
    return "; ".join(words)


def line(event: Event) -> str:
    """One change: `15:04:05  #7  openai/gpt-5  cooldown for 30 s: too many requests (key-model)`."""
    when = datetime.fromtimestamp(event.at, UTC).astimezone()
    how_long = "" if event.seconds is None else f" for {span(event.seconds)}"
    why = f": {plain(event.why)}" if event.why else ""
    what = plain(event.what).replace("_", " ")
    whose = f"{plain(event.target)}  {what}"
    return f"{when:%Y-%m-%d %H:%M:%S}  #{event.number}  {whose}{how_long}{why} ({plain(event.scope)})"


def span(seconds: float) -> str:
    """How long, in the largest unit that says it well: `0.4 s`, `27 s`, `5 min`, `2.5 h`."""
    if seconds < 120:
        return f"{seconds:.1f} s" if seconds < 1 else f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def latency(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _count(number: float) -> str:
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e4, "k")):
        if number >= size:
            return f"{number / (1e3 if letter == 'k' else size):.3g}{letter}"
    return f"{number:.0f}"
