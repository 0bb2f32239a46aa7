import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Limiter, Place, outcome, table
from understudy.resilience.limiter import FORGET, RAMP_FLOOR, RAMP_SECONDS, SLOW_SECONDS

HERE, OTHER = Place("openai", "gpt-5"), Place("anthropic", "claude")


def busy(flying, now=0.0):
    limiter = Limiter()
    for _ in range(flying):
        assert limiter.acquire(HERE, now)
    return limiter


def taken(limiter, now, wish):
    """How many of `wish` calls get through at `now`."""
    return sum(limiter.acquire(HERE, now) for _ in range(wish))


def test_who_never_complained_has_no_limit():
    limiter = busy(5000)
    assert limiter.limit(HERE, 0) == math.inf
    assert limiter.rate(HERE, 0) == math.inf
    assert limiter.flying(HERE) == 5000


def test_the_first_refusal_leaves_seven_tenths_of_what_was_under_way():
    limiter = busy(100)
    limiter.release(HERE, "overload", 0)
    assert limiter.limit(HERE, 0) == pytest.approx(70)
    assert not limiter.acquire(HERE, 0)
    for _ in range(30):
        limiter.release(HERE, "other", 0)
    assert limiter.flying(HERE) == 69
    assert limiter.acquire(HERE, 0)
    assert not limiter.acquire(HERE, 0)
    assert limiter.acquire(OTHER, 0)


def test_the_refusals_of_one_burst_are_one():
    limiter = busy(100)
    for _ in range(20):
        limiter.release(HERE, "overload", 0.5)
    assert limiter.limit(HERE, 1) == pytest.approx(70)
    limiter.release(HERE, "overload", 1.5)
    assert limiter.limit(HERE, 2) == pytest.approx(49)


def test_it_grows_by_about_one_for_a_round_of_answers_while_it_is_in_use():
    limiter = busy(20)
    limiter.release(HERE, "overload", 0)
    assert limiter.limit(HERE, 0) == pytest.approx(14)
    while limiter.flying(HERE) > 14:
        limiter.release(HERE, "other", 1)
    for _ in range(14):
        limiter.release(HERE, "ok", 1)
        assert limiter.acquire(HERE, 1)
    assert limiter.limit(HERE, 1) == pytest.approx(15, abs=0.1)


def test_it_does_not_grow_while_nobody_needs_it():
    limiter = busy(20)
    limiter.release(HERE, "overload", 0)
    for _ in range(19):
        limiter.release(HERE, "other", 1)
    for _ in range(100):
        assert limiter.acquire(HERE, 2)
        limiter.release(HERE, "ok", 2)
    assert limiter.limit(HERE, 2) == pytest.approx(14)


def test_one_call_is_always_allowed():
    limiter = busy(1)
    for second in range(10):
        limiter.release(HERE, "overload", second * 2)
        assert limiter.acquire(HERE, second * 2)
    assert limiter.limit(HERE, 20) == 1


def test_ten_minutes_after_the_last_refusal_it_is_gone():
    limiter = busy(10)
    limiter.release(HERE, "overload", 0)
    assert not limiter.acquire(HERE, FORGET - 1)
    assert taken(limiter, FORGET, 1000) == 1000
    assert limiter.limit(HERE, FORGET) == math.inf
    assert not limiter._targets[HERE].bound
    limiter.release(HERE, "overload", 2 * FORGET)
    assert limiter.limit(HERE, 2 * FORGET) == pytest.approx(1009 * 0.7)
    limiter.release(HERE, "overload", 3 * FORGET)
    assert limiter.limit(HERE, 3 * FORGET) == pytest.approx(1008 * 0.7)


def test_a_ramp_starts_with_ten_a_second_and_doubles():
    limiter = Limiter()
    limiter.ramp(HERE, 100)
    assert taken(limiter, 100, 1000) == RAMP_FLOOR
    got = [sum(taken(limiter, 100 + second + tenth / 10, 1000) for tenth in range(1, 11)) for second in range(6)]
    for second, calls in enumerate(got):
        assert 2**second * 10 * 0.9 <= calls <= 2 ** (second + 1) * 10
    assert taken(limiter, 100 + RAMP_SECONDS, 100_000) == 100_000
    assert limiter.rate(HERE, 100 + RAMP_SECONDS) == math.inf


def test_a_ramp_starts_with_the_targets_own_rate_if_that_is_higher():
    limiter = Limiter()
    for tenth in range(110):
        assert taken(limiter, tenth / 10, 8) == 8
    limiter.ramp(HERE, 11)
    assert limiter.rate(HERE, 11) == pytest.approx(80, rel=0.02)


def test_what_a_target_did_long_ago_is_no_rate():
    limiter = Limiter()
    for tenth in range(199):
        assert taken(limiter, tenth / 10, 8) == 8
    limiter.ramp(HERE, 200)
    assert limiter.rate(HERE, 200) == RAMP_FLOOR


def test_every_call_that_moves_may_ask_for_the_ramp():
    limiter = Limiter()
    for second in range(4):
        limiter.ramp(HERE, second)
    assert limiter.rate(HERE, 3) == pytest.approx(80)


def test_slow_down_bounds_the_growth_for_an_hour():
    limiter = Limiter()
    for tenth in range(200):
        assert taken(limiter, tenth / 10, 10) == 10
        for _ in range(10):
            limiter.release(HERE, "ok", tenth / 10)
    assert limiter.acquire(HERE, 20)
    limiter.release(HERE, "slow_down", 20)
    assert limiter.rate(HERE, 20) == pytest.approx(70, rel=0.01)
    assert limiter.rate(HERE, 20 + 900) == pytest.approx(105, rel=0.01)
    assert limiter.rate(HERE, 20 + 1800) == pytest.approx(157.5, rel=0.01)
    limiter.release(HERE, "slow_down", 20.5)
    assert limiter.rate(HERE, 20) == pytest.approx(70, rel=0.01)
    assert taken(limiter, 20 + 900, 1000) == pytest.approx(105, abs=1)
    assert taken(limiter, 20 + SLOW_SECONDS, 5000) == 5000


def test_slow_down_said_again_cuts_what_was_allowed_and_not_what_came_before():
    limiter = Limiter()
    for tenth in range(200):
        assert taken(limiter, tenth / 10, 10) == 10
    limiter.release(HERE, "slow_down", 20)
    limiter.release(HERE, "slow_down", 22)
    assert limiter.rate(HERE, 22) == pytest.approx(49, rel=0.02)


def test_slow_down_right_after_another_refusal_is_heard():
    limiter = busy(10)
    limiter.release(HERE, "overload", 0)
    limiter.release(HERE, "slow_down", 0.1)
    limiter.release(HERE, "slow_down", 0.2)
    assert limiter.rate(HERE, 0.2) == pytest.approx(1.0, rel=0.01)
    assert limiter.limit(HERE, 0.2) == pytest.approx(7)


def test_a_call_that_asks_nobody_is_counted_all_the_same():
    limiter = busy(9)
    limiter.release(HERE, "overload", 0)
    assert not limiter.acquire(HERE, 0)
    limiter.count(HERE, 0)
    assert limiter.flying(HERE) == 9


def test_a_release_too_many_does_no_harm():
    limiter = Limiter()
    limiter.release(HERE, "ok", 0)
    limiter.acquire(HERE, 0)
    limiter.release(HERE, "ok", 0)
    limiter.release(HERE, "ok", 0)
    assert limiter.flying(HERE) == 0


def test_faults_say_what_they_mean_for_load():
    assert outcome(None) == "ok"
    assert {kind for kind in table().kinds if outcome(kind) == "overload"} == {
        "rate_limit",
        "token_rate_limit",
        "overloaded",
    }
    assert [kind for kind in table().kinds if outcome(kind) == "slow_down"] == ["ramp_too_fast"]


def test_targets_with_calls_under_way_are_not_forgotten():
    limiter = busy(1)
    for number in range(9000):
        place = Place("p", str(number))
        limiter.acquire(place, 0)
        limiter.release(place, "ok", 0)
    assert limiter.flying(HERE) == 1
    assert len(limiter._targets) == 8192


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["acquire", "acquire", "acquire", "ramp", "ok", "overload", "slow_down", "other"]),
            st.floats(0, 3),
            st.integers(1, 30),
        ),
        max_size=100,
    )
)
def test_the_limit_and_the_count_stay_within_bounds(steps):
    limiter, now, flying, most = Limiter(), 0.0, 0, 0
    for step, pause, times in steps:
        now += pause
        for _ in range(times):
            if step == "acquire":
                limit = limiter.limit(HERE, now)
                if limiter.acquire(HERE, now):
                    flying += 1
                    assert flying <= limit
            elif step == "ramp":
                limiter.ramp(HERE, now)
            elif flying:
                limiter.release(HERE, step, now)
                flying -= 1
            most = max(most, flying)
            assert limiter.flying(HERE) == flying
            limit = limiter.limit(HERE, now)
            assert limit >= 1
            assert limit == math.inf or limit <= 2 * most + 1
            assert limiter.rate(HERE, now) >= 1


@given(st.lists(st.tuples(st.floats(0, 0.5), st.integers(0, 50)), max_size=60))
def test_a_ramp_never_admits_more_than_its_rate_allows(steps):
    limiter, now, admitted = Limiter(), 0.0, 0
    limiter.ramp(HERE, 0)
    for pause, wish in steps:
        now += pause
        if now >= RAMP_SECONDS:
            break
        admitted += taken(limiter, now, wish)
        # A second's worth at the start, and the rate at the end of each step for as long as the step: a rough integral.
        assert admitted <= RAMP_FLOOR + RAMP_FLOOR * 2**now * max(now, 0) + 1e-6
