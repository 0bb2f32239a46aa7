"""Binary event streams for tests, written and read without any code of the package, and when one is whole."""

import json
import struct
from collections.abc import Iterator
from typing import Any
from zlib import crc32


def message(headers: dict[str, str], payload: bytes) -> bytes:
    """One message of AWS's event stream encoding."""
    block = b"".join(
        bytes([len(key)]) + key.encode() + b"\x07" + struct.pack(">H", len(value)) + value.encode()
        for key, value in headers.items()
    )
    prelude = struct.pack(">II", 16 + len(block) + len(payload), len(block))
    body = prelude + struct.pack(">I", crc32(prelude)) + block + payload
    return body + struct.pack(">I", crc32(body))


def event(kind: str, payload: Any) -> bytes:
    headers = {":event-type": kind, ":content-type": "application/json", ":message-type": "event"}
    return message(headers, payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def exception(kind: str, payload: Any) -> bytes:
    headers = {":exception-type": kind, ":content-type": "application/json", ":message-type": "exception"}
    return message(headers, json.dumps(payload).encode())


def messages(data: bytes) -> Iterator[tuple[dict[str, str], bytes]]:
    """The whole messages of a stream, up to the first whose sum is wrong. All headers are strings here."""
    at = 0
    while len(data) - at >= 16:
        total, size = struct.unpack_from(">II", data, at)
        whole = data[at : at + total]
        if len(whole) < total or crc32(whole[:-4]) != struct.unpack(">I", whole[-4:])[0]:
            return
        headers, block = {}, whole[12 : 12 + size]
        while block:
            name, rest = block[1 : 1 + block[0]].decode(), block[2 + block[0] :]
            length = struct.unpack_from(">H", rest)[0]
            headers[name], block = rest[2 : 2 + length].decode(), rest[2 + length :]
        yield headers, whole[12 + size : -4]
        at += total


def bedrock_converse_whole(prefix: bytes) -> bool:
    """`messageStop` has come whole, and no failure before it."""
    for headers, payload in messages(prefix):
        if headers[":message-type"] == "exception":
            return False
        if headers.get(":event-type") == "messageStop" and b"stopReason" in payload:
            return True
    return False
