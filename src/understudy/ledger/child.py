"""The process that writes: takes frames from its gateway, puts them where they are safe, and says so.

Started by `link.py` with a socket. The first frame is the settings; every later one is records. What it says back is
`Said`: how many frames are safe now, and how things are. It ends when the gateway's end of the socket does, after it
has taken what was still under way: so a gateway that is killed loses only what it had not sent yet. Signals that a
terminal or a supervisor sends to everybody are for the gateway to act on.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys

import msgspec

from understudy import clock
from understudy.ledger.frames import BadFrameError, Cutter, Said, frame
from understudy.ledger.settings import Settings
from understudy.ledger.writer import Writer

_READ = 1024 * 1024
_BATCH = 2 * 1024 * 1024
"""Bytes of frames that are written in one transaction, about; more wait in the socket."""

_WORD = 1.0
"""Seconds after which the gateway hears from us even if there is nothing to say."""

_GRACE = 10.0
"""Seconds for which records are still tried, when the gateway has gone and nothing takes them."""


class Child:
    """`waiting` are frames that came and are nowhere safe yet."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._cutter = Cutter()
        self._waiting: list[bytes] = []
        self._size = 0
        self._open = True
        self._writer: Writer | None = None
        self._told = clock.monotonic()

    def run(self) -> bool:
        """Work until the gateway has gone. Whether everything that came is safe."""
        idle, held = True, False
        left_at = None
        while self._open or self._waiting:
            self._read(wait=self._pause(idle=idle, held=held))
            if self._writer is None:
                continue
            held = not self._take()
            idle = held or not self._writer.turn()
            self._alive()
            if not self._open:
                left_at = left_at or clock.monotonic()
                if held and clock.monotonic() - left_at > _GRACE:
                    break
        if self._writer is not None:
            self._writer.close()
            self._tell(0)
        return not self._waiting

    def _pause(self, *, idle: bool, held: bool) -> float:
        """How long to wait for the gateway: not at all while there is work to do."""
        if held:
            return 0.1
        return _WORD / 2 if idle else 0.0

    def _read(self, wait: float) -> None:
        """Take what has come from the socket, unless enough is waiting already."""
        if not self._open or self._size >= _BATCH:
            if wait:
                nothing = select.poll()
                nothing.poll(wait * 1000)
            return
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if not poll.poll(wait * 1000):
            return
        while self._size < _BATCH:
            try:
                data = self._connection.recv(_READ, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionError:
                data = b""
            if not data:
                self._open = False
                return
            for payload in self._cutter.feed(data):
                if self._writer is None:
                    self._writer = Writer(msgspec.msgpack.decode(payload, type=Settings), self._alive)
                    self._writer.open()
                    self._tell(0)
                else:
                    self._waiting.append(payload)
                    self._size += len(payload)

    def _take(self) -> bool:
        """Put what is waiting where it is safe. False if it still waits."""
        if not self._waiting:
            return True
        assert self._writer is not None, "settings come first"
        if not self._writer.take(self._waiting):
            self._tell(0)
            return False
        count = len(self._waiting)
        self._waiting.clear()
        self._size = 0
        self._tell(count)
        return True

    def _alive(self) -> None:
        """Say a word if the gateway has not heard one for long."""
        if clock.monotonic() - self._told > _WORD:
            self._tell(0)

    def _tell(self, taken: int) -> None:
        writer = self._writer
        assert writer is not None, "settings come first"
        self._told = clock.monotonic()
        said = Said(os.getpid(), taken, writer.written, writer.spooled(), writer.lost, writer.error)
        with contextlib.suppress(OSError):  # the gateway has gone, which `_read` notices
            self._connection.sendall(frame(msgspec.msgpack.encode(said)))


def _make_way() -> None:
    """Leave the core that belongs to the gateway, and let it go first wherever the two still meet.

    A gateway that is bound to one core (as by `taskset`) has its event loop there, which is all that it can use. Its
    child was bound by inheritance; it goes wherever the machine, or the container, lets it. Bound to several, it stays
    within them. A batch task is not preferred when it wakes up (sched(7)), but has its fair share: no lower priority,
    since a child that is starved has to give up records.
    """
    if not hasattr(os, "sched_setaffinity"):
        return  # not Linux
    with contextlib.suppress(OSError):
        if len(os.sched_getaffinity(0)) == 1:
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def main() -> int:
    """Exit status 1 if records had to be given up, which the error output then says too."""
    _make_way()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with socket.socket(fileno=int(sys.argv[1])) as connection:
        try:
            safe = Child(connection).run()
        except BadFrameError as error:
            sys.stderr.write(f"understudy: the ledger's process cannot read its gateway: {error}.\n")
            return 1
    if not safe:
        sys.stderr.write(
            "understudy: the ledger lost its last records: neither the database nor the spool took them.\n"
        )
    return 0 if safe else 1


if __name__ == "__main__":
    sys.exit(main())
