"""What a client has been sent of a stream, so that another attempt can go on with it.

Of a stream that is passed on as it came the pieces are kept, at the cost of a list, and read only when they are needed
or too many. A translated one has its events at hand. `splicing.py` goes on from here.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from understudy import dialects
from understudy.gateway.client import Client
from understudy.gateway.record import Exchange
from understudy.resilience.splice import Said

FOLD = 128 * 1024
"""Bytes of a stream that are kept as they were sent; beyond, only its words are."""


class Trail:
    """`said` is complete only after `fold`; `last` is the latest piece then."""

    __slots__ = ("_decoder", "_dialect", "_pieces", "_size", "last", "said")

    def __init__(self, dialect: str) -> None:
        self._dialect = dialect
        self._decoder: dialects.StreamDecoder | None = None
        self._pieces: list[bytes] = []
        self._size = 0
        self.last = b""
        self.said = Said()

    def add(self, data: bytes) -> None:
        """`data` goes to the client as it came."""
        self._pieces.append(data)
        self._size += len(data)
        if self._size > FOLD:
            self.fold()

    def tokens(self) -> int:
        """Roughly the tokens that were sent: an event is about one, and four characters are. Nothing is read."""
        events = sum([piece.count(b"\n\n") for piece in self._pieces])
        return events + len(self.said.text) // 4

    def fold(self) -> Said:
        """What the client has been sent. Of the bytes only the latest piece stays."""
        if self._pieces:
            if self._decoder is None:
                self._decoder = dialects.get(self._dialect).StreamDecoder()
            self.said.note_all(self._decoder.feed(b"".join(self._pieces)))
            # Some dialects tell the finish before the end: who has read it must not read another.
            self.said.finished = self.said.finished or self._decoder.whole
            self.last = self._pieces[-1]
            self._pieces.clear()
            self._size = 0
        return self.said


def writing(exchange: Exchange, client: Client) -> Callable[[bytes], Coroutine[Any, Any, None]]:
    """How to write a stream that begins now and is passed on as it came."""
    trail = begun(exchange)
    if trail is None:
        return client.write

    def write(data: bytes) -> Coroutine[Any, Any, None]:
        trail.add(data)
        return client.write(data)

    return write


def begun(exchange: Exchange) -> Trail | None:
    """The trail of a stream that begins now; None where nobody would go on with it."""
    if exchange.route.mid_stream == "error":
        return None
    exchange.trail = Trail(exchange.call.door.dialect)
    return exchange.trail
