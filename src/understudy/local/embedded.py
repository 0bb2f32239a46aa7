"""The embedded engine as the gateway sees it: an address that is there when it is needed, and a queue with an end.

The engine runs in a process of its own (`engine.py` says why), started on first use. It speaks OpenAI's chat dialect on
loopback behind a random key, so it is a provider like any other and its answers take the same path. It is never shut
down in order, only killed: it keeps nothing that could be lost, and so there is one way to end instead of two.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import msgspec

from understudy import clock
from understudy.local.engine import Ready, Settings

LOG_BYTES = 8192
"""How much of the engine's stderr is kept: enough for the errors of one failed start."""

_SECRET = re.compile("KEY|TOKEN|SECRET|PASSWORD|CREDENTIAL")
_LLAMA_ERROR = re.compile(r"^[\d.]+ E (.+)$", re.MULTILINE)


class EngineFailed(Exception):  # noqa: N818 - it names what happened
    """The engine could not be started. The message says why and what to do; `log` is the end of what it printed."""

    def __init__(self, message: str, log: str = "") -> None:
        super().__init__(message)
        self.log = log


class QueueFull(Exception):  # noqa: N818 - as asyncio's own does
    """Every slot is taken and as many requests are waiting as may wait."""


class Address(msgspec.Struct, frozen=True):
    """Where the engine listens. `base_url` ends in `/v1`; `key` is its bearer token, new at every start.

    `context` is the window in tokens that one request has. `tools` is whether the model's chat template can show it
    tools: where it cannot, the engine takes `tools` and `tool_choice` and ignores them without a word.
    """

    base_url: str
    key: str
    context: int
    tools: bool


class _Child:
    """One run of the engine's process, from start to death."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.log = bytearray()
        self.expired = False
        self._listening = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        assert self.process.stderr is not None
        while chunk := await self.process.stderr.read(LOG_BYTES):
            self.log += chunk
            del self.log[:-LOG_BYTES]

    def expire(self) -> None:
        """It had its time to get ready."""
        self.expired = True
        self.kill()

    def kill(self) -> None:
        # Only what lives: asyncio's kill() polls first, and of a dead child it would snatch the status from asyncio's
        # own watcher, which then reports 255 (github.com/python/cpython/issues/87744).
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):  # it was faster
                self.process.kill()

    async def gone(self) -> None:
        """Come back when nothing of it is left; its status and the end of its log are known then."""
        await self.process.wait()
        await self._listening

    async def end(self) -> None:
        """Kill it if it lives, and wait until it is gone."""
        self.kill()
        assert self.process.stdin is not None
        self.process.stdin.close()
        await self.gone()


class Embedded:
    """One model's engine: at most one process, started by the first call that needs it and again after it has died.

    Belongs to one event loop. `parallel` requests run at once, `queue` more may wait. `context` is the window in tokens
    of each of them (it costs memory: SmolLM2-135M takes 22.5 KiB per token); the model's own window is the limit.
    `threads` None is one per physical core. A start that takes longer than `start_timeout` seconds has failed.
    """

    def __init__(
        self,
        model_path: Path,
        name: str,
        *,
        parallel: int = 2,
        queue: int = 8,
        threads: int | None = None,
        context: int = 4096,
        start_timeout: float = 120.0,
    ) -> None:
        self.name = name
        self.parallel = parallel
        self.queue = queue
        self._model_path = model_path
        self._threads = threads
        self._context = context
        self._start_timeout = start_timeout
        self._slots = asyncio.Semaphore(parallel)
        self._inside = 0
        self._starting: asyncio.Task[Address] | None = None
        self._child: _Child | None = None
        self._address: Address | None = None

    @property
    def running(self) -> bool:
        """Whether the engine is up and takes requests."""
        return self._address is not None and self._child is not None and self._child.process.returncode is None

    async def start(self) -> Address:
        """Give the engine's address, starting it if it is not running. Callers that come meanwhile share the start.

        Errors:
            EngineFailed: it could not be started; the next call tries again.
        """
        if self.running:
            assert self._address is not None
            return self._address
        if self._starting is None:
            self._starting = asyncio.create_task(self._launch())
            self._starting.add_done_callback(self._launched)
        starting = self._starting
        await asyncio.wait({starting})  # a caller that gives up does not take the others' start along
        if starting.cancelled():
            raise EngineFailed(f"the engine of local/{self.name} was stopped while it started; ask again")
        return starting.result()

    async def stop(self) -> None:
        """End the engine. Answers under way are cut. A later `start()` starts it anew."""
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.wait({self._starting})
        await self._end()

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """Wait for one of the places that run at once, and hold it inside the block.

        Errors:
            QueueFull: at once, when the waiting line is full.
        """
        if self._inside >= self.parallel + self.queue:
            raise QueueFull(
                f"local/{self.name} is busy: {self.parallel} answers under way and {self.queue} requests waiting; "
                "try again later or send the call elsewhere"
            )
        self._inside += 1
        try:
            async with self._slots:
                yield
        finally:
            self._inside -= 1

    async def _launch(self) -> Address:
        await self._end()  # of one that has died, pipes and all
        key = clock.token(32)
        try:
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-P", "-m", "understudy.local.engine", self.name),  # the name is for readers of `ps`
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # Native code of others needs none of the providers' credentials.
                env={name: value for name, value in os.environ.items() if not _SECRET.search(name.upper())},
                # Ctrl-C in the terminal is the gateway's to handle: it may still let answers finish.
                start_new_session=True,
            )
        except OSError as error:
            raise EngineFailed(
                f"no process could be started for the engine of local/{self.name} ({error}); "
                "check free memory and the limits on processes and open files"
            ) from error
        self._child = _Child(process)
        timer = clock.call_later(self._start_timeout, self._child.expire)
        try:
            ready = await self._greet(self._child, key)
        except BaseException:  # cancelled or failed: either way nothing of it may stay
            await self._end()
            raise
        finally:
            timer.cancel()
        self._address = Address(f"http://127.0.0.1:{ready.port}/v1", key, ready.context, ready.tools)
        return self._address

    async def _greet(self, child: _Child, key: str) -> Ready:
        """Tell a new process what to serve and wait until it says that it does."""
        process = child.process
        assert process.stdin is not None
        assert process.stdout is not None
        settings = Settings(
            model=str(self._model_path),
            name=self.name,
            key=key,
            parallel=self.parallel,
            context=self._context,
            threads=self._threads,
        )
        process.stdin.write(msgspec.json.encode(settings) + b"\n")
        line = await process.stdout.readline()
        if not line.endswith(b"\n"):
            await child.gone()  # it is dying by itself; if it only fell silent, the timer kills it
            raise self._failure(child)
        return msgspec.json.decode(line, type=Ready)

    def _failure(self, child: _Child) -> EngineFailed:
        log = child.log.decode(errors="replace")
        if child.expired:
            reason = f"it was not ready within {self._start_timeout:g} s; raise start_timeout or use a smaller model"
        elif first := _LLAMA_ERROR.search(log):  # those after it are its consequences
            reason = f"{first[1]}; check the file, or pull the model again"
        elif child.process.returncode == -signal.SIGKILL:
            reason = "it was killed, most likely for want of memory; a smaller context or model needs less"
        else:
            reason = (log.strip().splitlines() or [f"it ended with status {child.process.returncode}"])[-1]
        return EngineFailed(
            f"the engine of local/{self.name} did not start: {reason} (model: {self._model_path})", log.strip()
        )

    def _launched(self, starting: asyncio.Task[Address]) -> None:
        self._starting = None
        if not starting.cancelled():
            starting.exception()  # seen, even if every caller has left meanwhile

    async def _end(self) -> None:
        child, self._child, self._address = self._child, None, None
        if child is not None:
            await child.end()
