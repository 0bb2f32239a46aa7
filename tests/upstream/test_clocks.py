"""The four clocks: each fires in its own phase, exactly when due, and never for a slow caller."""

import asyncio

import pytest

from understudy.upstream import Clocks, TransportError

from .scripted import OK, answering, bench, hops, timers, until

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
PIECE = b"1\r\nx\r\n"
CLOCKS = Clocks(connect=5, first_token=60, liveness=10, progress=30)


async def fails(awaitable, kind, time, after):
    """It is still waiting just before `after` seconds, and fails with `kind` then."""
    task = asyncio.ensure_future(awaitable)
    await hops()
    time.advance(after - 0.5)
    await hops()
    assert not task.done()
    time.advance(0.5)
    with pytest.raises(TransportError) as caught:
        await task
    assert caught.value.kind == kind
    return caught.value


async def silent(wire):
    pass


def test_no_answer_at_all_runs_into_the_first_token_clock(run):
    async def scenario():
        async with bench(silent) as b:
            task = asyncio.ensure_future(b.send(clocks=CLOCKS))
            await until(lambda: b.server.heads)
            error = await fails(task, "first_token_timeout", b.time, 60)
            assert error.sent
            assert "within 60 s" in error.message
            assert b.origin.open_connections == 0

    run(scenario())


class Reader:
    """A caller that is always reading; the first `content` pieces make progress."""

    def __init__(self, response, content=0):
        self.response = response
        self.content = content
        self.pieces = 0
        self.task = asyncio.ensure_future(self.read())

    async def read(self):
        while await self.response.read():
            self.pieces += 1
            if self.pieces <= self.content:
                self.response.progressed()

    async def has(self, pieces):
        await until(lambda: self.pieces == pieces and self.response.connection.waiter is not None)


async def ping(b, reader, times, every):
    for _ in range(times):
        b.time.advance(every)
        before = reader.pieces
        await b.server.wires[0].send(PIECE)
        await reader.has(before + 1)


def test_pings_alone_run_into_the_first_token_clock(run):
    async def scenario():
        async with bench(answering(HEAD, PIECE)) as b:
            reader = Reader(await b.send(clocks=CLOCKS))
            await reader.has(1)
            await ping(b, reader, times=6, every=9)
            await fails(reader.task, "first_token_timeout", b.time, 6)

    run(scenario())


def test_silence_after_the_head_is_found_by_the_liveness_clock(run):
    async def scenario():
        async with bench(answering(HEAD)) as b:
            response = await b.send(clocks=CLOCKS)
            await fails(response.read(), "silence", b.time, 10)

    run(scenario())


def test_any_byte_restarts_the_liveness_clock(run):
    async def scenario():
        async with bench(answering(HEAD, PIECE)) as b:
            response = await b.send(clocks=CLOCKS)
            assert await response.read()
            response.progressed()
            b.time.advance(9)
            await b.server.wires[0].send(PIECE)
            await hops()
            assert await response.read()
            await fails(response.read(), "silence", b.time, 10)

    run(scenario())


def test_pings_without_content_run_into_the_progress_clock(run):
    async def scenario():
        async with bench(answering(HEAD, PIECE)) as b:
            reader = Reader(await b.send(clocks=CLOCKS), content=1)
            await reader.has(1)
            await ping(b, reader, times=3, every=8)
            await fails(reader.task, "no_progress", b.time, 6)

    run(scenario())


def test_time_that_the_caller_was_away_does_not_count(run):
    async def scenario():
        async with bench(answering(HEAD, PIECE)) as b:
            response = await b.send(clocks=CLOCKS)
            assert await response.read()
            b.time.advance(10)  # the timer looks here, and finds nobody reading
            b.time.advance(1000)
            reader = Reader(response)
            await reader.has(0)
            b.time.advance(0)
            await ping(b, reader, times=5, every=9)
            await fails(reader.task, "first_token_timeout", b.time, 5)

    run(scenario())


def test_a_short_progress_clock_is_kept_though_progress_sets_no_timer(run):
    async def scenario():
        clocks = Clocks(first_token=600, liveness=600, progress=20)
        async with bench(answering(HEAD, PIECE)) as b:
            response = await b.send(clocks=clocks)
            reader = Reader(response, content=1)
            await reader.has(1)
            await fails(reader.task, "no_progress", b.time, 20)

    run(scenario())


def test_a_slow_caller_is_not_the_providers_fault(run):
    async def scenario():
        async with bench(answering(HEAD, PIECE)) as b:
            response = await b.send(clocks=CLOCKS)
            await hops()
            b.time.advance(1000)  # before content
            assert await response.read()
            response.progressed()
            b.time.advance(1000)  # after content, with nothing to read
            reader = Reader(response)
            await reader.has(0)
            b.time.advance(0)
            await fails(reader.task, "silence", b.time, 10)

    run(scenario())


def test_a_whole_answer_outlives_every_clock(run):
    async def scenario():
        async with bench(answering(OK), idle=10_000.0) as b:
            response = await b.send(clocks=CLOCKS)
            await hops()
            b.time.advance(1000)
            assert await response.read() == b"hello"
            assert (await b.get(clocks=CLOCKS))[0].reused

    run(scenario())


def test_a_later_exchange_has_its_own_clocks(run):
    """The timer of a connection is not set anew for each exchange; it may not fire late for that."""

    async def scenario():
        turns = iter([OK, OK, b""])

        async def answer(wire):
            await wire.send(next(turns))

        async with bench(answer, idle=10_000.0) as b:
            await b.get(clocks=CLOCKS)
            b.time.advance(50)
            await b.get(clocks=CLOCKS)
            assert len(timers(b.time)) == 2  # the connection's and the pool's
            task = asyncio.ensure_future(b.send(clocks=Clocks(first_token=7)))
            await until(lambda: len(b.server.heads) == 3)
            await fails(task, "first_token_timeout", b.time, 7)

    run(scenario())


def test_a_timer_that_fires_between_exchanges_does_nothing(run):
    async def scenario():
        async with bench(answering(OK), idle=10_000.0) as b:
            await b.get(clocks=CLOCKS)
            b.time.advance(500)
            response, body = await b.get(clocks=CLOCKS)
            assert (response.reused, body) == (True, b"hello")

    run(scenario())
