"""Reading: back-pressure, bounds, compression, giving up."""

import asyncio
import gzip
import zlib

import pytest

from understudy.upstream import TransportError

from .scripted import OK, answering, bench, drain, hops, until


def test_a_slow_reader_slows_the_provider_and_memory_stays_bounded(run):
    total = 50 * 1024 * 1024

    async def push(wire):
        wire.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % total)
        for _ in range(total // 65536):
            await wire.can_write.wait()
            wire.transport.write(bytes(65536))

    async def scenario():
        async with bench(push) as b:
            response = await b.send()
            most = read = 0
            await hops(300)
            while not response.done:
                buffered = sum(map(len, response.connection.chunks))
                most = max(most, buffered)
                read += len(await response.read())
                if read < 4 * 1024 * 1024:
                    await hops(30)
            assert read == total
            assert 256 * 1024 < most <= 512 * 1024  # the mark, and at most one more piece of the loop's own

    run(scenario())


def test_a_paused_provider_is_not_called_silent(run):
    async def push(wire):
        wire.transport.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n" + bytes(999_999))

    async def scenario():
        async with bench(push) as b:
            response = await b.send()
            await until(lambda: response.connection.paused)
            response.progressed()
            b.time.advance(10_000)
            read = 0
            while read < 999_999:
                read += len(await response.read())
            response.cancel()
            response.cancel()
            with pytest.raises(TransportError, match="the caller cancelled"):
                await response.read()

    run(scenario())


def test_the_time_line_of_an_exchange(run):
    async def scenario():
        async with bench() as b:
            b.server.answer = lambda wire: asyncio.sleep(0)
            start = b.time.now
            sending = asyncio.ensure_future(b.send())
            await until(lambda: b.server.heads)
            b.time.advance(2)
            await b.server.wires[0].send(OK)
            response = await sending
            assert (response.started, response.connected, response.head_at) == (start, start, start + 2)
            await drain(response)

    run(scenario())


def test_body_returns_the_whole_answer_within_its_limit(run):
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n"

    async def scenario():
        async with bench(answering(answer + b"he", b"l", b"lo")) as b:
            assert await (await b.send()).body(5) == b"hello"
            response = await b.send()
            with pytest.raises(TransportError, match="longer than the 4 bytes") as caught:
                await response.body(4)
            assert caught.value.kind == "bad_response"
            assert b.origin.open_connections == b.origin.idle_connections

    run(scenario())


@pytest.mark.parametrize(("limit", "fits"), [(5, True), (4, False)])
def test_body_takes_an_answer_that_came_at_once(run, limit, fits):
    async def scenario():
        async with bench(answering(OK)) as b:
            response = await b.send()
            await hops()
            if fits:
                assert await response.body(limit) == b"hello"
                assert await response.body(limit) == await response.read() == b""
            else:
                with pytest.raises(TransportError, match="longer"):
                    await response.body(limit)
            assert (await b.get())[0].reused

    run(scenario())


def test_cancel_after_the_end_leaves_the_connection_in_the_pool(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            response, _ = await b.get()
            response.cancel()
            assert b.origin.idle_connections == 1

    run(scenario())


def packed(data, encoding):
    if encoding == b"gzip":
        return gzip.compress(data)
    if encoding == b"deflate":
        return zlib.compress(data)
    return zlib.compress(data, wbits=-15)


@pytest.mark.parametrize("encoding", [b"gzip", b"deflate", b"raw deflate"])
def test_a_compressed_answer_split_anywhere_is_undone(run, encoding):
    body = packed(b"hello world", encoding)
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: %b\r\ncontent-length: %d\r\n\r\n"
    head %= (encoding.split()[-1], len(body))

    async def scenario():
        cuts = iter(range(1, len(body)))

        async def split(wire):
            at = next(cuts)
            await wire.send(head + body[:at], body[at:])

        async with bench(split) as b:
            for at in range(1, len(body)):
                assert (await b.get())[1] == b"hello world", at
            assert len(b.server.wires) == 1

    run(scenario())


def test_a_compressed_answer_cut_anywhere_never_looks_finished(run):
    body = gzip.compress(b"hello world")
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n"

    async def scenario(at, framing, kind):
        async with bench(answering(head + framing + b"\r\n" + body[:at], close=True)) as b:
            with pytest.raises(TransportError) as caught:
                await b.get()
            assert caught.value.kind == kind

    async def every():
        for at in range(1, len(body)):
            await scenario(at, b"content-length: %d\r\n" % len(body), "cut")
            await scenario(at, b"", "bad_response")

    run(every())


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"not gzip at all", "damaged"),
        (gzip.compress(b"x") + b"surplus", "damaged"),
        (gzip.compress(b"x") + b"s", "too early"),
    ],
)
def test_a_damaged_compressed_body_is_a_bad_response(run, body, why):
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(body) + body

    async def scenario():
        async with bench(answering(answer)) as b:
            with pytest.raises(TransportError, match=why) as caught:
                await b.get()
            assert caught.value.kind == "bad_response"

    run(scenario())


def test_an_empty_body_may_be_called_compressed(run):
    async def scenario():
        async with bench(answering(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 0\r\n\r\n")) as b:
            assert (await b.get())[1] == b""

    run(scenario())


def test_a_bomb_is_unpacked_no_faster_than_it_is_read(run):
    bomb = gzip.compress(bytes(100 * 1024 * 1024))
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(bomb) + bomb

    async def scenario():
        async with bench(answering(answer)) as b:
            response = await b.send()
            for _ in range(20):
                assert len(await response.read()) <= 64 * 1024
            response.cancel()
            with pytest.raises(TransportError, match="longer than"):
                await (await b.send()).body(1_000_000)
            assert b.origin.open_connections == 0

    run(scenario())


def test_cancelling_a_read_of_a_compressed_answer_closes_the_connection(run):
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 100\r\n\r\n"

    async def scenario():
        async with bench(answering(head)) as b:
            response = await b.send()
            task = asyncio.ensure_future(response.read())
            await hops()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert b.origin.open_connections == 0

    run(scenario())


def test_a_compressed_stream_gives_each_piece_as_it_comes(run):
    packer = zlib.compressobj(wbits=31)
    first = packer.compress(b"data: 1\n\n") + packer.flush(zlib.Z_SYNC_FLUSH)
    second = packer.compress(b"data: 2\n\n") + packer.flush()
    head = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n"

    async def scenario():
        async with bench(answering(head + b"%x\r\n%b\r\n" % (len(first), first))) as b:
            response = await b.send()
            assert await response.read() == b"data: 1\n\n"
            await b.server.wires[0].send(b"%x\r\n%b\r\n0\r\n\r\n" % (len(second), second))
            assert await drain(response) == b"data: 2\n\n"

    run(scenario())
