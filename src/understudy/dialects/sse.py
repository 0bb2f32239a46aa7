"""Server-sent events, as servers really write them. Bytes in, `(name, data)` pairs out; any split gives the same pairs.

After the WHATWG algorithm (html.spec.whatwg.org, "Interpreting an event stream"), which the eventsource clients of
every SDK follow, with four concessions to real servers: comments are reported (they are signs of life), an `error:`
field is read as an event of that name (gpustack), spaces before a field name are forgiven, and an event that the
connection's end left without its blank line is still delivered (many servers close right after `data: [DONE]`).
"""

from __future__ import annotations

EVENT_LIMIT = 16 * 1024 * 1024
"""Bytes of one event. The largest honest ones carry an image or a sound."""

COMMENT = ":"
STRAY = "?"
"""The names of pairs that are no events: a comment, and a line that is no field at all."""

Pair = tuple[str, bytes]
_BOM = b"\xef\xbb\xbf"


class SseDecoder:
    """Splits a byte stream into events. Holds at most `limit` bytes; `overflowed` says that an event passed it."""

    def __init__(self, limit: int = EVENT_LIMIT) -> None:
        self.overflowed = False
        self._limit = limit
        self._pieces: list[bytes] = []  # of a line whose end has not come; joined once, so the cost stays linear
        self._held = 0
        self._after_cr = False
        self._first = True
        self._name = ""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, data: bytes) -> list[Pair]:
        """The events that `data` completes. After an overflow: nothing more."""
        if self.overflowed or not data:
            return []
        if self._after_cr and data[:1] == b"\n":
            data = data[1:]
            self._after_cr = False
            if not data:
                return []
        self._after_cr = data.endswith(b"\r")
        if b"\r" in data:
            data = data.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        if b"\n" not in data:
            self._hold(data)
            return []
        if self._pieces:
            self._pieces.append(data)
            data = b"".join(self._pieces)
            self._pieces.clear()
        lines = data.split(b"\n")
        rest = lines.pop()
        self._held = 0
        out = self._lines(lines)
        if rest and not self.overflowed:
            self._hold(rest)
        return out

    def close(self) -> list[Pair]:
        """The event that the end of the connection left open, if there is one."""
        if self.overflowed:
            return []
        lines = [b"".join(self._pieces), b""]
        self._pieces.clear()
        return self._lines(lines)

    def _hold(self, piece: bytes) -> None:
        self._pieces.append(piece)
        self._held += len(piece)
        if self._size + self._held > self._limit:
            self._overflow()

    def _overflow(self) -> None:
        self.overflowed = True
        self._pieces.clear()
        self._data.clear()

    def _lines(self, lines: list[bytes]) -> list[Pair]:
        out: list[Pair] = []
        for line in lines:
            if self._first:
                self._first = False
                line = line.removeprefix(_BOM)  # noqa: PLW2901  the byte order mark is no part of the line
            if not line:
                if self._data:
                    data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
                    out.append((self._name, data))
                    self._data.clear()
                self._name = ""
                self._size = 0
                continue
            self._size += len(line)
            if self._size > self._limit:
                self._overflow()
                break
            if line.startswith(b"data: "):
                self._data.append(line[6:])
            else:
                self._field(line, out)
        return out

    def _field(self, line: bytes, out: list[Pair]) -> None:
        name, colon, value = line.partition(b":")
        value = value.removeprefix(b" ")
        name = name.strip(b" \t")
        if name == b"data" or (name == b"error" and colon):
            self._data.append(value)
            if name == b"error":
                self._name = "error"
        elif name == b"event":
            self._name = value.decode("utf-8", "replace").strip()
        elif not name and colon:
            out.append((COMMENT, value))
        elif name not in (b"", b"id", b"retry"):
            out.append((STRAY, line))
