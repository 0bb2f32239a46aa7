from hypothesis import given
from hypothesis import strategies as st

from understudy.resilience import Hedges
from understudy.resilience.hedge import SHORTEST


def test_it_is_off_by_default():
    hedges = Hedges()
    assert hedges.wait(1.0, 0, stateful=False) is None
    assert not hedges.takes(0)


def test_it_waits_for_the_targets_own_p95():
    assert Hedges(on=True).wait(1.7, 0, stateful=False) == 1.7


def test_a_very_fast_target_is_given_a_moment():
    assert Hedges(on=True).wait(0.001, 0, stateful=False) == SHORTEST


def test_a_call_that_runs_tools_or_keeps_state_is_never_made_twice():
    assert Hedges(on=True).wait(1.0, 0, stateful=True) is None


def test_a_target_that_is_hardly_known_is_not_hedged():
    assert Hedges(on=True).wait(None, 0, stateful=False) is None


def test_one_call_in_a_hundred_may_be_doubled():
    hedges = Hedges(on=True)
    for _ in range(99):
        hedges.wait(1.0, 0, stateful=False)
    assert not hedges.takes(1)
    hedges.wait(1.0, 0, stateful=True)  # counts as a call all the same
    assert hedges.takes(1)
    assert not hedges.takes(1)


def test_calls_of_long_ago_pay_for_nothing():
    hedges = Hedges(on=True)
    for _ in range(1000):
        hedges.wait(1.0, 0, stateful=False)
    assert not hedges.takes(60)


@given(st.lists(st.booleans(), max_size=500))
def test_never_more_than_a_hundredth(steps):
    hedges, calls, doubled = Hedges(on=True), 0, 0
    for call in steps * 3:
        if call:
            hedges.wait(1.0, 5, stateful=False)
            calls += 1
        else:
            doubled += hedges.takes(5)
        assert doubled * 100 <= calls
