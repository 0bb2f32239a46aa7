"""Reading a stream of events: what every decoder does alike, whatever its events say.

Comments are signs of life. One event that cannot be read is left out, and shown; a second ends the stream, as does one
larger than 16 MiB. Nothing follows `Ended` or `Failed`. When the connection ends, its last event counts without the
blank line, if it is whole; a torn one belongs to the cut.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from understudy.canon import Event, Failed, Fault, Ping, Skipped
from understudy.dialects.sse import COMMENT, STRAY, SseDecoder
from understudy.dialects.wire import Malformed

_SHOWN = 200
"""Bytes of a skipped event that are kept for the record."""


def shown(body: bytes) -> str:
    """The beginning of an event that could not be read, as text."""
    return body[:_SHOWN].decode("utf-8", "replace")


class EventReader(ABC):
    """A stream of server-sent events under way. A decoder adds what its dialect says: `_start`, `_read`, `_closed`.

    Any split of the bytes gives the same events; memory is bounded by one event (16 MiB).
    """

    def __init__(self) -> None:
        self._sse = SseDecoder()
        self._out: list[Event] = []  # not yet given
        self._skipped = False
        self._over = False

    @abstractmethod
    def _start(self) -> None:
        """Give `Started`, unless it was given before."""

    @abstractmethod
    def _read(self, name: str, body: bytes) -> None:
        """Take one event. Raises `Malformed` if it cannot be read; then it must have left no trace."""

    def _closed(self) -> None:
        """The connection ended, and nothing had ended the answer."""
        self._cut()

    @property
    def whole(self) -> bool:
        return False  # where the finish is the end

    def feed(self, data: bytes) -> list[Event]:
        """The events that `data` completes; nothing after `Ended` or `Failed`."""
        if self._over:
            return []
        for name, body in self._sse.feed(data):
            self._pair(name, body)
        if self._sse.overflowed:
            self._overflow()
        out, self._out = self._out, []
        return out

    def close(self) -> list[Event]:
        """The connection ended. The last event counts without its blank line, if it is whole."""
        if self._over:
            return []
        for name, body in self._sse.close():
            if name not in (COMMENT, STRAY):
                self._pair(name, body, last=True)
        if not self._over:
            self._closed()
        return self._given()

    def _given(self) -> list[Event]:
        out, self._out = self._out, []
        return out

    def _pair(self, name: str, body: bytes, *, last: bool = False) -> None:
        if self._over:
            return
        if name == COMMENT:
            self._out.append(Ping(body.decode("utf-8", "replace")))
            return
        if name == STRAY:
            self._skip(body)
            return
        try:
            self._read(name, body)
        except Malformed:
            if not last:  # a torn last event belongs to the cut
                self._skip(body)

    def _skip(self, body: bytes) -> None:
        if self._skipped:
            self._fail(Fault(kind="malformed_events", message="A second event could not be read.", phase="stream"))
        else:
            self._skipped = True
            self._out.append(Skipped(shown(body)))

    def _overflow(self) -> None:
        self._fail(Fault(kind="malformed_events", message="An event is larger than 16 MiB.", phase="stream"))

    def _cut(self, message: str = "The connection ended before the answer did.") -> None:
        self._fail(Fault(kind="stream_cut", message=message, phase="stream"))

    def _fail(self, fault: Fault) -> None:
        """The first failure ends the stream."""
        if self._over:
            return
        self._start()
        self._out.append(Failed(fault))
        self._over = True
