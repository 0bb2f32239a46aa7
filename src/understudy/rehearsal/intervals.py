"""Confidence intervals for a mean, valid at whatever case one stops: betting on values in [0, 1].

A gambler who bets against "the mean is m" can only grow rich if it is not; so the means against which nobody could have
grown rich by 1/alpha, at any time so far, make an interval that covers the true mean with probability 1 - alpha at all
times at once (Ville's inequality). From Waudby-Smith and Ramdas, "Estimating means of bounded random variables by
betting", JRSS B 2024 (arXiv:2010.09686): their hedged capital process with predictable plug-in bets. Here the bets are
tuned for the number of cases that is planned, which costs no validity and makes the interval narrowest there.

Nothing is assumed of the distribution but the bounds and that the cases come in random order: no normality, no
large sample, and a look after every case is free.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist

import msgspec
import numpy as np
from numpy.typing import NDArray

_CAP = 0.5
"""Share of the capital that is put at risk at most: all of it could be lost to one case."""

_STEPS = 24
"""Halvings on the way to a bound: finer than anything that is shown."""

Values = NDArray[np.float64]


class Interval(msgspec.Struct, frozen=True):
    """`mean` of `n` values, and the bounds of its interval. `sd` is their standard deviation."""

    mean: float
    low: float
    high: float
    sd: float
    n: int


def mean(values: Sequence[float] | Values, alpha: float, planned: int, lowest: float = 0.0) -> Interval:
    """The mean of values between `lowest` and 1, in the random order in which they came.

    `planned` is how many there will be at most. Of no values the interval is all there is. Raises ValueError where a
    value is out of bounds.
    """
    given = np.asarray(values, dtype=np.float64)
    width = 1.0 - lowest
    x = (given - lowest) / width
    if x.size == 0:
        return Interval(math.nan, lowest, 1.0, math.nan, 0)
    if not (np.isfinite(x).all() and x.min() >= -1e-9 and x.max() <= 1 + 1e-9):
        raise ValueError(f"a value is not between {lowest:g} and 1")
    x = np.clip(x, 0.0, 1.0)
    bets = _bets(x, alpha, planned)
    wanted = math.log(2 / alpha)
    low, high = _bound(x, bets, wanted), 1.0 - _bound(1.0 - x, bets, wanted)
    middle = float(x.mean())
    # The mean of few values can lie outside of what the bets allow by a rounding.
    low, high = min(low, middle), max(high, middle)
    return Interval(
        lowest + width * middle, lowest + width * low, lowest + width * high, width * float(x.std()), int(x.size)
    )


def _bets(x: Values, alpha: float, planned: int) -> Values:
    """How much is bet on each value, from those before it only."""
    count = np.arange(1, x.size + 1, dtype=np.float64)
    means = (0.5 + np.cumsum(x)) / (count + 1)
    spread = (0.25 + np.cumsum((x - means) ** 2)) / (count + 1)
    before = np.concatenate(([0.25], spread[:-1]))
    size: Values = np.sqrt(2 * math.log(2 / alpha) / (np.maximum(before, 1e-9) * max(planned, x.size)))
    return size


def _bound(x: Values, bets: Values, wanted: float) -> float:
    """The least mean against which betting that it is higher has never earned `wanted` (a logarithm)."""
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        capped = np.minimum(bets, _CAP / middle)
        if np.cumsum(np.log1p(capped * (x - middle))).max() >= wanted:
            low = middle
        else:
            high = middle
    return low


def needed(sd: float, margin: float, alpha: float, power: float = 0.8) -> int:
    """Cases after which a mean of 0 (of values in [-1, 1] with this `sd`) is told from -`margin`, as likely as `power`.

    The width of the interval above for many values, sd * sqrt(2 log(2 / alpha) / n), and room for the mean's own
    chance; then what the bounds cost where values are few. Checked by simulation in tests/rehearsal.
    """
    many = (sd * (math.sqrt(2 * math.log(2 / alpha)) + NormalDist().inv_cdf(power)) / margin) ** 2
    few = 2 * math.log(2 / alpha) / margin
    return math.ceil(many + few)
