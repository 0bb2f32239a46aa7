"""No window ever lets through more than its limit, and what is not used comes back."""

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import limits
from understudy.access.limits import SECONDS, Limit, Limits, Short, Taken

GAPS = st.one_of(st.floats(0, 0.02), st.floats(0, 2), st.floats(0, 200), st.just(0.0), st.just(1.0), st.just(60.0))
PER = st.sampled_from(["second", "minute", "hour", "day"])


def times(gaps, start):
    now = start
    for gap in gaps:
        now += gap
        yield now


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 12), PER, st.lists(GAPS, max_size=150), st.floats(0, 1e7))
def test_no_stretch_of_time_sees_more_requests_than_the_limit(amount, per, gaps, start):
    state = Limits([Limit("requests", amount, per)])
    let_in = [now for now in times(gaps, start) if isinstance(state.admit(1, now), Taken)]
    for begin in let_in:
        inside = [now for now in let_in if begin <= now < begin + SECONDS[per] - 1e-6]
        assert len(inside) <= amount


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 1000), PER, st.lists(st.tuples(GAPS, st.integers(0, 400)), max_size=120), st.data())
def test_tokens_used_in_any_stretch_stay_below_the_limit_when_estimates_are_not_too_low(amount, per, calls, data):
    state, now, used = Limits([Limit("tokens", amount, per)]), 1000.0, []
    for gap, estimate in calls:
        now += gap
        taken = state.admit(estimate, now)
        if isinstance(taken, Taken):
            really = data.draw(st.integers(0, estimate))
            state.settle(taken, really)
            used.append((now, really))
    for begin, _ in used:
        assert sum(n for at, n in used if begin <= at < begin + SECONDS[per] - 1e-6) <= amount


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 10), PER, st.lists(GAPS, min_size=1, max_size=80))
def test_who_waits_as_long_as_told_is_let_in(amount, per, gaps):
    state = Limits([Limit("requests", amount, per), Limit("tokens", 7 * amount, per)])
    for now in times(gaps, 5e5):
        verdict = state.admit(7, now)
        if isinstance(verdict, Short):
            assert 0 < verdict.wait <= SECONDS[per] * 1.011
            assert isinstance(state.admit(7, now + verdict.wait), Taken)
            return


def test_a_client_that_always_asks_gets_99_percent():
    state = Limits([Limit("requests", 100, "second")])
    let_in = sum(isinstance(state.admit(1, 1000 + step / 1000), Taken) for step in range(100_000))
    assert 9900 <= let_in <= 10_000


def test_a_burst_of_the_whole_limit_is_let_in_at_once():
    state = Limits([Limit("requests", 100, "minute")])
    assert all(isinstance(state.admit(1, 50.0), Taken) for _ in range(100))
    refused = state.admit(1, 50.0)
    assert refused.limit == Limit("requests", 100, "minute")
    assert refused.wait == pytest.approx(60.4, abs=0.3)


def test_what_was_not_used_comes_back_at_once_and_what_was_used_beyond_is_owed():
    state = Limits([Limit("tokens", 1000, "minute")])
    taken = state.admit(900, 0.5)
    assert isinstance(state.admit(200, 1.0), Short)
    state.settle(taken, 100)
    assert state.left(1.0)[0].left == 900
    state.settle(state.admit(200, 1.0), 2000)
    assert state.left(1.0)[0].left == 0
    assert isinstance(state.admit(1, 2.0), Short)
    assert isinstance(state.admit(1, 62.0), Taken)


def test_an_estimate_stands_when_nobody_knows_what_was_used():
    state = Limits([Limit("tokens", 1000, "minute")])
    state.settle(state.admit(900, 0.0), None)
    assert state.left(0.0)[0].left == 100


def test_a_correction_that_comes_after_its_window_changes_nothing():
    state = Limits([Limit("tokens", 1000, "second")])
    taken = state.admit(900, 0.0)
    state.admit(100, 50.0)
    state.settle(taken, 5)
    assert state.left(50.0)[0].left == 900


def test_a_call_larger_than_the_limit_is_told_that_waiting_does_not_help():
    assert Limits([Limit("tokens", 1000, "minute")]).admit(1001, 0.0).wait is None


def test_a_refused_call_takes_nothing_from_any_limit():
    state = Limits([Limit("requests", 5, "minute"), Limit("tokens", 10, "minute"), Limit("parallel", 9)])
    assert isinstance(state.admit(11, 0.0), Short)
    assert [left.left for left in state.left(0.0)] == [5, 10, 9]
    state.give_back(state.admit(10, 0.0))
    assert [left.left for left in state.left(0.0)] == [5, 10, 9]


def test_calls_at_once_are_counted_until_they_end():
    state = Limits([Limit("parallel", 2)])
    first, _ = state.admit(1, 0.0), state.admit(1, 0.0)
    assert state.admit(1, 0.0) == Short(Limit("parallel", 2), limits.PARALLEL_WAIT)
    state.settle(first, 1)
    assert isinstance(state.admit(1, 0.0), Taken)


def test_the_longest_wait_of_several_limits_is_told():
    state = Limits([Limit("requests", 1, "second"), Limit("requests", 1, "hour")])
    state.admit(1, 0.0)
    assert state.admit(1, 0.0).limit.per == "hour"


def test_left_says_when_it_is_whole_again():
    state = Limits([Limit("requests", 10, "minute")])
    assert state.left(7.0)[0].full_in == 0
    state.admit(1, 10.0)
    left = state.left(30.0)[0]
    assert left.left == 9
    assert left.full_in == pytest.approx(40, abs=0.7)
    assert state.left(30.0 + left.full_in + 1e-6)[0].left == 10


def test_other_limits_keep_what_was_used_of_those_that_stay():
    state = Limits([Limit("requests", 10, "minute")])
    for _ in range(4):
        state.admit(1, 0.0)
    state.adopt([Limit("requests", 5, "minute"), Limit("requests", 100, "day")])
    assert [left.left for left in state.left(0.0)] == [1, 100]


@pytest.mark.parametrize(("text", "limit"), [
    ("requests=100/second", Limit("requests", 100, "second")), ("tokens=5/min", Limit("tokens", 5, "minute")),
    ("requests = 7 / d", Limit("requests", 7, "day")), ("parallel=8", Limit("parallel", 8)),
])  # fmt: skip
def test_limits_as_people_write_them(text, limit):
    assert limits.parse(text) == limit
    assert limits.parse(str(limit)) == limit
    assert msgspec.json.decode(msgspec.json.encode(limit), type=Limit) == limit


@pytest.mark.parametrize(
    "text",
    [
        "",
        "requests",
        "calls=5/second",
        "requests=-5/second",
        "requests=5",
        "parallel=5/day",
        "requests=5/week",
        "requests=²/day",
        "requests=1e3/day",
        "tokens=9999999999999/day",
    ],
)
def test_a_limit_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"requests=100/second"):
        limits.parse(text)


def test_a_correction_never_lands_on_the_call_that_took_its_slot():
    state = Limits([Limit("tokens", 1000, "second")])
    early = state.admit(900, 0.005)
    state.admit(100, 0.005 + (limits.SLOTS + 1) / limits.SLOTS)
    state.settle(early, 5)
    assert state.left(1.02)[0].left == 900
