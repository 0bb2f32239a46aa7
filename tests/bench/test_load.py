"""The load believes nobody: whatever is not a whole answer is counted, and said."""

import asyncio
import importlib


class Wire:
    """A transport that keeps what is written."""

    def __init__(self):
        self.written, self.closed = [], False

    def write(self, data):
        self.written.append(data)

    def close(self):
        self.closed = True


def fed(protocol, pieces):
    """The tally of one connection that was sent `pieces` for its first request, and the connection's transport."""

    async def run():
        load = importlib.import_module("load")
        tally, wire = load.Tally(), Wire()
        connection = getattr(load, protocol)(tally, b"request")
        connection.connection_made(wire)
        for piece in pieces:
            connection.data_received(piece)
        return tally, wire

    return asyncio.run(run())


def answers():
    return importlib.import_module("wire")


def test_a_stream_counts_alike_however_it_is_split():
    wire = answers()
    for size in (1, 2, 3, 7, 100, 4096, len(wire.BURST)):
        pieces = [wire.BURST[at : at + size] for at in range(0, len(wire.BURST), size)]
        tally, _ = fed("Streaming", pieces)
        assert (tally.answers, tally.events, tally.bad) == (1, wire.EVENTS, 0)


def test_an_answer_counts_alike_however_it_is_split():
    wire = answers()
    for size in (1, 5, len(wire.PLAIN)):
        tally, sent = fed("Asking", [wire.PLAIN[at : at + size] for at in range(0, len(wire.PLAIN), size)])
        assert (tally.answers, tally.bad, sent.written) == (1, 0, [b"request", b"request"])


def test_a_stream_that_lacks_an_event_is_bad():
    wire = answers()
    tally, sent = fed("Streaming", [*wire.PIECES[:10], *wire.PIECES[11:]])
    assert (tally.answers, tally.bad, sent.closed) == (0, 1, True)
    assert tally.examples == [f"a stream ended after {wire.EVENTS - 1} of {wire.EVENTS} events"]


def test_an_error_is_bad_and_shown():
    for protocol in ("Asking", "Streaming"):
        tally, _ = fed(protocol, [b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 2\r\n\r\nno"])
        assert (tally.answers, tally.bad) == (0, 1)
        assert "503" in tally.examples[0]


def served(reply, kind):
    """What the load counts with a server that sends `reply` to whatever comes, and closes."""

    async def answer(reader, writer):
        await reader.readuntil(b"}]")
        writer.write(reply)
        writer.close()

    async def run():
        load = importlib.import_module("load")
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        async with server:
            return await load.load(server.sockets[0].getsockname()[1], kind, 2, 0.05, 0.02)

    return asyncio.run(run())


def test_a_cut_stream_is_bad():
    wire = answers()
    counted = served(wire.BURST[: len(wire.BURST) // 2], "burst")
    assert (counted.answers, counted.bad) == (0, 2)
    assert "in the middle" in counted.examples[0]


def test_nobody_there_is_bad():
    async def run():
        load = importlib.import_module("load")
        server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        return await load.load(port, "plain", 2, 0.05, 0.02)

    counted = asyncio.run(run())
    assert (counted.answers, counted.bad) == (0, 2)
    assert "no connection" in counted.examples[0]
