"""One connection to Redis, over which scripts are run for many calls at once.

What is asked while a round trip is under way goes out together with the next one: one system call for many decisions,
no task and no connection per call, and every call waits for at most the round trip under way and its own. Whoever asks
waits until Redis has been silent for `patience`; then the line is down until an answer comes. Errors are probed by this
task alone: while Redis is away no call waits for it.

What must get there (`tell`) waits within a bound while Redis is away; what displaces it is counted (`lost`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import urlsplit

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import NoScriptError, RedisError, ResponseError

from understudy import clock

PATIENCE = 5.0
"""Seconds in which Redis answers the task in the background, or is away. No call waits so long."""

LONGEST = 1.0
"""Seconds that a call waits at most while it is this process that is slow."""

AGAIN = 0.5
"""Seconds between two probes of a Redis that is away."""

_STEPS = 8
_LATE = 0.25

WAITING = 20_000
BATCH = 128

Reply = list[Any]
Args = Sequence[str | int]

log = logging.getLogger("understudy")


class _Asked:
    """One run of a script. `then` hears what came of it: its reply, or None if nobody knows whether it was run."""

    __slots__ = ("args", "kept", "keys", "script", "then")

    def __init__(
        self, script: str, keys: Args, args: Args, then: Callable[[Reply | None], None], *, kept: bool
    ) -> None:
        self.script, self.keys, self.args, self.then, self.kept = script, keys, args, then, kept


class Line:
    """`start` it in the running loop, and `close` it there. `up`: worth asking."""

    def __init__(self, url: str, scripts: Sequence[str], patience: float) -> None:
        parts = urlsplit(url)
        self._where = f"{parts.hostname}:{parts.port or 6379}"
        self._client = client(url)
        self._scripts = dict.fromkeys(scripts, "")
        self._patience = patience
        self._asked: deque[_Asked] = deque()
        self._wake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._lost_touch = False
        self._heard = 0
        self.up = False
        self.lost = 0

    def start(self) -> None:
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="access")

    async def close(self) -> None:
        """Send what waits, if Redis is there, and hang up."""
        task, self._task = self._task, None
        if task is None:
            return
        end = clock.monotonic() + LONGEST
        while self.up and self._asked and clock.monotonic() < end:
            await clock.sleep(0.005)
        self.up = False
        task.cancel()
        await asyncio.wait({task})
        left = sum(one.kept for one in self._asked)
        if left:
            self.lost += left
            log.warning("Redis at %s was not told what %d calls cost that have ended.", self._where, left)
        with contextlib.suppress(RedisError, OSError):
            await self._client.aclose()

    async def ask(self, script: str, keys: Args, args: Args, late: Callable[[Reply | None], None]) -> Reply | None:
        """Run a script and wait for its reply; None when that takes too long. `late` hears what comes after that."""
        if not self.up:
            return None
        answer: asyncio.Future[Reply | None] = asyncio.get_running_loop().create_future()

        def then(reply: Reply | None) -> None:
            if answer.done():
                late(reply)
            else:
                answer.set_result(reply)

        self._put(_Asked(script, keys, args, then, kept=False))
        try:
            await self._patient(answer)
        except asyncio.CancelledError:
            _give_up(answer, late)
            raise
        if not answer.done():
            answer.cancel()
            self.up = False
            return None
        reply = answer.result()
        if reply is None:
            late(None)
        return reply

    async def _patient(self, answer: asyncio.Future[Reply | None]) -> None:
        """Wait for an answer until Redis has been silent for `patience`.

        In steps: one that took longer than it should counts little, since then this process was slow; the answer may be
        here already, and take some turns of the event loop to be read. While Redis answers others, it is their number
        that takes the time. What Redis had no part in is not taken off its time, for up to `LONGEST` in all.
        """
        step = self._patience / _STEPS
        now = clock.monotonic()
        end, heard, silent = now + max(LONGEST, self._patience), self._heard, 0.0
        while silent < _STEPS and now < end:
            if (await asyncio.wait({answer}, timeout=step))[0]:
                return
            before, now = now, clock.monotonic()
            silent += 1.0 if now - before < 2 * step else _LATE
            if heard != self._heard:
                heard, silent = self._heard, 0.0

    def tell(self, script: str, keys: Args, args: Args, then: Callable[[Reply | None], None]) -> None:
        """Have a script run, now or when Redis is back. It must bear being run twice."""
        self._put(_Asked(script, keys, args, then, kept=True))

    def _put(self, asked: _Asked) -> None:
        if len(self._asked) >= WAITING:
            self._asked.popleft().then(None)
            self.lost += 1
        self._asked.append(asked)
        self._wake.set()

    async def _run(self) -> None:
        while True:
            try:
                await self._session()
            except (RedisError, OSError, ValueError, TypeError, LookupError, AttributeError, RuntimeError) as error:
                # The latter where a server is none and the library stumbles: whatever it is, calls go on without.
                self._down(error)
                await clock.sleep(AGAIN)

    async def _session(self) -> None:
        """Send what is asked until something fails."""
        async with asyncio.timeout(PATIENCE):
            for script in self._scripts:
                self._scripts[script] = await self._client.script_load(script)
        self.up = True
        if self._lost_touch:
            self._lost_touch = False
            log.warning("Redis at %s is back: limits and budgets are shared again.", self._where)
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._asked:
                batch = [self._asked.popleft() for _ in range(min(len(self._asked), BATCH))]
                await self._send(batch)

    async def _send(self, batch: list[_Asked]) -> None:
        try:
            async with asyncio.timeout(PATIENCE):
                pipe = self._client.pipeline(transaction=False)
                for one in batch:
                    pipe.evalsha(self._scripts[one.script], len(one.keys), *one.keys, *one.args)  # type: ignore[no-untyped-call,unused-ignore]
                replies = await pipe.execute(raise_on_error=False)
        except BaseException:
            self._failed(batch)
            raise
        self.up = True
        self._heard += 1
        wrong: Exception | None = None
        for one, reply in zip(batch, replies, strict=True):
            if isinstance(reply, Exception):
                wrong = reply
                self._failed([one])
            else:
                one.then(reply)
        if wrong is not None:
            raise wrong

    def _failed(self, batch: Sequence[_Asked]) -> None:
        """Nobody knows whether these were run. What bears being run twice is kept."""
        for one in reversed(batch):
            if one.kept and len(self._asked) < WAITING:
                self._asked.appendleft(one)
                self._wake.set()
            else:
                self.lost += one.kept
                one.then(None)

    def _down(self, error: Exception) -> None:
        self.up = False
        # Calls that nobody waits for any more would only be run too late.
        waiting, self._asked = self._asked, deque()
        for one in waiting:
            if one.kept:
                self._asked.append(one)
            else:
                one.then(None)
        if not self._lost_touch and not isinstance(error, NoScriptError):
            self._lost_touch = True
            # The kind only: some servers repeat in their errors the command they refused.
            log.warning("Redis at %s is away (%s): limits and budgets are not shared.", self._where, _kind(error))


def _give_up(answer: asyncio.Future[Reply | None], late: Callable[[Reply | None], None]) -> None:
    if answer.done() and not answer.cancelled():
        late(answer.result())
    else:
        answer.cancel()


def _kind(error: Exception) -> str:
    return "it refuses the script" if isinstance(error, ResponseError) else type(error).__name__


def client(url: str) -> Redis:
    """A client for the task in the background, without retries of its own. Raises ValueError for no URL of Redis."""
    settings: dict[str, Any] = {"socket_timeout": PATIENCE, "socket_connect_timeout": PATIENCE}
    if url.startswith("rediss:"):
        settings["ssl_check_hostname"] = True
    return Redis.from_url(url, protocol=2, retry=Retry(NoBackoff(), 0), **settings)
