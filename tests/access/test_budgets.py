"""A hard budget is never exceeded by more than its reservations were too low, and unknown is never nothing."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import budgets
from understudy.access.budgets import MICRO, Budget, Budgets, Over, Reserved, parse, period

NOON = datetime(2026, 3, 10, 12, tzinfo=ZoneInfo("UTC")).timestamp()
DAY = Budget("usd", 10 * MICRO, "day")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 5000), st.lists(st.tuples(st.integers(0, 900), st.integers(0, 1200), st.booleans()), max_size=80))
def test_a_hard_budget_is_exceeded_at_most_by_what_calls_cost_beyond_what_was_set_aside(amount, calls):
    state, under_way, beyond = Budgets([Budget("usd", amount, "day")]), [], 0
    for estimate, cost, ends_now in calls:
        reserved = state.admit(0, estimate, NOON)
        if isinstance(reserved, Over):
            continue
        beyond += max(0, cost - reserved.parts[0][3])
        under_way.append((reserved, cost))
        if ends_now:
            first, price = under_way.pop(0)
            state.settle(first, None, price)
    for reserved, cost in under_way:
        state.settle(reserved, None, cost)
    purse = state.purses[0]
    assert purse.reserved == 0
    assert purse.spent <= amount + beyond


def test_what_is_set_aside_follows_what_calls_cost():
    state = Budgets([Budget("usd", 1000 * MICRO, "day")])
    assert state.admit(0, 100, NOON).parts[0][3] == 100
    for _ in range(50):
        state.settle(state.admit(0, 100, NOON), None, 300)
    assert 290 <= state.admit(0, 100, NOON).parts[0][3] <= 301
    for _ in range(300):
        state.settle(state.admit(0, 100, NOON), None, 50)
    assert state.admit(0, 100, NOON).parts[0][3] == 100, "never less than the estimate"


def test_a_refusal_says_when_the_day_ends_and_takes_nothing():
    state = Budgets([Budget("tokens", 10**6, "month"), DAY])
    state.admit(5, 9 * MICRO, NOON)
    refused = state.admit(5, 2 * MICRO, NOON)
    assert refused == Over(DAY, unpriced=False, wait=12 * 3600.0)
    assert [purse.reserved for purse in state.purses] == [5, 9 * MICRO]
    assert isinstance(state.admit(5, 2 * MICRO, NOON + 12 * 3600), Reserved)


def test_a_call_without_a_price_is_refused_by_a_hard_budget_unless_it_allows_it():
    assert Budgets([DAY]).admit(5, None, NOON) == Over(DAY, unpriced=True, wait=12 * 3600.0)
    allows = Budgets([Budget("usd", MICRO, "day", unknown="allow")])
    allows.settle(allows.admit(5, None, NOON), 5, None)
    assert (allows.purses[0].spent, allows.purses[0].unpriced) == (0, 1), "counted, not free"
    allows.settle(allows.admit(5, None, NOON), 5, 2 * MICRO)
    assert isinstance(allows.admit(5, None, NOON), Over), "used up is used up"
    soft = Budgets([Budget("usd", MICRO, "day", hard=False)])
    assert isinstance(soft.admit(5, None, NOON), Reserved)


def test_a_call_that_ended_without_a_known_cost_costs_what_was_set_aside():
    state = Budgets([DAY])
    state.settle(state.admit(5, 7, NOON), None, None)
    assert state.purses[0].spent == 7


def test_a_soft_budget_refuses_nothing_and_tells_once_a_day():
    state = Budgets([Budget("usd", 100, "day", hard=False)])
    told = [state.settle(state.admit(0, 60, NOON), None, 60) for _ in range(5)]
    assert [len(events) for events in told] == [0, 1, 0, 0, 0]
    assert told[1][0].spent == 120
    tomorrow = [state.settle(state.admit(0, 60, NOON + 86400), None, 60) for _ in range(2)]
    assert [len(events) for events in tomorrow] == [0, 1]


def test_a_call_belongs_to_the_day_on_which_it_began():
    state = Budgets([DAY])
    over_midnight = state.admit(0, 5, NOON)
    state.admit(0, 3, NOON + 86400)
    state.settle(over_midnight, None, 5)
    assert (state.purses[0].spent, state.purses[0].reserved) == (0, 3)


def test_a_clock_that_is_set_back_gives_no_second_budget():
    state = Budgets([DAY])
    state.admit(0, 9 * MICRO, NOON)
    assert isinstance(state.admit(0, 9 * MICRO, NOON - 86400), Over)


def test_free_calls_pass_where_the_budget_is_used_up_to_the_cent():
    state = Budgets([DAY])
    state.settle(state.admit(0, 10 * MICRO, NOON), None, 10 * MICRO)
    assert isinstance(state.admit(0, 0, NOON), Reserved)
    assert isinstance(state.admit(0, 1, NOON), Over)


def test_other_budgets_keep_what_was_spent_of_those_that_stay():
    state = Budgets([DAY])
    state.settle(state.admit(0, 6 * MICRO, NOON), None, 6 * MICRO)
    state.adopt([Budget("usd", 7 * MICRO, "day"), Budget("tokens", 5, "day")])
    assert [purse.spent for purse in state.purses] == [6 * MICRO, 0]
    assert isinstance(state.admit(0, 2 * MICRO, NOON), Over)


def test_what_was_spent_comes_back_after_a_restart_but_not_on_the_next_day():
    state = Budgets([DAY])
    state.settle(state.admit(0, 6, NOON), None, 6)
    state.admit(0, 5, NOON)
    kept = state.spent()
    same_day, next_day = Budgets([DAY]), Budgets([DAY])
    same_day.restore(kept, NOON + 60)
    next_day.restore(kept, NOON + 86400)
    assert same_day.purses[0].spent == 11, "what was under way counts as spent"
    assert next_day.purses[0].spent == 0


def test_days_and_months_are_those_of_the_zone():
    berlin = ZoneInfo("Europe/Berlin")
    begin, end = period("day", "Europe/Berlin", datetime(2026, 3, 29, 12, tzinfo=berlin).timestamp())
    assert end - begin == 23 * 3600, "the day on which summer time begins"
    assert datetime.fromtimestamp(begin, berlin).isoformat() == "2026-03-29T00:00:00+01:00"
    begin, end = period("month", "UTC", datetime(2026, 12, 31, 23, tzinfo=ZoneInfo("UTC")).timestamp())
    assert datetime.fromtimestamp(end, ZoneInfo("UTC")).isoformat() == "2027-01-01T00:00:00+00:00"
    assert end - begin == 31 * 86400


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(["UTC", "Asia/Kathmandu", "America/Sao_Paulo", "Pacific/Apia", "Europe/Dublin"]),
       st.sampled_from(["day", "month"]), st.integers(0, 2_000_000_000))  # fmt: skip
def test_every_instant_lies_in_its_period_and_periods_join(zone, per, wall):
    begin, end = period(per, zone, wall)
    assert begin <= wall < end
    assert period(per, zone, end)[0] == end


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("usd=20/day", Budget("usd", 20 * MICRO, "day")),
        ("usd=0.25/month,soft", Budget("usd", 250_000, "month", hard=False)),
        ("tokens=1000/day,zone=Europe/Berlin", Budget("tokens", 1000, "day", zone="Europe/Berlin")),
        ("usd=1/day, hard, unknown=allow", Budget("usd", MICRO, "day", unknown="allow")),
    ],
)
def test_budgets_as_people_write_them(text, budget):
    assert parse(text) == budget
    assert parse(str(budget)) == budget


@pytest.mark.parametrize(
    "text",
    [
        "",
        "usd=/day",
        "eur=5/day",
        "usd=5",
        "usd=5/week",
        "usd=-5/day",
        "usd=NaN/day",
        "usd=5/day,often",
        "tokens=1.5/day",
        "usd=0.0000001/day",
        "usd=5/day,zone=Mars/Base",
        "usd=5/day,unknown=free",
        "usd=5/day,zone=../../etc",
        "usd=1e99/day",
    ],
)
def test_a_budget_that_cannot_be_read_is_refused_with_an_example(text):
    with pytest.raises(ValueError, match=r"usd=20/day"):
        parse(text)


def test_amounts_are_written_without_needless_zeros():
    assert [budgets.amount("usd", value) for value in (0, 1, 100 * MICRO, 1_500_000)] == ["0", "0.000001", "100", "1.5"]
