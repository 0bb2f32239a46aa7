"""A JSON array as it comes: `streamGenerateContent` without `alt=sse`. Bytes in, whole elements out.

Only brackets and strings are followed; whether an element is JSON is for its reader to find out. Each byte is looked at
once, by a search for the next byte that matters, so that the cost stays linear however the bytes are cut.
"""

from __future__ import annotations

import re

from understudy.dialects.sse import EVENT_LIMIT

_OUTSIDE = re.compile(rb'["{}\[\]]')
_INSIDE = re.compile(rb'["\\]')
_BETWEEN = b", \t\r\n"


class ArrayDecoder:
    """Splits an array into its elements. `closed`: its end was seen. `overflowed`: an element passed the limit.

    `stray`: something stood between elements that is none. A lone object, not in an array, is an element too: an error
    may come so.
    """

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.closed = False
        self.overflowed = False
        self.stray = False
        self._limit = limit
        self._pieces: list[bytes] = []  # of the element under way
        self._held = 0
        self._depth = 0
        self._string = False
        self._escaped = False
        self._array: bool | None = None  # whether there is one; None until the first byte

    def feed(self, data: bytes) -> list[bytes]:
        """The elements that `data` completes."""
        out: list[bytes] = []
        at = 0
        while at < len(data) and not (self.closed or self.overflowed or self.stray):
            at = self._inside(data, at, out) if self._depth else self._between(data, at)
        return out

    @property
    def torn(self) -> bool:
        """Whether an element has begun and not ended."""
        return self._depth > 0

    def _between(self, data: bytes, at: int) -> int:
        """Skip to the next element, or to the end of the array."""
        byte = data[at : at + 1]
        if byte == b"{":
            self._array = bool(self._array)
            return self._open(at)
        if byte == b"[" and self._array is None:
            self._array = True
        elif byte == b"]" and self._array:
            self.closed = True
        elif byte not in _BETWEEN:
            self.stray = True
        return at + 1

    def _open(self, at: int) -> int:
        """An element begins: it is read from its brace on."""
        self._depth = 1
        self._pieces.append(b"{")
        self._held = 1
        return at + 1

    def _inside(self, data: bytes, at: int, out: list[bytes]) -> int:
        """Go on in an element; its end, if `data` has it."""
        start = at
        while at < len(data):
            if self._escaped:
                self._escaped = False
                at += 1
                continue
            found = (_INSIDE if self._string else _OUTSIDE).search(data, at)
            if found is None:
                at = len(data)
                break
            at = found.end()
            self._step(found[0])
            if not self._depth:
                out.append(b"".join([*self._pieces, data[start:at]]))
                self._pieces.clear()
                if not self._array:
                    self.closed = True
                return at
        self._pieces.append(data[start:at])
        self._held += at - start
        self.overflowed = self._held > self._limit
        return at

    def _step(self, byte: bytes) -> None:
        if self._string:
            if byte == b"\\":
                self._escaped = True
            else:
                self._string = False
        elif byte == b'"':
            self._string = True
        else:
            self._depth += 1 if byte in b"{[" else -1
