"""What to do about a fault. Pure: it is told the time and what is left, and it never sleeps, calls or remembers.

Bounded retries on the same target come from gRPC A6 and Envoy (one retry, only where the table says the call was not
processed or the cause is passing); a provider's own `retry-after` is the floor of every wait, with jitter above it, and
a long one is a cooldown, never a sleep (AWS, "Exponential Backoff and Jitter").
"""

from __future__ import annotations

import math
from datetime import datetime, time, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import msgspec

from understudy.canon import Fault
from understudy.resilience.faults import Row, Scope, row

SOON = 2.0
"""Seconds a client may be kept waiting for the same target when there is nobody else, or the reset is that near."""

LONGEST_COOLDOWN = 24 * 3600.0
"""Seconds; a provider that names a longer time is believed only this far."""

LONGEST_DATE = 32 * LONGEST_COOLDOWN
"""The same for a date that the owner's own settings made, such as the first of next month."""

BACKOFF = 0.05
"""Seconds before a retry for which the provider named no time: long enough for a blip, too short to be felt."""


class State(msgspec.Struct, frozen=True):
    """What is left: `retries` on this target, `free` ones for calls that never reached it, `others` not tried yet.

    `continues` says that an answer which has begun may be gone on with. `moved` says that another target failed before
    this one. `remaining` is in seconds, until the route's deadline.
    `wall` is the Unix time, for what ends at midnight. `without` says that the caller can leave out of this call what
    the row of a fault names, and has not done so yet.
    """

    retries: int
    others: int
    free: int = 1
    committed: bool = False
    continues: bool = False
    moved: bool = False
    remaining: float = math.inf
    jitter: float = 0.0
    wall: float | None = None
    without: bool = False


class Cooling(msgspec.Struct, frozen=True):
    scope: Scope
    seconds: float


class Reaction(msgspec.Struct, frozen=True):
    """`delay` (seconds) comes before a retry; a `free` one is not counted. `surface` gives up: the client is told.

    `without` names what a retry must leave out of the call, and record as a loss.
    """

    action: Literal["retry", "fail_over", "surface"]
    delay: float = 0.0
    free: bool = False
    cooling: Cooling | None = None
    tell: bool = False
    counts: bool = False
    without: Literal["parameter", "prefill", "reasoning"] | None = None


def react(fault: Fault, state: State) -> Reaction:
    """The reaction to `fault`: the table's row, bounded by what is left.

    After commit what has gone to the client is the beginning of *this* answer: the call moves only if another attempt
    may go on with it.
    """
    entry = row(fault.kind)
    cooling = _cooling(fault, entry, state.wall)
    reaction = Reaction("surface", cooling=cooling, tell=entry.tell, counts=entry.counts)
    if state.remaining <= 0 or (state.committed and not state.continues):
        return reaction
    if state.committed:
        return _go_on(reaction, entry, state)
    if entry.without is not None and state.without:
        return msgspec.structs.replace(reaction, action="retry", free=True, without=entry.without)
    delay = _delay(fault, state.jitter)
    if _may_retry(entry, state, fault) and delay < state.remaining:
        return msgspec.structs.replace(reaction, action="retry", delay=delay, free=entry.retry == "free", cooling=None)
    # A substitute that finds the request malformed says something about itself: the first target did not think so.
    if state.others and (entry.fail_over or state.moved):
        return msgspec.structs.replace(reaction, action="fail_over")
    return reaction


def _go_on(reaction: Reaction, entry: Row, state: State) -> Reaction:
    """Somebody else is better than who has just broken off, except where only the way of asking was wrong."""
    if (entry.retry == "free" or entry.surface) and state.free:
        return msgspec.structs.replace(reaction, action="retry", free=True, cooling=None)
    if state.others:
        return msgspec.structs.replace(reaction, action="fail_over")
    if entry.fail_over and state.retries:
        return msgspec.structs.replace(reaction, action="retry", delay=BACKOFF, cooling=None)
    return reaction


def _may_retry(entry: Row, state: State, fault: Fault) -> bool:
    left = {"no": 0, "free": state.free}.get(entry.retry, state.retries)
    if left <= 0:
        return False
    if fault.retry_after is None:
        # A limit without a time is not known to end soon: asking again only uses it up.
        return entry.retry != "soon"
    return fault.retry_after <= SOON


def _delay(fault: Fault, jitter: float) -> float:
    """Never less than the provider asks for; `_may_retry` sees to it that this is no more than SOON."""
    floor = fault.retry_after if fault.retry_after is not None else BACKOFF
    return min(floor + jitter * max(floor, BACKOFF), max(floor, SOON))


def _cooling(fault: Fault, entry: Row, wall: float | None) -> Cooling | None:
    if entry.cool is None:
        return None
    seconds = entry.cool_seconds or math.inf
    if entry.cool_until == "day" and fault.day is not None and wall is not None:
        seconds = _until_midnight(wall, fault.day) or seconds
    elif entry.cool_until == "date" and fault.retry_after is not None:
        seconds = max(seconds, min(fault.retry_after, LONGEST_DATE))
    elif entry.trust_reset and fault.retry_after is not None:
        seconds = min(fault.retry_after, LONGEST_COOLDOWN)
    return Cooling(entry.cool, seconds)


def _until_midnight(wall: float, zone: str) -> float | None:
    """Seconds until the day ends in `zone`; None on a system that does not know it."""
    try:
        there = ZoneInfo(zone)
    except ZoneInfoNotFoundError:
        return None
    today = datetime.fromtimestamp(wall, there).date()
    return datetime.combine(today + timedelta(days=1), time(), there).timestamp() - wall
