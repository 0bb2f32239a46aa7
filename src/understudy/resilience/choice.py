"""Which targets a call may go to, in which order. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Protocol, TypeVar

from understudy.resilience.cooldown import Cooldowns, Place


class Placed(Protocol):
    @property
    def place(self) -> Place: ...
    @property
    def cooldown(self) -> bool: ...


T = TypeVar("T", bound=Placed)


def choose(targets: Sequence[T], cooldowns: Cooldowns, now: float) -> Sequence[T]:
    """`targets` without those cooling down, order kept.

    When every one is cooling down, the one that comes back first: better one try at the least bad target than none
    (Envoy's panic threshold). A target with `cooldown` off is never left out.
    """
    if not len(cooldowns):
        return targets
    ready: list[T] = []
    least_bad, soonest = targets[0], math.inf
    for target in targets:
        cooldown = cooldowns.of(target.place, now) if target.cooldown else None
        if cooldown is None:
            ready.append(target)
        elif cooldown.until < soonest:
            least_bad, soonest = target, cooldown.until
    return ready or [least_bad]
