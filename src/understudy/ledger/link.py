"""The gateway's end of the process that writes: starts it, sends it frames, and keeps each until it is said to be safe.

A process that dies or falls silent is replaced, and what it had not confirmed is sent again: the ledger takes nothing
twice, so sending too much does no harm. Runs in the ledger's thread; nothing here blocks for longer than its `turn`.
"""

from __future__ import annotations

import contextlib
import select
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable

import msgspec

from understudy import clock
from understudy.ledger.frames import BadFrameError, Cutter, Said, frame
from understudy.ledger.settings import Settings

_READ = 65536
_FAREWELL = 5.0
"""Seconds for the process to end by itself, once it has confirmed everything."""

_BEGINNING = 10.0
"""Seconds more than otherwise until its first word: it has to import a good deal, and may have to migrate."""

_AGAIN = 1.0
"""Seconds before a process that ended is started anew."""


class Sent(msgspec.Struct):
    """A frame on its way: `count` records, taken from the queue at `since` (monotonic)."""

    data: bytes
    count: int
    since: float


class Link:
    """`held` are the frames that are not safe yet, oldest first; `size` their bytes. `said` is the last word."""

    def __init__(self, settings: Settings, heard: Callable[[Said], None]) -> None:
        self._settings = settings
        self._heard = heard
        self._process: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._cutter = Cutter()
        self._out: deque[memoryview] = deque()
        self._start_at = float("-inf")
        self._last_word = 0.0
        self.held: deque[Sent] = deque()
        self.size = 0

    def send(self, payload: bytes, count: int) -> None:
        """Take a frame into custody; `turn` sends it."""
        sent = Sent(frame(payload), count, clock.monotonic())
        self.held.append(sent)
        self.size += len(sent.data)
        if self._socket is not None:
            self._out.append(memoryview(sent.data))

    def turn(self, wait: float) -> None:
        """Send and hear for about `wait` seconds, less when there is something to do sooner."""
        if self._socket is None and clock.monotonic() >= self._start_at:
            self._start()
        poll = select.poll()
        if self._socket is not None:
            poll.register(self._socket, select.POLLIN | (select.POLLOUT if self._out else 0))
        ready = poll.poll(wait * 1000)
        if self._socket is None:
            return
        for _, events in ready:
            if events & select.POLLOUT:
                self._write()
            if events & ~select.POLLOUT:
                self._read()
        if self.held and clock.monotonic() - self._last_word > self._settings.stalled:
            self._drop()

    def close(self, deadline: float) -> None:
        """Tell the process that this is all, and see it end."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_WR)
        process, self._process = self._process, None
        if process is not None:
            try:
                process.wait(max(_FAREWELL, deadline - clock.monotonic()))
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        if self._socket is not None:
            while self._socket is not None and self._read():
                pass
            self._disconnect()

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            command = [sys.executable, "-m", "understudy.ledger.child", str(theirs.fileno())]
            try:
                self._process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                    pass_fds=(theirs.fileno(),),
                    start_new_session=True,
                )
            except OSError as error:
                ours.close()
                self._start_at = clock.monotonic() + _AGAIN
                self._heard(Said(error=f"the ledger's process does not start: {error}"))
                return
        ours.setblocking(False)
        self._socket, self._cutter = ours, Cutter()
        self._last_word = clock.monotonic() + _BEGINNING
        self._out = deque([memoryview(frame(msgspec.msgpack.encode(self._settings)))])
        self._out.extend(memoryview(sent.data) for sent in self.held)

    def _write(self) -> None:
        assert self._socket is not None, "only a connected link writes"
        try:
            while self._out:
                done = self._socket.send(self._out[0])
                if done == len(self._out[0]):
                    self._out.popleft()
                else:
                    self._out[0] = self._out[0][done:]
        except BlockingIOError:
            return
        except OSError:
            self._drop()

    def _read(self) -> bool:
        """Hear what has been said. Whether there may be more."""
        if self._socket is None:
            return False
        try:
            data = self._socket.recv(_READ)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        if not data:
            self._drop()
            return False
        self._last_word = clock.monotonic()
        try:
            for payload in self._cutter.feed(data):
                said = msgspec.msgpack.decode(payload, type=Said)
                for _ in range(said.taken):
                    self.size -= len(self.held.popleft().data)
                self._heard(said)
        except (BadFrameError, msgspec.MsgspecError, IndexError):
            self._drop()
            return False
        return True

    def _drop(self) -> None:
        """Be rid of a process that ended or fell silent. The next `turn` starts another, after a moment."""
        self._disconnect()
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._start_at = clock.monotonic() + _AGAIN

    def _disconnect(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        self._out.clear()
