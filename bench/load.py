"""The load: connections that ask, count what comes, and ask again. Prints what it counted as JSON.

Raw asyncio protocols on uvloop that compare bytes and parse nothing, because the load must be faster than what it
measures. A closed loop: each connection has one request open at a time. At the end no request is cut off: all of them
are awaited, so that an answer which ends too early is always somebody else's fault.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import time
from array import array

import msgspec
import uvloop

import wire

_EXAMPLES = 3
"""Different faults that are described; all are counted."""

DRAIN = 15.0
"""Seconds that the requests under way get at the end, before they count as bad."""

_TOO_MANY = 1000
"""Faults after which there is no point in asking on."""


class Counted(msgspec.Struct):
    """What one run of the load found. Latencies are in ms, from the request's first byte to the answer's last."""

    answers: int
    """Answers completed in the measured time."""
    events: int
    """Stream events that came in the measured time."""
    seconds: float
    """The measured time."""
    p50: float
    p99: float
    bad: int
    """Requests that were not answered with 200 and everything that belongs to it, at any time of the run."""
    examples: list[str]


class Tally:
    """What all connections together have seen so far, and whether they go on asking."""

    def __init__(self) -> None:
        self.answers = self.events = self.bad = self.open = 0
        self.latencies = array("d")
        self.examples: list[str] = []
        self.asking = True
        self.over = asyncio.get_running_loop().create_future()

    def fault(self, what: str) -> None:
        self.bad += 1
        if what not in self.examples and len(self.examples) < _EXAMPLES:
            self.examples.append(what)
        if self.bad >= _TOO_MANY:
            self.asking = False

    def left(self) -> None:
        self.open -= 1
        if not self.open and not self.over.done():
            self.over.set_result(None)


class Asking(asyncio.Protocol):
    """One connection that asks for plain answers; told from `Streaming` by what it does with what comes."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        self.tally, self.request = tally, request
        self.held = b""
        self.asked = 0.0
        self.transport: asyncio.Transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # what TCP gives
        self.transport = transport
        self.tally.open += 1
        self.ask()

    def connection_lost(self, exc: Exception | None) -> None:
        if self.asked:
            self.tally.fault(f"closed in the middle of an answer ({exc or 'end of file'})")
        self.tally.left()

    def ask(self) -> None:
        if self.tally.asking:
            self.asked = time.perf_counter()
            self.transport.write(self.request)
        else:
            self.asked = 0.0
            self.transport.close()

    def answered(self) -> None:
        self.tally.answers += 1
        self.tally.latencies.append(time.perf_counter() - self.asked)
        self.ask()

    def failed(self, what: str) -> None:
        """The connection is of no further use: where the next answer would begin is not known."""
        self.tally.fault(what)
        self.asked = 0.0
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        if self.held:
            data, self.held = self.held + data, b""
        end = data.find(b"\r\n\r\n")
        if end < 0:
            self.held = data
            return
        length = wire.content_length(data[:end])
        if length is None or not data.startswith(b"HTTP/1.1 200 "):
            self.failed(_shown(data))
        elif len(data) < end + 4 + length:
            self.held = data
        else:
            self.answered()


class Streaming(Asking):
    """One connection that asks for streams, and counts their events."""

    def __init__(self, tally: Tally, request: bytes) -> None:
        super().__init__(tally, request)
        self.in_body = False
        self.seen = 0
        self.tail = b""

    def data_received(self, data: bytes) -> None:
        if not self.in_body:
            if self.held:
                data, self.held = self.held + data, b""
            end = data.find(b"\r\n\r\n")
            if end < 0:
                self.held = data
                return
            if not data.startswith(b"HTTP/1.1 200 "):
                self.failed(_shown(data))
                return
            self.in_body = True
            data = data[end + 4 :]
        events = data.count(wire.MARK)
        self.seen += events
        self.tally.events += events
        self.tail = data[-5:] if len(data) >= 5 else (self.tail + data)[-5:]
        if self.tail == wire.LAST_CHUNK:
            self.ended()

    def ended(self) -> None:
        seen = self.seen
        self.in_body, self.seen, self.tail = False, 0, b""
        if seen == wire.EVENTS:
            self.answered()
        else:
            self.failed(f"a stream ended after {seen} of {wire.EVENTS} events")


def _shown(data: bytes) -> str:
    return f"unexpected answer {data[:300].decode('latin-1')!r}"


def _percentile(ordered: list[float], share: float) -> float:
    """In ms; 0 when nothing was answered in the measured time, as in a very short run with paced streams."""
    return ordered[min(int(len(ordered) * share), len(ordered) - 1)] * 1000 if ordered else 0.0


async def load(port: int, kind: str, connections: int, seconds: float, warm: float) -> Counted:
    """Ask `port` for answers of `kind` on so many connections: `warm` seconds unmeasured, then `seconds` measured.

    Connections are opened spread over the first half of `warm`, so that paced streams are spread in time as well.
    """
    loop = asyncio.get_running_loop()
    tally = Tally()
    request = wire.request(kind, port)
    protocol = Asking if kind == "plain" else Streaming
    begin = loop.time()
    for number in range(connections):
        await asyncio.sleep(begin + warm / 2 * number / connections - loop.time())
        try:
            await loop.create_connection(lambda: protocol(tally, request), "127.0.0.1", port)
        except OSError as error:
            tally.fault(f"no connection: {error}")
    gc.freeze()
    gc.disable()  # the protocols make no cycles, and a pause would be blamed on the subject
    await asyncio.sleep(begin + warm - loop.time())
    answers, events, first = tally.answers, tally.events, len(tally.latencies)
    start = time.perf_counter()
    if tally.open:
        await asyncio.wait([tally.over], timeout=seconds)
    spent = time.perf_counter() - start
    answers, events = tally.answers - answers, tally.events - events
    latencies = sorted(tally.latencies[first:])
    tally.asking = False
    if tally.open:
        await asyncio.wait([tally.over], timeout=DRAIN)
    if tally.open:
        tally.bad += tally.open
        tally.examples.append(f"{tally.open} requests were still not answered after {DRAIN:g} s")
    return Counted(
        answers, events, spent, _percentile(latencies, 0.5), _percentile(latencies, 0.99), tally.bad, tally.examples
    )


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("port", type=int)
    options.add_argument("kind", choices=wire.KINDS)
    options.add_argument("--connections", type=int, required=True)
    options.add_argument("--seconds", type=float, required=True)
    options.add_argument("--warm", type=float, required=True)
    given = options.parse_args()
    counted = uvloop.run(load(given.port, given.kind, given.connections, given.seconds, given.warm))
    print(msgspec.json.encode(counted).decode())


if __name__ == "__main__":
    main()
