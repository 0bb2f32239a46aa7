"""A fake provider: answers with prepared bytes, as fast as Python can. Prints its port, runs until it is stopped.

A raw asyncio protocol on uvloop, no HTTP library: it must not be what the benchmark measures. Which answer is sent
depends on the model asked for; see `wire.KINDS`.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import uvloop

import wire

_PACED = b'"model":"paced"'
_BURST = b'"model":"burst"'
_PLAIN = b'"model":"plain"'


class Pace:
    """All paced streams, by the millisecond of the interval in which their next event is due.

    One timer for all: a timer for each event would cost as much as sending it. Late streams catch up, so that the
    rate is kept and a slow reader is not spared anything.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.due: list[list[tuple[asyncio.Transport, Iterator[bytes]]]] = [[] for _ in range(wire.INTERVAL_MS)]
        self.open = 0
        self.now = 0

    def begin(self, transport: asyncio.Transport) -> None:
        """Send the first event now, and each further one an interval later."""
        pieces = iter(wire.PIECES)
        transport.write(next(pieces))
        if not self.open:
            self.now = self._ms()
            self.loop.call_later(0.001, self._tick)
        self.open += 1
        self.due[self._ms() % wire.INTERVAL_MS].append((transport, pieces))

    def _ms(self) -> int:
        return int(self.loop.time() * 1000)

    def _tick(self) -> None:
        end = self._ms()
        while self.now < end:
            self.now += 1
            place = self.now % wire.INTERVAL_MS
            streams = self.due[place]
            going = []
            for stream in streams:
                transport, pieces = stream
                piece = next(pieces, None)
                if piece is not None and not transport.is_closing():
                    transport.write(piece)
                    going.append(stream)
            self.open -= len(streams) - len(going)
            self.due[place] = going
        if self.open:
            self.loop.call_later(0.001, self._tick)


class Upstream(asyncio.Protocol):
    """One connection: a request, its answer, the next request."""

    def __init__(self, pace: Pace) -> None:
        self.pace = pace
        self.held = b""
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what TCP gives
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        if self.held:
            data = self.held + data
        end = data.find(b"\r\n\r\n")
        if end < 0 or len(data) < end + 4 + (wire.content_length(data[:end]) or 0):
            self.held = data
            return
        self.held = b""
        if _PLAIN in data:
            self.transport.write(wire.PLAIN)
        elif _BURST in data:
            self.transport.write(wire.BURST)
        elif _PACED in data:
            self.pace.begin(self.transport)
        else:
            self.transport.write(wire.NOT_FOUND)


async def main() -> None:
    loop = asyncio.get_running_loop()
    pace = Pace(loop)
    server = await loop.create_server(lambda: Upstream(pace), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    gc.freeze()
    gc.disable()  # nothing here makes cycles, and a pause would be blamed on a subject
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(main())
