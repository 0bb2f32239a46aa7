"""From scores to a verdict, and how long that holds."""

import msgspec
import numpy as np
import pytest

from understudy.rehearsal.verdict import MONTH, Judged, Readiness, decided, drift, stale, verdict

KINDS = ("kind:text", "kind:tools", "kind:structured")


def suite(size, worse, *, seed=1, ceiling=0.9, extra=0):
    """Cases of three kinds; of each the candidate is right less often than the incumbent by what `worse` says."""
    chance = np.random.default_rng(seed)
    cases = []
    for number in range(size + extra):
        kind = 2 if number >= size else int(chance.choice(3, p=(0.6, 0.3, 0.1)))
        right = float(chance.random() < ceiling - worse[kind])
        again = float(chance.random() < ceiling)
        cases.append(Judged(str(number), right, again, (KINDS[kind],), number >= size))
    return cases


def test_as_good_as_the_incumbent_is_ready():
    found = verdict(suite(4000, (0, 0, 0)))
    assert found.state == "ready"
    assert found.overall.candidate == pytest.approx(0.9, abs=0.02)


def test_far_worse_is_not_ready():
    assert verdict(suite(1000, (0.3, 0.3, 0.3))).state == "not ready"


def test_bad_at_one_kind_is_ready_for_the_others():
    found = verdict(suite(6000, (0, 0, 0.6)))
    assert found.state == "ready for"
    assert found.ready_for == ("kind:text", "kind:tools")
    assert found.strata["kind:structured"].finding == "not ready"


def test_good_on_the_whole_does_not_hide_a_kind_that_fails():
    found = verdict(suite(6000, (0, 0, 0.4), ceiling=0.95))
    assert found.state != "ready"


def test_too_few_cases_say_how_many_more():
    found = verdict(suite(40, (0, 0, 0)))
    assert found.state == "unknown"
    assert found.overall.more > 100
    assert not decided(found)


def test_no_case_is_no_verdict():
    found = verdict([])
    assert (found.state, found.overall.difference.n, found.overall.more) == ("unknown", 0, None)


def test_cases_drawn_for_a_rare_kind_count_for_it_alone():
    cases = suite(1000, (0, 0, 0.9), extra=1000)
    found = verdict(cases)
    assert found.overall.difference.n == 1000
    assert found.strata["kind:structured"].difference.n > 1000
    assert found.overall.difference.mean > -0.15


def test_without_a_second_try_the_ceiling_is_a_perfect_match():
    cases = [msgspec.structs.replace(case, ceiling=None) for case in suite(2000, (0, 0, 0))]
    found = verdict(cases)
    assert found.overall.ceiling == 1.0
    assert found.state == "not ready"


def test_the_incumbents_own_noise_is_not_held_against_the_candidate():
    chance = np.random.default_rng(5)
    noisy = [Judged(str(n), float(chance.random() < 0.5), float(chance.random() < 0.5), ()) for n in range(9000)]
    assert verdict(noisy).overall.finding == "ready"


def test_an_inferior_candidate_is_hardly_ever_ready():
    ready = sum(verdict(suite(500, (0.05, 0.05, 0.05), seed=seed)).state == "ready" for seed in range(200))
    assert ready / 200 <= 0.05


def readiness(**more):
    return Readiness("r", "c/m", "i/m", "digest", 1000.0, verdict([]), **more)


def test_a_verdict_ages():
    kept = readiness(incumbent_model="gpt-5", prompt="p", mix={"kind:text": 1.0})
    assert stale(kept, 2000.0, incumbent_model="gpt-5", prompt="p", mix={"kind:text": 1.0}) is None
    assert "31 days" in stale(kept, 1000.0 + MONTH + 86400)
    assert "gpt-5.1" in stale(kept, 2000.0, incumbent_model="gpt-5.1")
    assert "prompt" in stale(kept, 2000.0, prompt="q")
    assert "30%" in stale(kept, 2000.0, mix={"kind:text": 0.7, "kind:tools": 0.3})


def test_drift_is_of_the_facet_that_moved_most():
    before = {"kind:text": 0.5, "kind:tools": 0.5, "turn:first": 1.0}
    assert drift(before, before) == 0
    assert drift(before, {"kind:text": 0.5, "kind:tools": 0.5, "turn:later": 1.0}) == 1.0
