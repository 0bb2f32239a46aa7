import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Latencies, Place
from understudy.resilience.latency import DECAY, ENOUGH, UNKNOWN

FAST, SLOW = Place("a", "fast"), Place("b", "slow")


def answer(latencies, place, seconds, now):
    latencies.started(place, now)
    latencies.answered(place, seconds, now)
    latencies.ended(place)


def test_who_was_never_asked_has_no_load():
    assert Latencies().load(FAST, 0) == 0
    assert Latencies().p95(FAST) is None


def test_a_slow_answer_counts_at_once_and_a_fast_one_slowly():
    latencies = Latencies()
    answer(latencies, FAST, 0.2, 0)
    assert latencies.load(FAST, 0) == pytest.approx(0.2)
    answer(latencies, FAST, 3.0, 1)
    assert latencies.load(FAST, 1) == pytest.approx(3.0)
    answer(latencies, FAST, 0.2, 1 + DECAY)
    assert latencies.load(FAST, 1 + DECAY) == pytest.approx(3 / math.e + 0.2 * (1 - 1 / math.e))


def test_calls_under_way_multiply_the_load():
    latencies = Latencies()
    answer(latencies, FAST, 0.5, 0)
    for _ in range(3):
        latencies.started(FAST, 0)
    assert latencies.load(FAST, 0) == pytest.approx(0.5 * 4)
    for _ in range(3):
        latencies.ended(FAST)
    latencies.ended(FAST)  # one too many does no harm
    assert latencies.load(FAST, 0) == pytest.approx(0.5)


def test_who_is_busy_and_has_never_answered_counts_as_slow():
    latencies = Latencies()
    answer(latencies, SLOW, 8.0, 0)
    latencies.started(FAST, 0)
    assert latencies.load(FAST, 0) == UNKNOWN > latencies.load(SLOW, 0)


def test_who_is_left_alone_is_forgiven_with_time():
    latencies = Latencies()
    answer(latencies, SLOW, 30.0, 0)
    answer(latencies, FAST, 1.0, 60)
    assert latencies.load(SLOW, 60) < latencies.load(FAST, 60)


def test_a_percentile_waits_until_enough_is_known():
    latencies = Latencies()
    for _ in range(ENOUGH - 1):
        answer(latencies, FAST, 1.0, 0)
    assert latencies.p95(FAST) is None
    answer(latencies, FAST, 1.0, 0)
    assert latencies.p95(FAST) == pytest.approx(1.0, rel=0.19)


def test_the_percentile_follows_a_target_that_has_become_slower():
    latencies = Latencies()
    for _ in range(20_000):
        answer(latencies, FAST, 0.1, 0)
    assert latencies.p95(FAST) < 0.12
    for _ in range(600):
        answer(latencies, FAST, 2.0, 0)
    assert latencies.p95(FAST) >= 2.0


@given(st.lists(st.floats(0.0005, 1500), min_size=ENOUGH, max_size=300))
def test_the_percentile_is_never_too_low_and_at_most_a_fifth_too_high(seconds):
    latencies = Latencies()
    for one in seconds:
        answer(latencies, FAST, one, 0)
    # It is read anew every twentieth answer; a new reader sees all of them.
    true = sorted(seconds)[math.ceil(0.95 * len(seconds) - 1e-9) - 1]
    assert true * (1 - 1e-9) <= latencies.p95(FAST) <= max(true * 1.19, 0.001)


@given(st.lists(st.tuples(st.floats(0.001, 600), st.floats(0, 100)), min_size=1, max_size=50))
def test_the_average_stays_between_the_fastest_and_the_slowest(answers):
    latencies, now = Latencies(), 0.0
    for seconds, pause in answers:
        now += pause
        answer(latencies, FAST, seconds, now)
        assert seconds * (1 - 1e-9) <= latencies.load(FAST, now) <= max(one for one, _ in answers) * (1 + 1e-9)


def test_however_many_names_clients_invent_those_in_use_are_kept():
    latencies = Latencies()
    latencies.started(FAST, 0)
    for number in range(9000):
        answer(latencies, Place("p", str(number)), 1.0, 0)
    assert len(latencies._targets) == 8192
    assert latencies.load(FAST, 0) == UNKNOWN
