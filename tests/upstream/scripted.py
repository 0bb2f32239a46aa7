"""A server that sends exactly what a test says, over real sockets, and a check that nothing is left behind."""

import asyncio
import contextlib
import socket
import struct

from understudy import clock
from understudy.upstream import Client, Clocks

GET = b"GET /v1/x HTTP/1.1\r\nhost: test\r\n\r\n"
CLOCKS = Clocks()
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello"


async def hops(count=6):
    """Let everything that can happen without time passing happen."""
    for _ in range(count):
        await asyncio.sleep(0)


async def until(condition):
    for _ in range(5000):
        if condition():
            return
        await asyncio.sleep(0)
    for _ in range(1000):
        if condition():
            return
        await asyncio.sleep(0.001)
    raise AssertionError("what the test waits for does not happen")


class Wire(asyncio.Protocol):
    """One connection, seen from the server."""

    def __init__(self, server):
        self.server = server
        self.received = b""
        self.requests = 0
        self.lost = False
        self.can_write = asyncio.Event()
        self.can_write.set()

    def connection_made(self, transport):
        self.transport = transport
        self.server.wires.append(self)
        if self.server.greeting is not None:
            self.server.start(self.server.greeting(self))

    def data_received(self, data):
        self.received += data
        while self.server.answer is not None:
            head, end, rest = self.received.partition(b"\r\n\r\n")
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line.split(b":")[1])
            if not end or (len(rest) < length and not self.server.eager):
                return
            self.received = rest[length:]
            self.requests += 1
            self.server.heads.append(head)
            self.server.bodies.append(rest[:length])
            self.server.start(self.server.answer(self))
            if self.server.eager:
                return

    def pause_writing(self):
        self.can_write.clear()

    def resume_writing(self):
        self.can_write.set()

    def connection_lost(self, exc):
        self.lost = True
        self.can_write.set()

    async def send(self, *pieces):
        for piece in pieces:
            self.transport.write(piece)
            await hops()

    def close(self):
        self.transport.close()

    def reset(self):
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()


class Server:
    """`answer(wire)` runs for each request; `greeting(wire)` for each connection."""

    def __init__(self, answer, greeting, *, eager):
        self.answer = answer
        self.greeting = greeting
        self.eager = eager  # answer when the head is there, whatever became of the body
        self.wires, self.heads, self.bodies = [], [], []
        self.tasks = set()

    def start(self, coroutine):
        task = asyncio.ensure_future(coroutine)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def listen(self, ssl=None, host="127.0.0.1", port=0):
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: Wire(self), host, port, ssl=ssl)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self):
        self._server.close()
        for task in list(self.tasks):
            task.cancel()
        for wire in self.wires:
            wire.transport.abort()
        await until(lambda: all(wire.lost for wire in self.wires) and not self.tasks)
        await self._server.wait_closed()


@contextlib.asynccontextmanager
async def serving(answer, greeting=None, *, ssl=None, eager=False):
    server = Server(answer, greeting, eager=eager)
    await server.listen(ssl)
    try:
        yield server
    finally:
        await server.close()


class Bench:
    """What a scenario works with."""

    def __init__(self, server, client, time):
        self.server, self.client, self.time = server, client, time
        self.origin = client.origin(f"http://127.0.0.1:{server.port}/v1") if server else None

    async def send(self, head=GET, body=b"", clocks=CLOCKS):
        return await self.origin.send(head, body, clocks)

    async def get(self, head=GET, body=b"", clocks=CLOCKS):
        response = await self.origin.send(head, body, clocks)
        return response, await drain(response)


async def drain(response):
    pieces = []
    while piece := await response.read():
        pieces.append(piece)
    return b"".join(pieces)


def timers(time):
    return [due for due, _, timer in time._due if timer.callback is not None]


@contextlib.asynccontextmanager
async def bench(answer=None, greeting=None, *, eager=False, ssl=None, **settings):
    """A server, a client and frozen time; afterwards no connection, timer or task is left."""
    before = asyncio.all_tasks()
    with clock.frozen() as time:
        async with serving(answer, greeting, eager=eager, ssl=ssl) as server:
            client = Client(**{"environ": {}, **settings})
            try:
                yield Bench(server, client, time)
            finally:
                await client.close()
            assert client.open_connections == 0
            assert timers(time) == []
            await until(lambda: all(wire.lost for wire in server.wires))
    await until(lambda: asyncio.all_tasks() <= before)


def answering(*pieces, close=False):
    """A server that sends these pieces for each request."""

    async def answer(wire):
        await wire.send(*pieces)
        if close:
            wire.close()

    return answer
