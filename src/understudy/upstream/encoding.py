"""Undo a compression that nobody asked for: some proxies and CDNs compress whatever the request says.

zlib does the work a piece at a time with a bound on what one call may produce, so that a few kilobytes that
expand to gigabytes (a "zip bomb") never exist in memory at once.
"""

from __future__ import annotations

import zlib

READ = 64 * 1024
"""The most that one call gives back, bytes."""

ENCODINGS = {b"gzip": 31, b"x-gzip": 31, b"deflate": 0}
"""The names that are understood (RFC 9110, 8.4.1), and zlib's window bits; 0: look at the first bytes."""


class Inflate:
    """Decompresses one body. `hungry`: nothing more comes out before more goes in."""

    __slots__ = ("_bits", "_pending", "_zlib", "encoding", "hungry")

    def __init__(self, encoding: bytes) -> None:
        self.encoding = encoding.decode("latin-1")
        self._bits = ENCODINGS[encoding]
        self._zlib: zlib._Decompress | None = None
        self._pending = b""
        self.hungry = True

    @property
    def pending(self) -> int:
        """Bytes of input that wait for the next call, because the bound was reached."""
        return len(self._pending)

    def feed(self, data: bytes) -> bytes:
        """Take more input, give at most 64 KiB of output. ValueError if the input is not what it claims to be."""
        data = self._pending + data
        if self._zlib is None or (self._zlib.eof and data):
            if len(data) < 2:
                self._pending, self.hungry = data, True
                return b""
            self._zlib = self._member(data)
        try:
            found = self._zlib.decompress(data, READ)
        except zlib.error as error:
            raise ValueError(f"the {self.encoding} body is damaged: {error}") from None
        self._pending = self._zlib.unconsumed_tail or self._zlib.unused_data
        self.hungry = not self._pending and len(found) < READ
        return found

    def end(self) -> None:
        """Check that the input ended where the compressed form says. An empty body is allowed."""
        if self._pending or (self._zlib is not None and not self._zlib.eof):
            raise ValueError(f"the {self.encoding} body ends too early")

    def _member(self, data: bytes) -> zlib._Decompress:
        """A decompressor for what starts with `data`: gzip may hold several members, one after the other."""
        if self._bits:
            return zlib.decompressobj(self._bits)
        if self._zlib is not None:
            raise ValueError(f"the {self.encoding} body goes on after its end")
        # "deflate" means zlib's wrapper (RFC 1950), but some servers send it bare (RFC 1951).
        wrapped = data[0] & 0x0F == 8 and (data[0] << 8 | data[1]) % 31 == 0
        return zlib.decompressobj(15 if wrapped else -15)
