"""The wire: framing, torture, bounds."""

import asyncio
import gc

import pytest

from understudy.upstream import TransportError
from understudy.upstream.connection import Connection

from .scripted import GET, OK, answering, bench, drain, hops, until

LENGTH = b"HTTP/1.1 200 OK\r\nContent-Length: 11\r\nX-Id: 7\r\n\r\nhello world"
CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nX-Id: 7\r\n\r\n"
    b"5\r\nhello\r\n6;note=1\r\n world\r\n0\r\ntrailer: x\r\n\r\n"
)
TO_EOF = b"HTTP/1.1 200 OK\r\nX-Id: 7\r\n\r\nhello world"


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED], ids=["length", "chunked"])
def test_an_answer_split_anywhere_reads_the_same(run, answer):
    async def scenario():
        cuts = iter(range(1, len(answer)))

        async def split(wire):
            at = next(cuts)
            await wire.send(answer[:at], answer[at:])

        async with bench(split) as b:
            for at in range(1, len(answer)):
                response, body = await b.get()
                assert (response.status, body, response.done) == (200, b"hello world", True), at
                assert dict(response.headers)[b"x-id"] == b"7"
            assert len(b.server.wires) == 1

    run(scenario())


def test_an_answer_byte_by_byte_reads_the_same(run):
    async def scenario():
        async with bench(answering(*(CHUNKED[i : i + 1] for i in range(len(CHUNKED))))) as b:
            assert (await b.get())[1] == b"hello world"

    run(scenario())


@pytest.mark.parametrize("answer", [LENGTH, CHUNKED], ids=["length", "chunked"])
@pytest.mark.parametrize("reused", [False, True])
@pytest.mark.parametrize("how", ["close", "reset"])
def test_a_cut_answer_never_looks_finished(run, answer, reused, how):
    """Cut at every offset; on a reused connection, before the first byte, it is stale, and so asked again."""

    async def scenario(at):
        turns = iter(([OK] if reused else []) + [None] * 2)

        async def cut(wire):
            whole = next(turns)
            await wire.send(whole or answer[:at])
            if whole is None:
                getattr(wire, how)()

        async with bench(cut) as b:
            if reused:
                await b.get()
            got = b""
            with pytest.raises(TransportError) as caught:
                got = (await b.get())[1]
            assert (caught.value.kind, got) == ("cut", b""), at
            assert caught.value.sent
            assert caught.value.reused == (reused and at > 0)
            assert len(b.server.wires) == (2 if reused and at == 0 else 1)

    async def every():
        for at in range(len(answer)):
            await scenario(at)

    run(every())


@pytest.mark.parametrize("sent", [b"", LENGTH[:20], LENGTH[:-3], b"nonsense\r\n\r\n"])
def test_a_connection_that_ended_badly_is_freed_without_the_garbage_collector(run, sent):
    async def scenario():
        async def cut(wire):
            await wire.send(sent)
            wire.close()

        async with bench(cut) as b:
            for _ in range(3):
                with pytest.raises(TransportError):
                    await b.get()
            await hops()
            return sum(isinstance(one, Connection) for one in gc.get_objects())

    gc.collect()
    before = sum(isinstance(one, Connection) for one in gc.get_objects())
    gc.disable()
    try:
        assert run(scenario()) <= before
    finally:
        gc.enable()


def test_what_arrived_before_a_cut_is_read_first(run):
    async def scenario():
        async with bench(answering(LENGTH[:-3], close=True)) as b:
            response = await b.send()
            await hops(20)
            assert await response.read() == b"hello wo"
            for _ in range(2):
                with pytest.raises(TransportError, match="before the answer was whole"):
                    await response.read()
            assert not response.done

    run(scenario())


def test_a_body_without_length_ends_with_the_connection(run):
    async def scenario():
        async with bench(answering(TO_EOF[:-3], TO_EOF[-3:], close=True)) as b:
            response, body = await b.get()
            assert (body, response.done) == (b"hello world", True)
            assert b.origin.open_connections == 0

    run(scenario())


def test_a_body_without_length_is_cut_by_a_reset(run):
    async def answer(wire):
        await wire.send(TO_EOF)
        wire.reset()

    async def scenario():
        async with bench(answer) as b:
            with pytest.raises(TransportError) as caught:
                await b.get()
            assert caught.value.kind == "cut"

    run(scenario())


@pytest.mark.parametrize(
    ("head", "answer", "status"),
    [
        (GET, b"HTTP/1.1 204 No Content\r\n\r\n", 204),
        (GET, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 9\r\n\r\n", 304),
        (GET, b"HTTP/1.1 302 Found\r\nlocation: /y\r\ncontent-length: 0\r\n\r\n", 302),
        (b"HEAD" + GET[3:], b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n", 200),
    ],
)
def test_answers_without_a_body_end_with_their_head(run, head, answer, status):
    async def scenario():
        async with bench(answering(answer)) as b:
            for _ in range(2):
                response, body = await b.get(head)
                assert (response.status, body, response.done) == (status, b"", True)

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "reusable"),
    [
        (OK, True),
        (OK.replace(b"1.1", b"1.0"), False),
        (OK.replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n"), False),
        (OK.replace(b"1.1", b"1.0").replace(b"\r\n\r\n", b"\r\nconnection: keep-alive\r\n\r\n"), True),
        (OK + b"H", False),
        (OK + OK, False),
    ],
    ids=["1.1", "1.0", "close", "1.0-keep", "surplus", "second-answer"],
)
def test_only_a_clean_connection_is_reused(run, answer, reusable):
    async def scenario():
        async with bench(answering(answer)) as b:
            for turn in range(2):
                response, body = await b.get()
                assert body == b"hello"
                assert response.reused == (reusable and turn == 1)
            assert len(b.server.wires) == (1 if reusable else 2)

    run(scenario())


def test_bytes_on_an_idle_connection_close_it(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            await b.get()
            b.server.wires[0].transport.write(OK.replace(b"hello", b"EVIL!"))
            await until(lambda: b.origin.open_connections == 0)
            assert (await b.get())[1] == b"hello"

    run(scenario())


def test_an_idle_connection_that_the_server_closes_is_dropped_at_once(run):
    async def scenario():
        async with bench(answering(OK)) as b:
            await b.get()
            b.server.wires[0].close()
            await until(lambda: b.origin.open_connections == 0)
            response, _ = await b.get()
            assert not response.reused

    run(scenario())


def test_interim_answers_are_skipped(run):
    async def scenario():
        early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n"
        async with bench(answering(early, OK)) as b:
            response, body = await b.get()
            assert (response.status, response.headers, body) == (200, [(b"content-length", b"5")], b"hello")

    run(scenario())


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"220 smtp.example.com ESMTP\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\nhello", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\n\r\n0\r\n\r\n", "not valid HTTP/1.1"),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n0\r\n\r\n", "transfer-encoding 'gzip, chunked'"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: br\r\ncontent-length: 5\r\n\r\nhello", "content-encoding 'br'"),
        (b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-encoding: gzip\r\n\r\n", "content-encoding 'gzip'"),
        (b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", "unexpected status 101"),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 17, "unexpected status 100"),
        (b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 257 + b"\r\n", "more than 256 header lines"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 70000 + b"\r\n\r\n", "more than 65536 bytes of headers"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 70000, "more than 65536 bytes of headers"),
    ],
)
def test_what_is_not_http_is_refused(run, answer, why):
    async def scenario():
        async with bench(answering(answer)) as b:
            with pytest.raises(TransportError, match=why) as caught:
                await b.get()
            assert caught.value.kind == "bad_response"
            assert caught.value.message.startswith(f"http://127.0.0.1:{b.server.port}: ")

    run(scenario())


def test_a_damaged_body_is_a_bad_response(run):
    async def scenario():
        async with bench(answering(CHUNKED.replace(b"6;note", b"zz"))) as b:
            response = await b.send()
            with pytest.raises(TransportError) as caught:
                await drain(response)
            assert caught.value.kind == "bad_response"

    run(scenario())


def test_framing_without_content_is_bounded(run):
    async def scenario():
        endless = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\ntrailer: "
        async with bench(answering(endless, *[b"x" * 30000] * 3)) as b:
            with pytest.raises(TransportError, match="headers or framing"):
                await b.get()

    run(scenario())


def test_a_large_head_with_a_large_body_is_within_bounds(run):
    async def scenario():
        body = b"b" * 100_000
        answer = b"HTTP/1.1 200 OK\r\na: %b\r\ncontent-length: %d\r\n\r\n" % (b"a" * 60_000, len(body)) + body
        async with bench(answering(answer)) as b:
            assert (await b.get())[1] == body

    run(scenario())


def test_a_big_upload_waits_for_the_provider(run):
    async def scenario():
        body = bytes(range(256)) * 32768  # 8 MiB
        head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with bench(answering(OK), hold) as b:
            sending = asyncio.ensure_future(b.get(head, body))
            await until(lambda: b.server.wires)
            await hops(50)
            connection = next(iter(b.origin._lent_or_idle))
            assert connection.transport.get_write_buffer_size() < 1024 * 1024
            b.server.wires[0].transport.resume_reading()
            response, _ = await sending
            assert response.status == 200
            assert b.server.bodies[0] == body
            assert (await b.get())[0].reused

    async def hold(wire):
        wire.transport.pause_reading()

    run(scenario())


def test_an_early_answer_ends_the_upload(run):
    async def refuse(wire):
        wire.transport.pause_reading()
        await wire.send(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\n\r\n")

    async def scenario():
        body = bytes(32 * 1024 * 1024)
        head = b"POST / HTTP/1.1\r\nhost: test\r\ncontent-length: %d\r\n\r\n" % len(body)
        async with bench(refuse, eager=True) as b:
            response, _ = await b.get(head, body)
            assert response.status == 413
            assert b.origin.open_connections == 0
            b.server.wires[0].transport.resume_reading()

    run(scenario())


def test_small_packets_leave_at_once(run):
    import socket

    async def scenario():
        async with bench(answering(OK)) as b:
            await b.get()
            sock = next(iter(b.origin._lent_or_idle)).transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

    run(scenario())
