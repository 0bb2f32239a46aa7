"""Which targets a call may go to, in which order. Pure: chance, loads and weights are handed in.

Where it comes from, and what was adapted:

- Envoy's priorities: targets of the same rank share the load, those of the next only help out.
- Rendezvous hashing (Thaler and Ravishankar, 1998): a conversation stays with the target that has its prompt cached.
  When a target is left out, only its own conversations move; when it is back, they return. Weights as logarithms of
  the hash (Schindelhauer and Schomaker, 2005).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import Literal, Protocol, TypeVar

from understudy.resilience.cooldown import Cooldowns, Place
from understudy.resilience.quota import Quotas

Order = Literal["listed", "weighted", "least_loaded"]
"""`listed`: as configured. `weighted`: by chance, in proportion to weights. `least_loaded`: the lowest load first."""


class Placed(Protocol):
    @property
    def place(self) -> Place: ...
    @property
    def cooldown(self) -> bool: ...


T = TypeVar("T", bound=Placed)


def arrange(
    targets: Sequence[T],
    order: Order,
    *,
    chance: float = 0.0,
    affinity: str = "",
    rank: Callable[[T], int] | None = None,
    weight: Callable[[T], float] | None = None,
    load: Callable[[T], float] | None = None,
) -> list[T]:
    """`targets` by rank, the lowest first, and within a rank by `order`.

    Without `rank`, `listed` targets each have a rank of their own and the others all have the same. `chance` is in
    [0, 1). `affinity`, if there is one, names what should stay together (a conversation, a prompt's beginning): it
    takes the place of `order` within a rank. `weight` is 1 where none is given; 0 means only when nobody else is left.
    """
    if rank is None:
        groups = [[target] for target in targets] if order == "listed" else [list(targets)]
    else:
        ranks: dict[int, list[T]] = {}
        for target in targets:
            ranks.setdefault(rank(target), []).append(target)
        groups = [ranks[number] for number in sorted(ranks)]
    arranged: list[T] = []
    for group in groups:
        if len(group) < 2:
            arranged += group
        elif affinity:
            arranged += _by_affinity(group, affinity, weight)
        elif order == "weighted":
            arranged += _by_weight(group, chance, weight)
        elif order == "least_loaded" and load is not None:
            arranged += sorted(group, key=load)
        else:
            arranged += group
    return arranged


def rotate(
    places: Sequence[Place], cooldowns: Cooldowns, quotas: Quotas, now: float, *, turn: int = 0, tokens: float = 0.0
) -> list[Place]:
    """The keys of one provider, best first: not cooling down, then able to take `tokens` soonest, then most quota left.

    Those that are equal take turns: `turn` is a number that the caller counts up.
    """
    if len(places) < 2:
        return list(places)
    start = turn % len(places)

    def worth(place: Place) -> tuple[float, float, float]:
        cooldown = cooldowns.of(place, now)
        return (cooldown.until if cooldown else 0.0, quotas.admits(place, tokens, now), -quotas.room(place, now))

    return sorted([*places[start:], *places[:start]], key=worth)


def _by_weight(group: list[T], chance: float, weight: Callable[[T], float] | None) -> list[T]:
    """A draw without putting back. One number is chance enough: what is left of it after a draw is again uniform."""
    left = [(target, 1.0 if weight is None else max(0.0, weight(target))) for target in group]
    drawn: list[T] = []
    while left:
        total = sum(share for _, share in left)
        if total <= 0:
            break
        point, index = chance * total, 0
        while index < len(left) - 1 and point >= left[index][1]:
            point -= left[index][1]
            index += 1
        target, share = left.pop(index)
        drawn.append(target)
        chance = min(point / share, 1.0) if share else 0.0
    return drawn + [target for target, _ in left]


def _by_affinity(group: list[T], affinity: str, weight: Callable[[T], float] | None) -> list[T]:
    """Each target's score for this key is its own affair, so leaving one out moves nobody else's keys."""

    def score(target: T) -> float:
        place = target.place
        name = f"{affinity}\n{place.provider}\n{place.model}\n{place.endpoint}\n{place.key}"
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=6).digest()
        uniform = (int.from_bytes(digest) + 0.5) / 2**48  # never 0 nor 1
        share = 1.0 if weight is None else max(0.0, weight(target))
        return -share / math.log(uniform)

    return sorted(group, key=score, reverse=True)
