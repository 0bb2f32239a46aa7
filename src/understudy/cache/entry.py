"""An answer that is kept, the place that it is kept under, and the bytes that it is kept as."""

from __future__ import annotations

import zlib
from typing import Literal

import msgspec

from understudy.canon import Usage

_ROOM = 64 * 1024
"""Bytes of an entry beside its body: headers, which have a bound of 64 KiB on their way in, and a few figures."""


class StoreError(Exception):
    """The store did not do as asked. `str()` says where and why, without any secret."""


class Rules(msgspec.Struct, frozen=True):
    """How answers of one route are kept: for which calls, for how many seconds, and whether all keys share them.

    `made_of` is a digest of what the route's configuration has to do with its answers; `headers` are the names of the
    client's headers that a provider may see and heed.
    """

    when: Literal["deterministic", "always"]
    ttl: float
    shared: bool
    made_of: bytes
    headers: tuple[bytes, ...]


class Slot(msgspec.Struct, frozen=True):
    """Where an answer is kept. `key` says whose it is, "" where all keys share; both are in the digest as well."""

    route: str
    key: str
    digest: bytes


class Entry(msgspec.Struct, frozen=True, array_like=True):
    """An answer as its client saw it: `headers` that say what it is, and `body`, whole or a whole stream.

    `digest` is its slot's: what is read must be what was asked for. `exchange` had it first, from `target`; `usage` is
    what it cost that one. `stored` and `until` are Unix seconds.
    """

    digest: bytes
    exchange: str
    target: str
    stored: float
    until: float
    headers: list[tuple[bytes, bytes]]
    body: bytes
    usage: Usage | None = None


_DECODER = msgspec.msgpack.Decoder(Entry)


def packed(entry: Entry) -> bytes:
    """`entry` as it is kept, compressed. zlib's checksum is what tells a damaged one. Raises what msgspec raises."""
    return zlib.compress(msgspec.msgpack.encode(entry), 1)


def unpacked(data: bytes, slot: Slot, largest: int) -> Entry | None:
    """The entry in `data`; None if it is none, is not that of `slot`, is damaged, or has more than `largest` bytes."""
    unpacking = zlib.decompressobj()
    try:
        plain = unpacking.decompress(data, largest + _ROOM)
        entry = _DECODER.decode(plain) if unpacking.eof else None
    except (zlib.error, msgspec.MsgspecError, UnicodeDecodeError):
        return None
    return entry if entry is not None and entry.digest == slot.digest else None
