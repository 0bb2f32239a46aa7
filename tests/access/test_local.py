"""One process: many clients on one key never get more than it may have."""

import asyncio
import random
import threading
from concurrent.futures import ThreadPoolExecutor

from hypothesis import given, settings
from hypothesis import strategies as st

from understudy.access import Budget, Key, Limit, Local
from understudy.access.budgets import MICRO

WALL = 1_800_000_000.0
LIMITED = Key("key_1", "mine", limits=(Limit("requests", 100, "second"),), budgets=(Budget("usd", 2 * MICRO, "day"),))


def most_in_a_second(times):
    times = sorted(times)
    first, most = 0, 0
    for last, now in enumerate(times):
        while now - times[first] >= 1.0:
            first += 1
        most = max(most, last - first + 1)
    return most


def test_500_clients_on_one_key_stay_within_rate_and_budget():
    """Simulated: 500 clients that always ask, answers that take up to 3 s, costs that nobody knows beforehand."""
    chance, local, let_in, cost = random.Random(5), Local(), [], 0
    key = Key("k", "k", limits=LIMITED.limits, budgets=(Budget("usd", 30 * MICRO, "day"),))
    free, due, now = 500, [], 1000.0
    while now < 1040:
        now += 0.001
        for end, verdict, price in [one for one in due if one[0] <= now]:
            due.remove((end, verdict, price))
            local.settle(verdict, 100, price)
            cost, free = cost + price, free + 1
        for _ in range(min(free, 5)):
            verdict = local.admit(key, 100, 10_000, now, WALL + now)
            if verdict.ok:
                let_in.append(now)
                free -= 1
                due.append((now + chance.random() * 3, verdict, int(chance.uniform(2_000, 20_000))))
    cost += sum(price for _, _, price in due)
    assert most_in_a_second(let_in) <= 100
    assert 0.9 * 30 * MICRO <= cost <= 1.01 * 30 * MICRO


def test_500_tasks_at_once_cannot_overrun_a_budget():
    local, spent = Local(), []

    async def client():
        while (verdict := local.admit(Key("k", "k", budgets=LIMITED.budgets), 1, 1000, 0.0, WALL)).ok:
            await asyncio.sleep(0)
            local.settle(verdict, 1, 1000)
            spent.append(1000)

    async def main():
        await asyncio.gather(*(client() for _ in range(500)))

    asyncio.run(main())
    assert sum(spent) <= 2 * MICRO
    assert sum(spent) >= 1.5 * MICRO


def test_threads_count_exactly():
    local, key = (
        Local(),
        Key("k", "k", limits=(Limit("requests", 5000, "day"), Limit("parallel", 7)), budgets=LIMITED.budgets),
    )
    most, under_way, lock = 0, 0, threading.Lock()

    def client(_):
        nonlocal most, under_way
        let_in = 0
        for _ in range(1000):
            verdict = local.admit(key, 1, 1, 1000.0, WALL)
            if verdict.ok:
                with lock:
                    under_way += 1
                    most = max(most, under_way)
                let_in += 1
                with lock:
                    under_way -= 1
                local.settle(verdict, 1, 1)
        return let_in

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(client, range(8))) <= 5000
    assert most <= 7
    account = local._accounts["k"]
    assert account.limits.open == 0
    assert account.budgets.purses[0].reserved == 0
    assert account.budgets.purses[0].spent == account.limits._windows[0].used


@settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from(["admit", "settle", "twice", "back", "change"]), st.integers(0, 60)), max_size=60
    )
)
def test_every_call_is_given_back_once_whatever_happens(steps):
    local, under_way, now = Local(), [], 1000.0
    key = Key(
        "k", "k", limits=(Limit("parallel", 5), Limit("tokens", 300, "minute")), budgets=(Budget("tokens", 500, "day"),)
    )
    for step, number in steps:
        now += number / 10
        if step == "admit":
            verdict = local.admit(key, number, None, now, WALL)
            if verdict.ok:
                under_way.append(verdict)
        elif step == "change":
            key = Key("k", "k", limits=(*key.limits[:1], Limit("tokens", 300 + number, "minute")), budgets=key.budgets)
            local.admit(key, 10**9, None, now, WALL)
        elif under_way:
            verdict = under_way.pop(number % len(under_way))
            local.give_back(verdict) if step == "back" else local.settle(verdict, number, None)
            if step == "twice":
                local.settle(verdict, number, None)
                local.give_back(verdict)
    for verdict in under_way:
        local.settle(verdict, None, None)
    if (account := local._accounts.get("k")) is not None:
        assert account.limits.open == 0
        assert all(purse.reserved == 0 for purse in account.budgets.purses)
        assert all(window.used == sum(window.ring) >= 0 for window in account.limits._windows)


def test_a_budget_that_refuses_takes_nothing_from_the_limits():
    local = Local()
    assert not local.admit(LIMITED, 1, 3 * MICRO, 5.0, WALL).ok
    assert [left.left for left in local.left(LIMITED, 5.0)] == [100]


def test_a_used_up_budget_is_told_once_with_the_keys_id():
    told = []
    local = Local(lambda key, event: told.append((key, event.budget)))
    for _ in range(3):
        local.settle(local.admit(LIMITED, 1, MICRO, 5.0, WALL), 1, 2 * MICRO)
    assert told == [("key_1", LIMITED.budgets[0])]


def test_a_change_takes_effect_with_the_next_call():
    local = Local()
    assert local.admit(LIMITED, 1, 0, 5.0, WALL).ok
    stricter = Key("key_1", "mine", limits=(Limit("requests", 1, "second"),))
    assert not local.admit(stricter, 1, 0, 5.0, WALL).ok
    local.forget("key_1")
    assert local.admit(stricter, 1, 0, 5.0, WALL).ok
