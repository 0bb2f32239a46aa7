"""HTTP/1.1 and server-sent events as bytes, right or deliberately wrong. The server only writes what is built here.

A script is what a behaviour does, step by step: bytes to write as they stand, seconds to wait (a float), and at most
one `Ending`. A script without an ending leaves the connection open for the next request.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

import msgspec

from understudy import clock


class Ending(enum.Enum):
    """How a script leaves the connection."""

    CLOSE = "close"
    """An orderly close (FIN) once everything written has gone."""
    RESET = "reset"
    """A reset (RST): the peer sees "connection reset by peer"."""
    HOLD = "hold"
    """Stay connected and say nothing until the client leaves."""


Step = bytes | float | Ending
Script = Iterable[Step]
Headers = dict[str, str]

SIMULATED: Headers = {"x-understudy-simulated": "true"}
"""On every answer: nobody shall take a simulation for the real thing."""

DONE = b"data: [DONE]\n\n"
LAST_CHUNK = b"0\r\n\r\n"

_REASONS = {status.value: status.phrase for status in HTTPStatus} | {529: "Site is overloaded"}


def head(status: int, headers: Headers) -> bytes:
    """Status line and headers. `headers` win over the ones that every answer has."""
    fields = {"server": "understudy-sim", "x-request-id": f"req_{clock.token(16)}", **SIMULATED, **headers}
    lines = [
        f"HTTP/1.1 {status} {_REASONS.get(status, 'Unknown')}",
        *(f"{name}: {value}" for name, value in fields.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")


def whole(status: int, body: bytes, headers: Headers | None = None) -> bytes:
    """A complete answer. `body` is JSON unless `headers` say otherwise."""
    fields = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
    return head(status, fields) + body


def stream_head(headers: Headers | None = None) -> bytes:
    """The head of an event stream; its body is `chunk`s, and `LAST_CHUNK` if it ends in order."""
    fields = {
        "content-type": "text/event-stream; charset=utf-8",
        "cache-control": "no-cache",
        "transfer-encoding": "chunked",
    }
    return head(200, {**fields, **(headers or {})})


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(data: Any) -> bytes:
    """One server-sent event with `data` as JSON."""
    return b"data: " + msgspec.json.encode(data) + b"\n\n"


def error(message: str, kind: str, code: str | int | None = None, param: str | None = None) -> dict[str, Any]:
    """OpenAI's error body."""
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def refuse(status: int, body: dict[str, Any], headers: Headers | None = None) -> bytes:
    """An error as a complete answer."""
    return whole(status, msgspec.json.encode(body), headers)
