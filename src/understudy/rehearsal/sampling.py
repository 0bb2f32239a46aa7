"""Which exchanges are replayed: a simple random sample of the traffic, and more of what is rare in it.

The sample of the traffic is what the whole is judged by. Of a kind of which it has too few, further ones are drawn, and
marked: they count for their kind alone. The same seed over the same exchanges draws the same ones in the same order.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence


def draw(facets: Mapping[str, Sequence[str]], size: int, seed: int, *, least: int = 0) -> tuple[list[str], list[str]]:
    """Ids of the sample of the traffic, and of the further ones, each in random order.

    `facets` has those of each exchange by its id. `size` bounds the sample, `least` is how many of each facet there
    shall be, if there are that many.
    """
    chance = random.Random(seed)  # to be repeated, not to be secret
    names = sorted(facets)
    chance.shuffle(names)
    sample, left = names[:size], names[size:]
    counts: dict[str, int] = {}
    for name in sample:
        for facet in facets[name]:
            counts[facet] = counts.get(facet, 0) + 1
    more = []
    for name in left:
        if any(counts.get(facet, 0) < least for facet in facets[name]):
            more.append(name)
            for facet in facets[name]:
                counts[facet] = counts.get(facet, 0) + 1
    return sample, more


def shuffle(names: list[str], seed: int) -> None:
    """Put `names` into a random order, the same for the same seed: cases must come in one, or no look may be early."""
    random.Random(f"order {seed}").shuffle(names)
