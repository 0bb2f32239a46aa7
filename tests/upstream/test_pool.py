"""Sharing: the limit, the queue, what is kept and for how long, the one silent retry."""

import asyncio

import pytest

from understudy.upstream import Client, Clocks, TransportError

from .scripted import CLOCKS, GET, OK, answering, bench, drain, hops, until

HALF = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhe"


def test_a_connection_is_kept_and_the_last_one_lent_first(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            first, second = await b.send(), await b.send()
            assert await drain(first) == await drain(second) == b"hello"
            assert (b.origin.open_connections, b.origin.idle_connections) == (2, 2)
            third = await b.send()
            assert third.reused
            assert third.connection is second.connection
            assert third.connect_seconds == 0
            await drain(third)

    run(scenario())


def test_idle_connections_are_closed_when_their_time_is_up(run):
    async def scenario():
        async with bench(answering(OK), idle=30.0) as b:
            first, second = await b.send(), await b.send()
            await drain(first)
            await drain(second)
            b.time.advance(20)
            await b.get()
            b.time.advance(10)
            assert b.origin.open_connections == 1
            b.time.advance(20)
            assert b.origin.open_connections == 0

    run(scenario())


def test_the_limit_holds_and_the_queue_is_fair(run):
    async def scenario():
        async with bench(answering(OK), limit=2) as b:
            held = [await b.send(), await b.send()]
            served = []

            async def one(number):
                response = await b.send()
                served.append(number)
                await drain(response)

            tasks = []
            for number in range(6):
                tasks.append(asyncio.ensure_future(one(number)))
                await hops()
            assert b.origin.waiting == 6
            assert len(b.server.wires) == 2
            for response in held:
                await drain(response)
            await asyncio.gather(*tasks)
            assert served == list(range(6))
            assert b.origin.open_connections <= 2

    run(scenario())


def test_a_full_queue_refuses(run):
    async def scenario():
        async with bench(answering(HALF), limit=1, queue=1) as b:
            held = await b.send()
            waiting = asyncio.ensure_future(b.send())
            await hops()
            with pytest.raises(TransportError, match="1 connections busy and 1 requests waiting") as caught:
                await b.send()
            assert (caught.value.kind, caught.value.sent) == ("pool_full", False)
            held.cancel()
            (await waiting).cancel()

    run(scenario())


def test_waiting_for_a_connection_is_limited_by_the_connect_clock(run):
    async def scenario():
        async with bench(answering(HALF), limit=1) as b:
            held = await b.send()
            waiting = asyncio.ensure_future(b.send(clocks=Clocks(connect=5)))
            await hops()
            b.time.advance(5)
            with pytest.raises(TransportError, match="came free within 5 s") as caught:
                await waiting
            assert caught.value.kind == "pool_full"
            assert b.origin.waiting == 0
            held.cancel()

    run(scenario())


@pytest.mark.parametrize("served", ["not yet", "by a connection", "by a slot", "by a lost connection"])
def test_a_sender_cancelled_in_the_queue_leaves_its_turn_to_the_next(run, served):
    async def scenario():
        async with bench(answering(OK), limit=1) as b:
            held = await b.send()
            await hops()
            first, second = asyncio.ensure_future(b.send()), asyncio.ensure_future(b.send())
            await hops()
            if served == "by a connection":
                assert await held.read()
            elif served == "by a slot":
                held.cancel()
            elif served == "by a lost connection":
                assert await held.read()
                held.connection.close()
            first.cancel()
            with pytest.raises(asyncio.CancelledError):
                await first
            held.cancel()
            if served == "not yet":
                await hops()
            assert await drain(await second) == b"hello"
            assert b.origin.open_connections == 1

    run(scenario())


def test_a_connection_lost_on_the_way_to_a_waiting_sender_is_replaced(run):
    async def scenario():
        async with bench(answering(OK), limit=1) as b:
            held = await b.send()
            await hops()
            waiting = asyncio.ensure_future(b.send())
            await hops()
            assert await held.read()
            held.connection.close()
            response = await waiting
            assert not response.reused
            await drain(response)

    run(scenario())


@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_stale_connection_is_retried_once_on_a_fresh_one(run, how):
    async def answer(wire):
        if wire.requests == 1:
            await wire.send(OK)
        else:
            getattr(wire, how)()

    async def scenario():
        async with bench(answer) as b:
            first, second = await b.send(), await b.send()
            await drain(first)
            await drain(second)
            response, body = await b.get()
            assert (response.reused, body) == (False, b"hello")
            assert len(b.server.wires) == 3

    run(scenario())


def test_the_retry_makes_room_where_the_pool_is_full_of_idle_connections(run):
    async def scenario():
        async with bench(answering(OK), limit=1) as b:
            await b.get()
            connection = await b.origin._acquire(CLOCKS, fresh=True)
            assert not connection.reused
            assert len(b.server.wires) == 2
            connection.close()

    run(scenario())


def test_a_fresh_connection_closed_before_the_answer_is_cut_and_not_retried(run):
    async def scenario():
        async with bench(answering(close=True)) as b:
            with pytest.raises(TransportError) as caught:
                await b.get()
            assert (caught.value.kind, caught.value.reused, caught.value.sent) == ("cut", False, True)
            assert len(b.server.heads) == 1

    run(scenario())


def test_a_stale_connection_that_is_stale_again_is_an_error(run):
    """The retry may get a kept connection, where the pool is full and one comes free; then that is the end."""

    async def answer(wire):
        if wire.requests == 1:
            await wire.send(OK)
        else:
            wire.close()

    async def scenario():
        async with bench(answer, limit=2) as b:
            first, second = await b.send(), await b.send()
            await drain(first)
            await hops()
            asking = asyncio.ensure_future(b.send())
            await hops(1)
            b.origin._slots += 5  # other senders took the room in the meantime
            await until(lambda: b.origin.waiting)
            await drain(second)
            with pytest.raises(TransportError) as caught:
                await asking
            assert (caught.value.kind, caught.value.reused) == ("stale_connection", True)
            b.origin._slots -= 5

    run(scenario())


@pytest.mark.parametrize("hop", range(12))
def test_cancelling_anywhere_leaks_nothing(run, hop):
    async def scenario():
        async with bench(answering(HALF, b"llo"), limit=1) as b:

            async def whole():
                response = await b.send()
                try:
                    return await drain(response)
                finally:
                    response.cancel()

            task = asyncio.ensure_future(whole())
            await hops(hop)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await until(lambda: b.origin.open_connections in {0, b.origin.idle_connections})
            assert (await b.get())[1] == b"hello"

    run(scenario())


def test_cancelling_while_the_answer_is_awaited_closes_the_connection(run):
    async def scenario():
        async with bench(answering(HALF)) as b:
            for ask in (b.get, b.send):
                task = asyncio.ensure_future(ask(GET[:-2] if ask == b.send else GET))
                await until(lambda: b.server.wires and not b.server.wires[-1].lost)
                await hops(20)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
                assert b.origin.open_connections == 0
                await until(lambda: all(wire.lost for wire in b.server.wires))

    run(scenario())


def test_closing_the_client_ends_everything(run):
    async def scenario():
        async with bench(answering(HALF), limit=2) as b:
            reading = await b.send()
            assert await reading.read() == b"he"
            held = await b.send()
            tail = asyncio.ensure_future(reading.read())
            waiting = asyncio.ensure_future(b.send())
            await hops()
            await b.client.close()
            for task in (tail, waiting):
                with pytest.raises(TransportError, match="the client was closed"):
                    await task
            held.cancel()
            with pytest.raises(RuntimeError, match="the client was closed"):
                await b.send()
            with pytest.raises(RuntimeError, match="the client was closed"):
                b.client.origin("http://127.0.0.1/")

    run(scenario())


def test_closing_the_client_stops_a_connection_being_made(run):
    async def scenario():
        client = Client(environ={})
        origin = client.origin("http://127.0.0.1:9")

        async def never(_origin):
            await asyncio.Event().wait()

        origin._dial = never
        task = asyncio.ensure_future(origin.send(GET, b"", CLOCKS))
        await hops()
        assert client.open_connections == 1
        await client.close()
        with pytest.raises(TransportError, match="the client was closed"):
            await task
        assert (client.open_connections, client.idle_connections) == (0, 0)

    run(scenario())
