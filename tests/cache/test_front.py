"""Calls never wait for the cache, and never fail by it: whatever is wrong with a store is a miss, and counted."""

import asyncio
import logging

import pytest

from tests.cache.making import data, entry, slot
from understudy import clock
from understudy.cache import Cache, StoreError, front


class Store:
    """In a dictionary; `trouble` is raised by every step, and `stuck` keeps them all waiting."""

    where = "the store"

    def __init__(self):
        self.kept, self.trouble, self.stuck, self.tidied, self.closed = {}, None, asyncio.Event(), 0, 0
        self.stuck.set()

    async def _step(self):
        await self.stuck.wait()
        if self.trouble is not None:
            raise self.trouble

    async def read(self, place):
        await self._step()
        return self.kept.get(place)

    async def write(self, place, data, until):
        await self._step()
        self.kept[place] = data

    async def tidy(self):
        self.tidied += 1
        await self._step()

    async def clear(self, route, key):
        raise NotImplementedError

    async def close(self):
        self.closed += 1
        await self._step()


def using(scenario, *, patience=5.0, largest=1000):
    async def run():
        store = Store()
        cache = Cache(store, largest=largest, patience=patience)
        try:
            return await scenario(cache, store)
        finally:
            store.stuck.set()
            await cache.close()

    return asyncio.run(run())


async def until(condition):
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.001)


def same(entry):
    return entry


def test_what_is_put_is_found_while_it_is_fresh():
    async def scenario(cache, store):
        kept = entry(slot())
        cache.put(slot(), kept, same)
        await until(lambda: store.kept)
        assert await cache.get(slot()) == kept
        assert await cache.get(slot("two")) is None
        store.kept[slot()] = data(slot(), ttl=-1)
        assert await cache.get(slot()) is None
        assert (cache.failed, cache.lost) == (0, 0)

    using(scenario)


def test_what_is_not_found_good_is_not_kept():
    async def scenario(cache, store):
        cache.put(slot("bad"), entry(slot("bad")), lambda entry: None)
        cache.put(slot("good"), entry(slot("good")), same)
        await until(lambda: store.kept)
        assert list(store.kept) == [slot("good")]
        assert cache.lost == 0

    using(scenario)


def test_a_store_that_does_not_answer_is_a_miss_and_left_alone_until_it_has():
    async def scenario(cache, store):
        store.kept[slot()] = data(slot())
        store.stuck.clear()
        assert await cache.get(slot()) is None
        assert await cache.get(slot()) is None
        assert (cache.failed, len(cache._looking)) == (2, 1)
        store.stuck.set()
        await until(lambda: not cache._looking)
        cache._patience = 5
        assert await cache.get(slot()) is not None

    using(scenario, patience=0.01)


def test_a_store_that_fails_late_is_left_alone_for_a_second():
    async def scenario(cache, store):
        store.kept[slot()] = data(slot())
        store.stuck.clear()
        assert await cache.get(slot()) is None
        store.trouble = StoreError("gone")
        with clock.frozen() as time:
            store.kept[slot()] = data(slot())
            store.stuck.set()
            await until(lambda: not cache._looking)
            store.trouble, cache._patience = None, 5
            assert await cache.get(slot()) is None
            time.advance(front.REST)
            assert await cache.get(slot()) is not None

    using(scenario, patience=0.01)


def test_so_many_look_ups_wait_and_no_more():
    async def scenario(cache, store):
        store.stuck.clear()
        waiting = [asyncio.create_task(cache.get(slot())) for _ in range(front.LOOKING)]
        await until(lambda: len(cache._looking) == front.LOOKING)
        assert await cache.get(slot()) is None
        assert cache.failed == 1
        store.stuck.set()
        await asyncio.gather(*waiting)
        assert cache.failed == 1

    using(scenario)


@pytest.mark.parametrize("trouble", [StoreError("it is full"), RuntimeError("a mistake of ours")])
def test_a_store_that_fails_is_a_miss_and_said_once(trouble, caplog):
    caplog.set_level(logging.WARNING)

    async def scenario(cache, store):
        store.trouble = trouble
        assert await cache.get(slot()) is None
        for _ in range(3):
            cache.put(slot(), entry(slot()), same)
        await until(lambda: cache.lost == 3)
        assert cache.failed == 1
        store.trouble = None
        with clock.frozen(start=clock.monotonic() + 10):
            cache.put(slot(), entry(slot()), same)
            await until(lambda: store.kept)
            assert await cache.get(slot()) is not None

    using(scenario)
    assert sum("calls go on without it" in line for line in caplog.messages) == 1


def test_a_mistake_at_one_answer_costs_no_other(caplog):
    async def scenario(cache, store):
        def mistaken(entry):
            raise RuntimeError

        cache.put(slot("bad"), entry(slot("bad")), mistaken)
        cache.put(slot("good"), entry(slot("good")), same)
        await until(lambda: store.kept)
        assert cache.lost == 1
        assert await cache.get(slot("good")) is not None

    using(scenario)
    assert "a mistake of ours" in caplog.text


def test_what_waits_to_be_kept_has_a_bound(monkeypatch):
    monkeypatch.setattr(front, "WAITING", 1000)

    async def scenario(cache, store):
        store.stuck.clear()
        for number in range(5):
            cache.put(slot(str(number)), entry(slot(str(number)), bytes(400)), same)
        assert cache.lost == 3
        store.stuck.set()
        await until(lambda: len(store.kept) == 2)
        await until(lambda: cache._bytes == 0)

    using(scenario)


def test_what_expired_is_deleted_again_and_again_whatever_fails(monkeypatch):
    monkeypatch.setattr(front, "TIDY", 0.01)

    async def scenario(cache, store):
        store.trouble = StoreError("locked")
        cache.start()
        cache.start()
        await until(lambda: store.tidied >= 3)

    using(scenario)


def test_closing_keeps_what_waits_and_gives_up_what_is_stuck(monkeypatch):
    async def waits():
        store = Store()
        cache = Cache(store, largest=1000, patience=1)
        cache.put(slot(), entry(slot()), same)
        await cache.close()
        await cache.close()
        return cache.lost, len(store.kept), store.closed

    async def stuck():
        store = Store()
        cache = Cache(store, largest=1000, patience=1)
        store.stuck.clear()
        cache.put(slot(), entry(slot()), same)
        cache.put(slot("two"), entry(slot("two")), same)
        asyncio.get_running_loop().call_later(0.1, store.stuck.set)
        await cache.close()
        return cache.lost, store.closed

    assert asyncio.run(waits()) == (0, 1, 2)
    monkeypatch.setattr(front, "CLOSING", 0.01)
    assert asyncio.run(stuck()) == (2, 1)


def test_closing_waits_for_look_ups_that_nobody_waits_for_any_more():
    async def scenario():
        store = Store()
        cache = Cache(store, largest=1000, patience=0.01)
        store.stuck.clear()
        assert await cache.get(slot()) is None
        asyncio.get_running_loop().call_later(0.05, store.stuck.set)
        await cache.close()
        return len(cache._looking)

    assert asyncio.run(scenario()) == 0
