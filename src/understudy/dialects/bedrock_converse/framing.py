"""AWS's event stream encoding: `application/vnd.amazon.eventstream`, binary messages one behind the other.

A message is its length, the length of its headers (both four bytes, big-endian), a CRC-32 of these eight bytes, the
headers, the payload, and a CRC-32 of all before it. A header is the length of its name in one byte, the name, a type
in one byte, and a value whose size the type says. Source: "Amazon event stream encoding" in Smithy's specification
(smithy.io/2.0/aws/amazon-eventstream.html), as botocore reads it. A wrong sum or length cannot be recovered from: where
the next message starts is not known then.
"""

from __future__ import annotations

import struct
from zlib import crc32

MESSAGE_LIMIT = 16 * 1024 * 1024
"""Bytes of one message. AWS's own limit on payloads is the same."""

HEADERS_LIMIT = 128 * 1024
"""Bytes of one message's headers, as AWS limits them."""

Frame = tuple[dict[str, str], bytes]
"""A message: the headers that are strings, by name, and the payload."""

_PRELUDE = struct.Struct(">III")
_SUM = struct.Struct(">I")
_SHORT = struct.Struct(">H")
_AROUND = _PRELUDE.size + _SUM.size
_STRING = 7
_BYTES = 6
_SIZES = {0: 0, 1: 0, 2: 1, 3: 2, 4: 4, 5: 8, 8: 8, 9: 16}
"""Bytes of values of fixed size, by type: true, false, integers, a time stamp, a UUID."""


class FrameDecoder:
    """Splits a byte stream into messages. Holds at most one of them; `broken` says why nothing more can be read."""

    def __init__(self) -> None:
        self.broken = ""
        self._held = bytearray()
        self._wanted = 0  # bytes of the message that has begun, once its prelude is known

    def feed(self, data: bytes) -> list[Frame]:
        """The messages that `data` completes. After one that is broken: nothing more."""
        out: list[Frame] = []
        if self.broken:
            return out
        held = self._held
        held += data
        start = 0
        while not self.broken:
            if not self._wanted:
                if len(held) - start < _PRELUDE.size:
                    break
                self._wanted = self._prelude(start)
            elif len(held) - start < self._wanted:
                break
            else:
                frame = self._frame(bytes(held[start : start + self._wanted]))
                if frame is not None:
                    out.append(frame)
                start += self._wanted
                self._wanted = 0
        del held[: len(held) if self.broken else start]
        return out

    def _prelude(self, start: int) -> int:
        """The length of the message at `start`; 0 and `broken` if its prelude is wrong."""
        total, headers, expected = _PRELUDE.unpack_from(self._held, start)
        if crc32(self._held[start : start + 8]) != expected:
            self.broken = "the checksum of a message's prelude is wrong"
        elif not _AROUND <= total <= MESSAGE_LIMIT or headers > min(total - _AROUND, HEADERS_LIMIT):
            self.broken = f"a message of {total} bytes with {headers} bytes of headers is not allowed"
        return 0 if self.broken else total

    def _frame(self, message: bytes) -> Frame | None:
        if crc32(message[:-4]) != _SUM.unpack_from(message, len(message) - 4)[0]:
            self.broken = "the checksum of a message is wrong"
            return None
        end = _PRELUDE.size + _PRELUDE.unpack_from(message)[1]
        headers = _read_headers(message[_PRELUDE.size : end])
        if headers is None:
            self.broken = "the headers of a message cannot be read"
            return None
        return headers, message[end:-4]


def _read_headers(data: bytes) -> dict[str, str] | None:
    """The headers that are strings; None if the bytes are no headers."""
    out: dict[str, str] = {}
    at = 0
    try:
        while at < len(data):
            name_end = at + 1 + data[at]
            name, kind = data[at + 1 : name_end].decode(), data[name_end]
            at = name_end + 1
            if kind in (_STRING, _BYTES):
                size = _SHORT.unpack_from(data, at)[0]
                at += 2
            else:
                size = _SIZES[kind]
            if at + size > len(data):
                return None
            if kind == _STRING:
                out[name] = data[at : at + size].decode()
            at += size
    except (IndexError, KeyError, UnicodeDecodeError, struct.error):
        return None
    return out


def encode_frame(headers: dict[str, str], payload: bytes) -> bytes:
    """One message. Names of headers and their values are short: at most 255 and 65,535 bytes."""
    pieces = []
    for name, value in headers.items():
        key, text = name.encode(), value.encode("utf-8", "replace")
        pieces += [bytes([len(key)]), key, bytes([_STRING]), _SHORT.pack(len(text)), text]
    block = b"".join(pieces)
    lengths = struct.pack(">II", _AROUND + len(block) + len(payload), len(block))
    message = b"".join((lengths, _SUM.pack(crc32(lengths)), block, payload))
    return message + _SUM.pack(crc32(message))


def event_frame(kind: str, payload: bytes) -> bytes:
    """An event with a JSON payload, as Bedrock sends it."""
    return encode_frame(
        {":event-type": kind, ":content-type": "application/json", ":message-type": "event"},
        payload,
    )
