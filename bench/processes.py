"""The processes of the benchmark: started where they belong, known to be ready, and stopped whatever happens.

Children inherit the core that this process is pinned to while it starts them, so nothing has to run between fork and
exec. They get an environment without keys, proxies or settings: what is measured is what stands in `bench/`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import resource
import sys
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

READY_LIMIT = 60.0
"""Seconds that a process gets to become ready."""

_STOP_LIMIT = 10.0
_KEPT = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")
_LOG_TAIL = 2000

Core = int | None


class BenchError(Exception):
    """The benchmark cannot go on. `str()` says why, with what the process at fault has said."""


class Running:
    """A child process that listens on `port` of 127.0.0.1. What it writes to stderr is in `log`."""

    def __init__(self, name: str, process: asyncio.subprocess.Process, log: Path) -> None:
        self.name, self.process, self.log = name, process, log
        self.port = 0

    def said(self) -> str:
        """The end of its log, for an error message."""
        text = self.log.read_text("utf-8", "replace")[-_LOG_TAIL:].strip()
        return f"\n{self.name} has logged:\n{text}" if text else ""

    def resident(self) -> float:
        """Resident memory, in MiB."""
        status = Path(f"/proc/{self.process.pid}/status")
        if status.exists():
            found = re.search(r"VmRSS:\s+(\d+)", status.read_text())
            return int(found[1]) / 1024 if found else 0.0
        with os.popen(f"ps -o rss= -p {self.process.pid}") as answer:  # noqa: S605  # no Linux; the pid is a number
            return int(answer.read().strip() or 0) / 1024


def cores() -> tuple[Core, Core, Core]:
    """Where subject, load and provider run: a core each, the last two together where there are only two.

    Threads of one physical core count once: they would slow each other down. (None, None, None) where processes
    cannot be pinned, or there is nothing to choose from.
    """
    if sys.platform != "linux":
        return None, None, None
    free = sorted(os.sched_getaffinity(0))
    physical = {_siblings(core): core for core in reversed(free)}
    chosen = sorted(physical.values())
    if len(chosen) < 2:
        chosen = free
    if len(chosen) < 2:
        return None, None, None
    return chosen[0], chosen[1], chosen[min(2, len(chosen) - 1)]


def _siblings(core: int) -> str:
    path = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
    return path.read_text() if path.exists() else str(core)


@contextlib.contextmanager
def _pinned(core: Core) -> Iterator[None]:
    if core is None or sys.platform != "linux":
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {core})
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def allow_files(wanted: int) -> None:
    """Raise the limit of open files for this process and its children. Raises BenchError where it is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            raise BenchError(f"{wanted} open files are needed, {hard} allowed (ulimit -Hn). Ask for fewer --streams.")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _spawn(command: list[str], core: Core, folder: Path, stderr: int) -> asyncio.subprocess.Process:
    environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
    with _pinned(core):
        return await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            cwd=folder,
            env=environment,
        )


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _STOP_LIMIT)
        except TimeoutError:
            process.kill()
            await process.wait()


@contextlib.asynccontextmanager
async def running(name: str, command: list[str], core: Core, folder: Path) -> AsyncIterator[Running]:
    """Start a process whose output has a line that ends in its port, or has `:PORT/` in it. Raises BenchError."""
    log = folder / f"{name}.log"
    with log.open("wb") as stderr:
        process = await _spawn(command, core, folder, stderr.fileno())
    child = Running(name, process, log)
    try:
        try:
            child.port = await asyncio.wait_for(_port(process), READY_LIMIT)
        except TimeoutError:
            raise BenchError(f"{name} was not ready after {READY_LIMIT:g} s.{child.said()}") from None
        if not child.port:
            raise BenchError(f"{name} ended before it was ready.{child.said()}")
        yield child
    finally:
        await _stop(process)


async def _port(process: asyncio.subprocess.Process) -> int:
    assert process.stdout is not None
    async for line in process.stdout:
        found = re.search(rb"127\.0\.0\.1:(\d+)/|^(\d+)$", line)
        if found:
            return int(found[1] or found[2])
    return 0


async def output(command: list[str], core: Core, folder: Path, limit: float) -> bytes:
    """What a command prints. Raises BenchError when it fails or takes longer than `limit` seconds."""
    process = await _spawn(command, core, folder, asyncio.subprocess.PIPE)
    try:
        out, err = await asyncio.wait_for(process.communicate(), limit)
    except TimeoutError:
        raise BenchError(f"{' '.join(command)} took longer than {limit:g} s.") from None
    finally:
        await _stop(process)
    if process.returncode:
        said = err.decode("utf-8", "replace")[-_LOG_TAIL:]
        raise BenchError(f"{' '.join(command)} ended with code {process.returncode}:\n{said}")
    return out


async def until_ready(child: Running) -> None:
    """Return once /readyz answers 200. Raises BenchError after READY_LIMIT seconds."""
    end = time.monotonic() + READY_LIMIT
    while time.monotonic() < end:
        reader, writer = await asyncio.open_connection("127.0.0.1", child.port)
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n")
        answer = await reader.read()
        writer.close()
        await writer.wait_closed()
        if answer.startswith(b"HTTP/1.1 200 "):
            return
        await asyncio.sleep(0.005)
    raise BenchError(f"{child.name} was not ready after {READY_LIMIT:g} s: {answer[:200]!r}{child.said()}")
