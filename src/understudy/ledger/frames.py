"""Frames: the length and a checksum, then records in MessagePack. On the wire to the writer process, and in the spool.

A frame cut short, or with bytes that are not what was written, is recognised and never half read.
"""

from __future__ import annotations

import contextlib
import struct
import zlib
from collections.abc import Iterable, Iterator

import msgspec

from understudy.ledger.records import Record

HEAD = struct.Struct("<II")
LARGEST = 64 * 1024 * 1024
"""Bytes of one frame. A length beyond it is noise, not a frame to wait for."""

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])
_parts = msgspec.msgpack.Decoder(list[msgspec.Raw])
_record: msgspec.msgpack.Decoder[Record] = msgspec.msgpack.Decoder(Record)
_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError)


class Said(msgspec.Struct, frozen=True, array_like=True):
    """What the process `pid` answers: `taken` frames are safe that were not before. The rest is as in `front.State`."""

    pid: int = 0
    taken: int = 0
    written: int = 0
    spooled: int = 0
    lost: dict[str, int] = {}
    error: str | None = None


class BadFrameError(Exception):
    """Bytes that are no frame: cut short or damaged. What came before them is good."""


def frame(payload: bytes) -> bytes:
    return HEAD.pack(len(payload), zlib.crc32(payload)) + payload


def encode(records: Iterable[Record]) -> bytes:
    """The payload of a frame. Raises what msgspec raises for what cannot be written, such as half a surrogate pair."""
    return _encoder.encode(list(records))


def decode(payload: bytes) -> tuple[list[Record], int]:
    """The records of a payload, and how many of them cannot be read. Raises BadFrameError if it holds none at all."""
    try:
        return _decoder.decode(payload), 0
    except _UNREADABLE:
        pass
    try:
        parts = _parts.decode(payload)
    except _UNREADABLE as error:
        raise BadFrameError(f"a frame of {len(payload)} bytes holds no records: {error}") from None
    records: list[Record] = []
    for part in parts:
        with contextlib.suppress(*_UNREADABLE):
            records.append(_record.decode(part))
    return records, len(parts) - len(records)


class Cutter:
    """Cuts a stream of bytes into the payloads of its frames, however it was split."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        """The payloads that are complete now. Raises BadFrameError; nothing after that can be trusted."""
        self._held += data
        start = 0
        try:
            while len(self._held) - start >= HEAD.size:
                length, checksum = HEAD.unpack_from(self._held, start)
                if length > LARGEST:
                    raise BadFrameError(f"a frame claims {length} bytes")
                end = start + HEAD.size + length
                if len(self._held) < end:
                    break
                payload = bytes(self._held[start + HEAD.size : end])
                if zlib.crc32(payload) != checksum:
                    raise BadFrameError(f"a frame of {length} bytes fails its checksum")
                start = end
                yield payload
        finally:
            del self._held[:start]

    @property
    def rest(self) -> int:
        """Bytes of a frame that has not come whole."""
        return len(self._held)
