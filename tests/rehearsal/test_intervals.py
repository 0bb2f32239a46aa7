"""Intervals that hold whatever the distribution and whenever one stops: by simulation with known truth."""

import numpy as np
import pytest

from understudy.rehearsal import intervals

SUITES = 200
"""For each case here. `python -m tests.rehearsal.simulation` runs 2,000 of each, for docs/guides/rehearsal.md."""


def differences(chance, kind, truth, size):
    """Differences of two scores in [-1, 1] whose true mean is `truth`."""
    if kind == "agree or not":
        up, down = (0.15 + truth) / 2, (0.15 - truth) / 2
        return chance.choice([1.0, -1.0, 0.0], size=size, p=[up, down, 1 - up - down])
    if kind == "hardly ever":
        up, down = (abs(truth) + 0.01 + truth) / 2, (abs(truth) + 0.01 - truth) / 2
        return chance.choice([1.0, -1.0, 0.0], size=size, p=[up, down, 1 - up - down])
    return np.clip(chance.normal(truth, 0.2, size), -1, 1)


KINDS = ("agree or not", "hardly ever", "smooth")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("truth", [0.0, -0.05, -0.1])
def test_an_interval_covers_the_truth(kind, truth):
    chance = np.random.default_rng(1)
    covered = 0
    for _ in range(SUITES):
        found = intervals.mean(differences(chance, kind, truth, 300), 0.05, 300, lowest=-1.0)
        covered += found.low <= truth <= found.high
    assert covered / SUITES >= 0.94


@pytest.mark.parametrize("kind", KINDS)
def test_who_stops_at_the_first_good_look_is_not_fooled(kind):
    chance = np.random.default_rng(2)
    fooled = 0
    for _ in range(SUITES):
        values = differences(chance, kind, -0.05, 400)
        looks = (intervals.mean(values[:size], 0.05, 400, lowest=-1.0) for size in range(20, 401, 20))
        fooled += any(look.low > -0.05 for look in looks)
    assert fooled / SUITES <= 0.05


@pytest.mark.parametrize("kind", KINDS)
def test_the_size_that_is_recommended_is_enough(kind):
    chance = np.random.default_rng(3)
    spread = float(differences(chance, kind, 0.0, 100_000).std())
    size = intervals.needed(spread, 0.05, 0.05)
    told = [intervals.mean(differences(chance, kind, 0.0, size), 0.05, size, lowest=-1.0) for _ in range(SUITES)]
    assert sum(one.low > -0.05 for one in told) / SUITES >= 0.8


def test_more_cases_make_it_narrower():
    chance = np.random.default_rng(4)
    widths = []
    for size in (50, 500, 5000):
        found = intervals.mean(differences(chance, "smooth", 0.0, size), 0.05, size, lowest=-1.0)
        widths.append(found.high - found.low)
    assert widths[0] > widths[1] > widths[2]


def test_of_nothing_nothing_is_known():
    found = intervals.mean([], 0.05, 10, lowest=-1.0)
    assert (found.low, found.high, found.n) == (-1.0, 1.0, 0)


def test_bounds_hold_at_the_edges():
    found = intervals.mean([1.0] * 1000, 0.05, 1000)
    assert found.mean == found.high == 1.0
    assert 0.98 < found.low < 1.0
    found = intervals.mean([0.0] * 1000, 0.05, 1000)
    assert found.mean == found.low == 0.0
    assert 0.0 < found.high < 0.02


@pytest.mark.parametrize("wrong", [1.5, -0.1, float("nan")])
def test_values_out_of_bounds_are_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        intervals.mean([0.5, wrong], 0.05, 2)
