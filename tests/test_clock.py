import asyncio

from understudy import clock


def test_frozen_time_stands_still_until_it_is_moved():
    with clock.frozen(start=50) as time:
        assert clock.monotonic() == clock.wall() == 50
        time.advance(2.5)
        assert clock.monotonic() == 52.5


def test_callbacks_come_in_the_order_of_their_time_and_see_it():
    seen = []
    with clock.frozen(start=0) as time:
        clock.call_later(3, lambda: seen.append(("c", clock.monotonic())))
        clock.call_later(1, lambda name: seen.append((name, clock.monotonic())), "a")
        clock.call_later(1, lambda: clock.call_later(1, lambda: seen.append(("b", clock.monotonic()))))
        clock.call_later(1, seen.append, "never").cancel()
        clock.call_later(9, seen.append, "later")
        time.advance(5)
    assert seen == [("a", 1), ("b", 2), ("c", 3)]


def test_sleep_ends_when_time_has_moved():
    async def scenario():
        with clock.frozen() as time:
            sleeping = asyncio.ensure_future(clock.sleep(10))
            await asyncio.sleep(0)
            time.advance(9)
            await asyncio.sleep(0)
            assert not sleeping.done()
            time.advance(1)
            await asyncio.wait({sleeping})

    asyncio.run(scenario())


def test_chance_is_the_same_for_the_same_seed():
    def draw(seed):
        with clock.frozen(seed=seed):
            return clock.random(), clock.token(8)

    assert draw(1) == draw(1) != draw(2)
    assert len(draw(1)[1]) == 16


def test_afterwards_time_runs_as_before():
    before = vars(clock).copy()
    with clock.frozen():
        assert clock.monotonic is not before["monotonic"]
    assert {name: value for name, value in vars(clock).items() if before[name] is not value} == {}


def test_real_timers_fire():
    async def scenario():
        fired = asyncio.Event()
        clock.call_later(60, fired.clear).cancel()
        clock.call_later(0, fired.set)
        await fired.wait()

    asyncio.run(scenario())
    assert 0 <= clock.random() < 1
    assert clock.token(4) != clock.token(4)
