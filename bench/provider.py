"""A simulated provider that is watched: `understudy.sim` in a process of its own. Prints its port, runs until stopped.

Beside what every simulated provider does by command (`PUT /simulated`), this one tells when it was asked and when it
had said its last byte (`GET /bench/log`, `time.monotonic` seconds, which all processes of a machine share), and drops
connections that are in the middle of an answer (`PUT /bench/drop`, a share of them as the body).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import signal
import time
from collections import deque
from collections.abc import Iterator
from typing import Any

import msgspec
import uvloop

from understudy import clock
from understudy.sim import Sim
from understudy.sim.server import Received
from understudy.sim.wire import Script, Step, refuse

_KEPT = 200_000
_BENCH = "/bench/"


class Log(msgspec.Struct):
    """When requests had arrived whole, and when the last byte of each answer was about to be written."""

    asked: list[float]
    said: list[float]


class Provider(Sim):
    """The simulated provider with a log, which forgets what it has told."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: deque[float] = deque(maxlen=_KEPT)
        self.said: deque[float] = deque(maxlen=_KEPT)
        self.open: set[Any] = set()

    def keep(self, request: Received) -> None:
        if request.method == "POST":
            self.asked.append(time.monotonic())
        super().keep(request)

    def attach(self, connection: Any) -> None:
        self.open.add(connection)
        super().attach(connection)

    def detach(self, connection: Any) -> None:
        self.open.discard(connection)
        super().detach(connection)

    def script(self, request: Received, given_key: str, other_key: str = "", *, reused: bool) -> Script:
        if request.path.startswith(_BENCH):
            return [refuse(200, self.ordered(request))]
        script = super().script(request, given_key, other_key, reused=reused)
        return self.timed(script) if request.method == "POST" else script

    def timed(self, script: Script) -> Iterator[Step]:
        """`script`, and a note of when its last step was taken, also if that ended the connection."""
        last = 0.0
        try:
            for step in script:
                last = time.monotonic()
                yield step
        finally:
            self.said.append(last)

    def ordered(self, request: Received) -> dict[str, Any]:
        """What the benchmark wants to know or done."""
        if request.path == "/bench/log":
            told = {"asked": list(self.asked), "said": list(self.said)}
            self.asked.clear()
            self.said.clear()
            return told
        # Later, when this request's own connection is no longer in the middle of an answer.
        clock.call_later(0.02, self.drop, float(request.body or b"1"))
        return {"dropping": True}

    def drop(self, share: float) -> None:
        """Reset so many of the connections that are in the middle of an answer."""
        for connection in list(self.open):
            if connection.playing is not None and random.random() < share:
                connection.drop()


async def main() -> None:
    provider = Provider()
    await provider.start()
    stop = asyncio.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    print(provider.port, flush=True)
    await stop.wait()
    await provider.stop()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(main())
