"""Promises of `react` for whatever fault and state there may be."""

import math
from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from understudy.canon import Fault
from understudy.resilience import State, react, row, table
from understudy.resilience.react import BACKOFF, LONGEST_COOLDOWN, LONGEST_DATE, SOON

KINDS = sorted(table().kinds)

waits = st.none() | st.floats(0, 1e10)
faults = st.builds(Fault, kind=st.sampled_from(KINDS), retry_after=waits, status=st.none() | st.integers(400, 599))
states = st.builds(
    State,
    retries=st.integers(0, 5),
    others=st.integers(0, 5),
    committed=st.booleans(),
    moved=st.booleans(),
    remaining=st.floats(-10, 600) | st.just(math.inf),
    jitter=st.floats(0, 1, exclude_max=True),
)


@given(faults, states)
def test_the_same_question_has_the_same_answer(fault, state):
    assert react(fault, state) == react(fault, state)


@given(faults, states)
def test_after_commit_nothing_is_tried_again(fault, state):
    if state.committed:
        assert react(fault, state).action == "surface"


@given(faults, states)
def test_after_the_deadline_nothing_is_tried_again(fault, state):
    if state.remaining <= 0:
        assert react(fault, state).action == "surface"


@given(faults, states)
def test_nobody_is_kept_waiting_longer_than_soon_nor_past_the_deadline(fault, state):
    reaction = react(fault, state)
    assert 0 <= reaction.delay <= SOON
    assert reaction.delay < state.remaining or reaction.action != "retry"
    assert reaction.delay == 0 or reaction.action == "retry"


@given(faults, states)
def test_a_retry_waits_at_least_as_long_as_the_provider_asks(fault, state):
    reaction = react(fault, state)
    if reaction.action == "retry":
        assert reaction.delay >= (BACKOFF if fault.retry_after is None else fault.retry_after)


@given(faults, states)
def test_a_retry_is_allowed_by_the_row_and_by_what_is_left(fault, state):
    reaction = react(fault, state)
    if reaction.action == "retry":
        assert row(fault.kind).retry != "no"
        assert reaction.free == (row(fault.kind).retry == "free")
        assert reaction.free or state.retries > 0
        assert reaction.cooling is None, "what is tried at once is not left alone"


@given(faults, states)
def test_the_client_hears_of_a_fault_only_when_nothing_is_left_or_the_row_says_so(fault, state):
    if react(fault, state).action == "surface":
        over = state.committed or state.remaining <= 0 or state.others == 0
        assert over or not (row(fault.kind).fail_over or state.moved)


@given(faults, states)
def test_there_is_somebody_to_fail_over_to(fault, state):
    if react(fault, state).action == "fail_over":
        assert state.others > 0
        assert not state.committed


@given(faults, states)
def test_a_cooldown_is_the_rows_and_has_an_end_where_a_provider_names_one(fault, state):
    cooling, entry = react(fault, state).cooling, row(fault.kind)
    if cooling is not None:
        assert cooling.scope == entry.cool
        assert cooling.seconds >= 0
        if entry.trust_reset:
            assert cooling.seconds <= LONGEST_COOLDOWN
        elif entry.cool_until == "date":
            assert entry.cool_seconds <= cooling.seconds <= LONGEST_DATE
        else:
            assert cooling.seconds == (entry.cool_seconds or math.inf)


@given(faults, states)
def test_telling_and_counting_are_the_rows(fault, state):
    reaction, entry = react(fault, state), row(fault.kind)
    assert (reaction.tell, reaction.counts) == (entry.tell, entry.counts)


counted = faults.filter(lambda fault: row(fault.kind).retry != "free")


@given(st.lists(counted, min_size=1, max_size=6), st.integers(0, 5), st.integers(1, 4))
def test_however_it_fails_there_are_never_more_tries_than_targets_times_retries(some, retries, targets):
    tries = 0
    for position in range(targets):
        left = retries
        while True:
            fault = some[tries % len(some)]
            tries += 1
            reaction = react(fault, State(left, targets - position - 1, moved=position > 0))
            if reaction.action != "retry":
                break
            left -= 1
        if reaction.action == "surface":
            break
    assert tries <= targets * (retries + 1)


def test_a_limit_that_ends_soon_is_waited_for():
    reaction = react(Fault("rate_limit", retry_after=0.5), State(retries=1, others=3, jitter=0.5))
    assert reaction.action == "retry"
    assert reaction.delay == 0.75


@pytest.mark.parametrize("wait", [None, SOON + 0.1, 60.0])
def test_a_limit_that_does_not_end_soon_moves_the_call(wait):
    reaction = react(Fault("rate_limit", retry_after=wait), State(retries=1, others=1))
    assert reaction.action == "fail_over"
    assert reaction.cooling.seconds == (10 if wait is None else wait)


def test_an_overload_that_lasts_is_not_asked_again():
    assert react(Fault("overloaded", retry_after=30), State(retries=1, others=1)).action == "fail_over"
    assert react(Fault("overloaded"), State(retries=1, others=1)).action == "retry"


def test_an_absurd_wait_is_believed_for_a_day_only():
    assert react(Fault("rate_limit", retry_after=1e9), State(1, 0)).cooling.seconds == LONGEST_COOLDOWN


def test_a_bad_key_is_left_alone_until_somebody_acts():
    reaction = react(Fault("bad_key", retry_after=3), State(1, 1))
    assert reaction.cooling.scope == "key"
    assert reaction.cooling.seconds == math.inf
    assert reaction.tell


def test_what_the_client_did_wrong_is_told_at_once():
    assert react(Fault("malformed_request"), State(1, 3)).action == "surface"


def test_a_substitute_that_finds_the_request_malformed_is_not_the_last_word():
    assert react(Fault("malformed_request"), State(1, 1, moved=True)).action == "fail_over"


def test_a_stale_connection_costs_no_retry():
    reaction = react(Fault("stale_connection"), State(retries=0, others=0))
    assert (reaction.action, reaction.free) == ("retry", True)


def test_a_retry_that_would_end_after_the_deadline_is_none():
    assert react(Fault("internal"), State(1, 1, remaining=BACKOFF / 2)).action == "fail_over"
    assert react(Fault("internal"), State(1, 0, remaining=BACKOFF / 2)).action == "surface"


DAYS = [
    ("America/Los_Angeles", "2026-11-20T20:00:00+00:00", 12),
    ("America/Los_Angeles", "2026-07-20T20:00:00+00:00", 11),
    ("America/Los_Angeles", "2026-11-21T08:00:00+00:00", 24),
    ("America/Los_Angeles", "2026-03-08T08:00:00+00:00", 23),  # the clocks go forward
    ("America/Los_Angeles", "2026-11-01T07:00:00+00:00", 25),  # and back
    ("UTC", "2026-11-20T20:00:00+00:00", 4),
]


@pytest.mark.parametrize(("zone", "now", "hours"), DAYS)
def test_a_days_quota_is_left_alone_until_the_providers_midnight(zone, now, hours):
    fault = Fault("daily_quota", retry_after=22, day=zone)
    reaction = react(fault, State(1, 1, wall=datetime.fromisoformat(now).timestamp()))
    assert (reaction.action, reaction.cooling.seconds) == ("fail_over", hours * 3600)


@pytest.mark.parametrize("day", [None, "Nowhere/Nothing"])
def test_a_days_quota_whose_end_nobody_knows_is_left_alone_for_the_rows_time(day):
    assert react(Fault("daily_quota", day=day), State(1, 1, wall=1.8e9)).cooling.seconds == 3600


@pytest.mark.parametrize(("wait", "seconds"), [(None, 300), (0.012, 300), (903_600, 903_600), (1e9, LONGEST_DATE)])
def test_a_spending_limit_is_left_alone_until_the_date_it_names(wait, seconds):
    assert react(Fault("spend_cap", retry_after=wait), State(1, 1)).cooling.seconds == seconds


@pytest.mark.parametrize(
    ("kind", "what", "action"),
    [
        ("parameter_gone", "parameter", "surface"),
        ("prefill_rejected", "prefill", "fail_over"),
        ("foreign_reasoning", "reasoning", "fail_over"),
    ],
)
def test_what_a_provider_rejects_is_left_out_once_if_that_can_be_done(kind, what, action):
    once = react(Fault(kind), State(retries=0, others=1, without=True))
    assert (once.action, once.without, once.free) == ("retry", what, True)
    then = react(Fault(kind), State(retries=1, others=1))
    assert (then.action, then.without) == (action, None)
    assert react(Fault(kind), State(1, 1, committed=True, without=True)).action == "surface"


def test_a_leaked_key_is_left_alone_until_somebody_acts_and_an_operator_is_told():
    reaction = react(Fault("leaked_key"), State(1, 1))
    assert (reaction.cooling.scope, reaction.cooling.seconds, reaction.tell) == ("key", math.inf, True)
    assert row("leaked_key").what.startswith("security alert")
