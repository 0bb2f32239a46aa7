"""Verdicts on suites whose truth is known: `python -m tests.rehearsal.simulation` prints the table of the guide."""

import argparse

import numpy as np

from tests.rehearsal.test_intervals import KINDS, differences
from understudy.rehearsal import intervals

MARGIN = 0.05


def told(kind, truth, size, suites, seed):
    """Shares of suites whose interval covers the truth, and that are called ready, however often one looked before.

    A bound once reached stays: who looks after every case never sees "ready" more often than who looks at the end.
    """
    chance = np.random.default_rng(seed)
    covered = ready = 0
    for _ in range(suites):
        found = intervals.mean(differences(chance, kind, truth, size), 0.05, size, lowest=-1.0)
        covered += found.low <= truth <= found.high
        ready += found.low > -MARGIN
    return covered / suites, ready / suites


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suites", type=int, default=2000)
    suites = parser.parse_args().suites
    print("| scores | true difference | cases | interval covers | ready |")
    print("|---|--:|--:|--:|--:|")
    for kind in KINDS:
        spread = float(differences(np.random.default_rng(0), kind, 0.0, 200_000).std())
        needed = intervals.needed(spread, MARGIN, 0.05)
        for truth, size in ((-0.1, 300), (-0.05, 300), (-0.05, needed), (0.0, needed)):
            covered, ready = told(kind, truth, size, suites, 1)
            note = " (as recommended)" if size == needed else ""
            print(f"| {kind} | {truth:+.0%} | {size}{note} | {covered:.1%} | {ready:.1%} |")


if __name__ == "__main__":
    main()
