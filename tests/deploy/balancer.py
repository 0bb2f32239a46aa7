"""The smallest load balancer there can be: asks each replica's `/readyz`, and gives connections to those that say 200.

It works on connections, as a Kubernetes Service does, and never sends anything twice: what a replica drops, its client
has lost. Replicas are asked every `INTERVAL` seconds, so that it learns late of one that stops, as all of them do.
"""

import asyncio
import contextlib
import itertools
import os
import re
import shutil
import subprocess
import threading
from pathlib import Path

import httpx2
import pytest

from tests.deploy.replicas import free, until

INTERVAL = 0.2


class Balancer:
    """`ports`: the replicas' at 127.0.0.1. Used as a context manager; `url` is where it listens."""

    def __init__(self, ports):
        self.ports, self.ready = ports, set()
        self._turns, self._began = itertools.count(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self):
        self._thread.start()
        assert self._began.wait(10)
        until(lambda: self.ready == set(self.ports), "both replicas become ready")
        return self

    def __exit__(self, *_raised):
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)

    async def _main(self):
        self._loop, self._end, self._pipes = asyncio.get_running_loop(), asyncio.Event(), set()
        asking = [asyncio.create_task(self._ask(port)) for port in self.ports]
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        self._began.set()
        await self._end.wait()
        server.close()
        for task in [*asking, *self._pipes]:
            task.cancel()
        await asyncio.gather(*asking, *self._pipes, return_exceptions=True)
        await asyncio.sleep(0.05)  # the transports' own farewells

    async def _ask(self, port):
        while True:
            if await _is_ready(port):
                self.ready.add(port)
            else:
                self.ready.discard(port)
            await asyncio.sleep(INTERVAL)

    async def _serve(self, reader, writer):
        self._pipes.add(asyncio.current_task())
        try:
            answers, theirs = await self._connect()
        except OSError:
            pass  # its client is the one to notice
        else:
            await asyncio.gather(_pipe(reader, theirs), _pipe(answers, writer))
        finally:
            self._pipes.discard(asyncio.current_task())
            writer.close()

    async def _connect(self):
        ready = sorted(self.ready)
        if not ready:
            raise OSError("no replica is ready")
        return await asyncio.open_connection("127.0.0.1", ready[next(self._turns) % len(ready)])


async def _pipe(reader, writer):
    """Pass on what comes until it ends; then end the other side, too."""
    try:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
    finally:
        writer.close()


async def _is_ready(port):
    with contextlib.suppress(OSError, TimeoutError):
        async with asyncio.timeout(5):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            with contextlib.closing(writer):
                writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
                return (await reader.read()).startswith(b"HTTP/1.1 200 ")
    return False


class HAProxy:
    """The load balancer of deploy/compose, with the configuration that is there, but for addresses."""

    def __init__(self, ports):
        self._binary = shutil.which("haproxy", path=f"{os.environ['PATH']}:/usr/sbin")
        if self._binary is None:
            pytest.skip("haproxy is not here: the load balancer of deploy/compose is not tested")
        mine, ports = free(), iter(ports)
        text = (Path(__file__).parents[2] / "deploy/compose/haproxy.cfg").read_text()
        text = re.sub(r"(server gateway-\w+) \S+", lambda found: f"{found[1]} 127.0.0.1:{next(ports)}", text)
        self._text = text.replace("bind :4000", f"bind 127.0.0.1:{mine}")
        self.url = f"http://127.0.0.1:{mine}"

    def __enter__(self):
        command = [self._binary, "-db", "-f", "/dev/stdin"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                                         stderr=subprocess.DEVNULL, text=True)  # fmt: skip
        self._process.stdin.write(self._text)
        self._process.stdin.close()
        until(self._answers, "HAProxy answers")
        return self

    def _answers(self):
        try:
            return httpx2.get(f"{self.url}/readyz", trust_env=False).status_code == 200
        except httpx2.TransportError:
            return False

    def __exit__(self, *_raised):
        self._process.terminate()
        self._process.wait(20)
