"""Bodies: which are kept, how much of each, and how they are packed.

Sampling goes by the exchange's id, so that request and answer are kept together, every replica decides alike, and a
record that is sent twice is decided once. Zstandard at level 3: fast enough for the writer's core, and bodies of one
application resemble each other too little for a dictionary to be worth its keeping.
"""

from __future__ import annotations

import sys
import zlib

import msgspec

from understudy.ledger.records import Body, Exchange

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_BUCKETS = 1 << 32
LARGEST = 256 * 1024 * 1024
"""Bytes that one stored body may unpack to: a few bytes in the database can claim to be gigabytes."""


def sampled(exchange: str, rate: float) -> bool:
    """Whether the bodies of this exchange are among the share `rate` (0 to 1) that is kept."""
    return zlib.crc32(exchange.encode("utf-8", "replace")) < rate * _BUCKETS


def bounded(record: Exchange, limit: int) -> Exchange:
    """The exchange with each body cut to `limit` bytes; the same one where none is longer."""
    if all(len(body.data) <= limit for body in record.bodies):
        return record
    return msgspec.structs.replace(
        record,
        bodies=tuple(
            msgspec.structs.replace(body, data=body.data[:limit], size=body.size or len(body.data))
            for body in record.bodies
        ),
    )


def packed(body: Body, *, limit: int, level: int) -> Body:
    """The body as it is stored: cut to `limit` bytes, and compressed where that makes it smaller."""
    if body.encoding:
        return body
    size = body.size or len(body.data)
    data = body.data[:limit]
    smaller = zstd.compress(data, level)
    if len(smaller) < len(data):
        return msgspec.structs.replace(body, data=smaller, size=size, encoding="zstd", kept=len(data))
    return msgspec.structs.replace(body, data=data, size=size)


def unpacked(data: bytes, encoding: str) -> bytes:
    """The bytes that were stored. Raises ValueError where they cannot be had back."""
    if not encoding:
        return data
    if encoding != "zstd":
        raise ValueError(f"a stored body has the encoding {encoding!r}, which this version does not know")
    try:
        unpacker = zstd.ZstdDecompressor()
        whole = unpacker.decompress(data, max_length=LARGEST)
    except zstd.ZstdError as error:
        raise ValueError(f"a stored body cannot be unpacked: {error}") from None
    if not unpacker.eof:
        raise ValueError("a stored body is cut short, or unpacks to more than is sensible")
    return whole
