"""Answers in a real Redis: found by every replica, expired by Redis, deleted without reading any."""

import asyncio

import pytest

from tests.cache.making import data, slot
from tests.gateway.redis_server import RedisServer
from understudy import clock
from understudy.cache import Cache, StoreError
from understudy.cache.shared import Shared


@pytest.fixture
def redis_server(tmp_path):
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


def using(server, scenario, prefix="test"):
    async def run():
        store = Shared(server.url, prefix)
        try:
            return await scenario(store)
        finally:
            await store.close()

    return asyncio.run(run())


def keep(store, place, ttl=60.0):
    return store.write(place, data(place, ttl=ttl), clock.wall() + ttl)


def test_what_was_written_is_read_by_another_replica_until_redis_lets_it_expire(redis_server):
    async def scenario(store):
        await keep(store, slot())
        other = Shared(redis_server.url, "test")
        assert await other.read(slot()) == await store.read(slot())
        assert await other.read(slot("two")) is None
        await other.close()
        with redis_server.client() as client:
            (name,) = client.keys("*")
            assert name.startswith(b"test:cache:")
            assert 50_000 < client.pttl(name) <= 60_000
        await keep(store, slot("brief"), ttl=0.05)
        while await store.read(slot("brief")) is not None:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.01)
        await store.tidy()

    using(redis_server, scenario)


def test_answers_are_cleared_by_route_and_by_key_and_nothing_else_is(redis_server):
    places = [slot("a", "gpt", "k1"), slot("a", "gpt", "k2"), slot("a", "claude", "k1"), slot("b", "claude", "k1")]

    async def scenario(store):
        for place in places:
            await keep(store, place)
        other = Shared(redis_server.url, "other")
        await keep(other, places[0])
        assert await store.clear("gpt", "k1") == 1
        assert [bool(await store.read(place)) for place in places] == [False, True, True, True]
        assert await store.clear("claude", None) == 2
        assert await store.clear(None, "k2") == 1
        assert await store.clear(None, None) == 0
        assert await other.read(places[0])
        await other.close()

    using(redis_server, scenario)


def test_a_redis_that_is_gone_is_told_without_its_password(redis_server):
    redis_server.kill()

    async def scenario():
        store = Shared(redis_server.url.replace("//", "//user:secret@"), "test")
        for step in (store.read(slot()), keep(store, slot()), store.clear(None, None)):
            with pytest.raises(StoreError) as caught:
                await step
            assert "Redis at 127.0.0.1" in str(caught.value)
            assert "secret" not in str(caught.value)
        await store.close()

    asyncio.run(scenario())


def test_a_redis_that_stands_still_is_a_miss_and_comes_back(redis_server):
    async def scenario():
        cache = Cache(Shared(redis_server.url, "test"), largest=1000, patience=0.02)
        await keep(cache._store, slot())
        redis_server.pause()
        assert await cache.get(slot()) is None
        assert await cache.get(slot()) is None  # it is left alone
        assert cache.failed == 2
        redis_server.go_on()
        while await cache.get(slot()) is None:  # noqa: ASYNC110  # nothing tells
            await asyncio.sleep(0.05)
        await cache.close()

    asyncio.run(scenario())


def test_a_caller_who_leaves_amid_a_look_up_leaves_no_answer_to_the_next(redis_server):
    async def scenario():
        cache = Cache(Shared(redis_server.url, "test"), largest=1000, patience=5)
        for name in "ab":
            await keep(cache._store, slot(name))
        for _ in range(50):
            leaving = asyncio.create_task(cache.get(slot("a")))
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            leaving.cancel()
            found = await cache.get(slot("b"))
            assert found is not None
            assert found.digest == slot("b").digest
        await cache.close()

    asyncio.run(scenario())
