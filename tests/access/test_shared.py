"""Replicas share limits and budgets through a real Redis server, exactly, and go on without it."""

import asyncio
import json
import subprocess
import sys
import time

import pytest

from tests.access.test_local import most_in_a_second
from tests.gateway.redis_server import RedisServer
from understudy.access import Budget, Key, Limit, Local
from understudy.access.shared import Shared

WALL = 1_800_000_000.0


@pytest.fixture
def server(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


class Replica:
    """A `Shared` that is connected; `ask` admits as a gateway would."""

    def __init__(self, server, **settings):
        self.shared = Shared(server.url, local=Local(), patience=settings.pop("patience", 1.0), **settings)

    async def __aenter__(self):
        self.shared.start()
        await until(lambda: self.shared.connected)
        return self

    async def __aexit__(self, *_raised):
        await self.shared.close()

    async def ask(self, key, tokens=1, cost=0, wall=WALL):
        return await self.shared.admit(key, tokens, cost, time.monotonic(), wall)

    def settle(self, verdict, tokens=None, cost=None):
        self.shared.settle(verdict, tokens, cost)

    async def settled(self):
        await until(lambda: not self.shared._line._asked and self.shared._line.up)
        await asyncio.sleep(0.02)


async def until(what, seconds=10.0):
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never came to be"
        await asyncio.sleep(0.005)


def two(scenario, **settings):
    """A test that runs `scenario(one, other)` with two replicas."""

    def test(server):
        async def main():
            async with Replica(server, **settings) as one, Replica(server, **settings) as other:
                await scenario(one, other)

        asyncio.run(main())

    return test


def named(name, **settings):
    return Key(name, name, **settings)


async def limits_are_shared(one, other):
    key = named("a", limits=(Limit("requests", 3, "minute"), Limit("tokens", 100, "hour")))
    first, second = await one.ask(key, 10), await other.ask(key, 10)
    assert [left.left for left in first.left()] == [2, 90]
    assert [left.left for left in second.left()] == [1, 80]
    assert 59 < second.left()[0].full_in <= 61
    assert (await one.ask(key, 81)).refusal.code == "rate_limit_exceeded"
    assert (await one.ask(key, 101)).refusal.code == "request_too_large"
    assert (await one.ask(key, 80)).ok, "a refused call took nothing"
    refused = await other.ask(key, 0)
    assert refused.refusal.message.startswith("Rate limit of this key reached: 3 requests per minute")
    assert 58 < refused.refusal.retry_after < 61


async def tokens_are_corrected(one, other):
    key = named("b", limits=(Limit("tokens", 100, "minute"),))
    verdict = await one.ask(key, 90)
    assert not (await other.ask(key, 20)).ok
    one.settle(verdict, 5)
    one.settle(verdict, 5)
    await one.settled()
    assert (await other.ask(key, 20)).left()[0].left == 75
    beyond = await one.ask(key, 1)
    one.settle(beyond, 500)
    await one.settled()
    assert not (await other.ask(key, 1)).ok
    unknown = await one.ask(named("b2", limits=key.limits), 90)
    one.settle(unknown, None)
    await one.settled()
    assert not (await other.ask(named("b2", limits=key.limits), 11)).ok


async def calls_at_once_are_shared(one, other):
    key = named("c", limits=(Limit("parallel", 2),))
    first, _ = await one.ask(key), await other.ask(key)
    assert not (await one.ask(key)).ok
    assert not (await other.ask(key)).ok
    one.settle(first)
    await one.settled()
    last = await other.ask(key)
    assert last.ok
    other.shared.give_back(last)
    await other.settled()
    assert (await one.ask(key)).ok


async def budgets_are_shared(one, other):
    key = named("d", budgets=(Budget("usd", 100, "day"), Budget("tokens", 10**6, "month")))
    first = await one.ask(key, 5, 60)
    refused = (await other.ask(key, 5, 60)).refusal
    assert (refused.code, refused.retry_after) == ("budget_exceeded", 86400 - WALL % 86400)
    one.settle(first, 5, 10)
    await one.settled()
    assert (await other.ask(key, 5, 60)).ok
    assert (await one.ask(key, 5, None)).refusal.code == "price_unknown"
    assert (await one.ask(key, 5, 60, WALL + 86400)).ok, "another day"
    assert one.shared.spent()["d"][1].spent == 5


test_windows_are_those_of_all_replicas = two(limits_are_shared)
test_corrections_reach_all_replicas_once = two(tokens_are_corrected)
test_calls_at_once_are_those_of_all_replicas = two(calls_at_once_are_shared)
test_budgets_are_those_of_all_replicas = two(budgets_are_shared)


async def windows_slide(one, other):
    key, let_in = named("e", limits=(Limit("requests", 20, "second"),)), []
    end = time.monotonic() + 3.2
    while time.monotonic() < end:
        for replica in (one, other):
            verdict = await replica.ask(key)
            if verdict.ok:
                let_in.append(replica.shared._leases[verdict.lease].at / 1e6)  # by the server's clock
                replica.settle(verdict, 1, 0)
        await asyncio.sleep(0.004)
    assert most_in_a_second(let_in) <= 20
    assert len(let_in) >= 60, "and what has left the window comes back"


test_no_second_sees_more_than_the_limit_of_both = two(windows_slide)


async def dead_replicas_leave_nothing_locked(one, other):
    key = named("f", limits=(Limit("parallel", 1),), budgets=(Budget("usd", 100, "day"),))
    lost = await one.ask(key, 1, 60)
    assert not (await other.ask(key, 1, 10)).ok
    await asyncio.sleep(1.1)
    assert (await other.ask(key, 1, 60)).refusal.code == "budget_exceeded", "what it may have cost counts as spent"
    assert (await other.ask(key, 1, 40)).ok
    one.settle(lost, 1, 1)
    await one.settled()
    assert one.shared.spent()["f"][0].spent in (0, 60)


test_what_a_dead_replica_held_is_given_back_and_counts_as_spent = two(dead_replicas_leave_nothing_locked, lease=1)


async def a_crossed_budget_is_told_once(one, other, told):
    key = named("g", budgets=(Budget("usd", 100, "day", hard=False),))
    for replica in (one, other, one, other):
        replica.settle(await replica.ask(key, 1, 60), 1, 60)
        await replica.settled()
    assert [(name, event.spent) for name, event in told] == [("g", 120)]


def test_a_used_up_budget_is_told_by_one_replica_once(server):
    told = []

    async def main():
        tell = {"tell": lambda key, event: told.append((key, event))}
        async with Replica(server, **tell) as one, Replica(server, **tell) as other:
            await a_crossed_budget_is_told_once(one, other, told)

    asyncio.run(main())


GONE = named("h", limits=(Limit("requests", 5, "minute"),), budgets=(Budget("usd", 100, "day"),))


@pytest.mark.parametrize("how", ["kill", "pause"])
@pytest.mark.parametrize("when_gone", ["open", "closed"])
def test_without_redis_calls_hardly_wait_and_go_by_the_setting(server, how, when_gone, caplog):
    async def main():
        async with Replica(server, patience=0.01, when_gone=when_gone) as one:
            verdict = await one.ask(GONE, 1, 60)
            one.settle(verdict, 1, 60)
            await one.settled()
            await one.ask(GONE, 1, 0)
            getattr(server, how)()
            took, verdicts = [], []
            for _ in range(10):
                began = time.monotonic()
                verdicts.append(await one.ask(GONE, 1, 10))
                took.append(time.monotonic() - began)
            if how == "pause":
                server.go_on()
            return took, verdicts, one.shared.alone

    took, verdicts, alone = asyncio.run(main())
    assert sorted(took)[5] < 0.01, "one call finds out, the others do not ask"
    assert max(took) < 1
    assert alone == 10
    codes = [verdict.refusal and verdict.refusal.code for verdict in verdicts]
    if when_gone == "closed":
        assert set(codes) == {"limits_unavailable"}
        assert verdicts[0].refusal.status == 503
    else:
        assert codes[:4] == [None] * 4, "40 of the 100 were left, and that is known"
        assert codes[4] == "budget_exceeded"


def test_what_was_spent_without_redis_is_booked_when_it_is_back(server, caplog):
    async def main():
        async with Replica(server, patience=0.05) as one, Replica(server) as other:
            one.settle(await one.ask(GONE, 1, 20), 1, 20)
            await one.settled()
            server.kill()
            alone = await one.ask(GONE, 1, 30)
            assert alone.ok
            one.settle(alone, 1, 30)
            server.start()
            await until(lambda: one.shared.connected and other.shared.connected)
            await one.settled()
            assert (await one.ask(GONE, 1, 1)).ok
            assert not (await other.ask(GONE, 1, 51)).ok, "also what a server without memory was told: 20, 30, and 1"
            assert (await other.ask(GONE, 1, 49)).ok

    asyncio.run(main())
    assert "is back" in caplog.text


def test_what_redis_was_not_told_by_the_end_is_counted_and_said(server, caplog):
    async def main():
        async with Replica(server) as one:
            verdict = await one.ask(GONE, 1, 20)
            server.kill()
            one.settle(verdict, 1, 20)
            await until(lambda: not one.shared.connected)
        return one.shared.report()["lost"]

    assert asyncio.run(main()) == 1
    assert "was not told what 1 calls cost" in caplog.text


def test_what_waits_is_bounded_and_counted(server, monkeypatch, caplog):
    from understudy.access import line

    monkeypatch.setattr(line, "WAITING", 3)

    async def main():
        async with Replica(server) as one:
            verdicts = [await one.ask(named("i", limits=(Limit("parallel", 9),))) for _ in range(6)]
            server.kill()
            for verdict in verdicts:
                one.settle(verdict, 1, 1)
            await until(lambda: not one.shared.connected)
            return one.shared.report()

    assert asyncio.run(main())["lost"] >= 3


def test_a_gateway_that_is_slow_itself_does_not_take_redis_for_gone(server):
    async def main():
        async with Replica(server, patience=0.02, when_gone="closed") as one:
            asking = asyncio.create_task(one.ask(named("n", limits=(Limit("requests", 5, "minute"),))))
            for _ in range(5):
                await asyncio.sleep(0)
                time.sleep(0.05)  # noqa: ASYNC251  # the event loop is held up longer than the patience lasts
            return await asking, one.shared.alone

    verdict, alone = asyncio.run(main())
    assert verdict.ok
    assert alone == 0


CLIENTS = """
import asyncio, json, sys, time
from understudy.access import Budget, Key, Limit, Local
from understudy.access.shared import Shared

async def main(url, seconds):
    shared = Shared(url, local=Local(), patience=5.0, when_gone="closed")
    shared.start()
    while not shared.connected:
        await asyncio.sleep(0.01)
    key = Key("k", "k", limits=(Limit("requests", 100, "second"),), budgets=(Budget("usd", 100_000, "day"),))
    let_in, cost, asked = [], 0, 0
    end = time.time() + seconds

    async def client(n):
        nonlocal cost, asked
        while time.time() < end:
            asked += 1
            verdict = await shared.admit(key, 10, 500, time.monotonic(), time.time())
            if verdict.ok:
                let_in.append(shared._leases[verdict.lease].at / 1e6)  # by the server's clock
                price = 300 + n % 200
                cost += price
                await asyncio.sleep(0.05)
                shared.settle(verdict, 10, price)
            else:
                await asyncio.sleep(0.2)

    await asyncio.gather(*(client(n) for n in range(250)))
    await shared.close()
    print(json.dumps({"let_in": let_in, "cost": cost, "asked": asked, "alone": shared.alone}))

asyncio.run(main(sys.argv[1], float(sys.argv[2])))
"""


def test_500_clients_of_two_processes_stay_within_rate_and_budget(server):
    command = [sys.executable, "-c", CLIENTS, server.url, "4"]
    processes = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    results = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert all(process.returncode == 0 for process in processes)
    assert all(result["alone"] == 0 for result in results)
    assert most_in_a_second([at for result in results for at in result["let_in"]]) <= 100
    cost = sum(result["cost"] for result in results)
    assert cost <= 1.01 * 100_000
    assert cost > 0.95 * 100_000, "and the budget is used"
    assert min(len(result["let_in"]) for result in results) > 10, "both had a share"


def test_a_url_that_is_none_of_redis_is_refused():
    with pytest.raises(ValueError, match="scheme"):
        Shared("http://127.0.0.1/", local=Local(), patience=1)


def test_a_call_that_is_cancelled_while_it_waits_takes_nothing(server):
    async def main():
        async with Replica(server) as one:
            key = named("j", limits=(Limit("parallel", 1), Limit("requests", 50, "minute")))
            await one.ask(key)
            key = named("j2", limits=key.limits)
            server.pause()
            waiting = asyncio.create_task(one.ask(key))
            await asyncio.sleep(0.05)
            waiting.cancel()
            await asyncio.wait({waiting})
            server.go_on()
            await one.settled()
            verdict = await one.ask(key)
            assert waiting.cancelled()
            assert [left.left for left in verdict.left()] == [49, 0]

    asyncio.run(main())


async def settlements_bear_being_sent_twice(one, other):
    key = named("m", limits=(Limit("tokens", 100, "minute"),), budgets=(Budget("usd", 100, "day"),))
    verdict, beside = await one.ask(key, 30, 30), await other.ask(key, 30, 30)
    lease = one.shared._leases[verdict.lease]
    for _ in range(3):
        one.shared._end(lease, [-20], 10, 10)
    await one.settled()
    after = await other.ask(key, 0, 0)
    assert after.left()[0].left == 60
    other.settle(beside, 30, 30)
    await other.settled()
    assert other.shared.spent()["m"][0].spent == 40


test_a_settlement_that_is_sent_again_after_an_outage_counts_once = two(settlements_bear_being_sent_twice)
