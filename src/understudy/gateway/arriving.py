"""A provider's answer as it arrives: what relaying and translating do alike."""

from __future__ import annotations

from understudy.canon import Fault
from understudy.dialects import Dialect, answer_fault
from understudy.resilience import classify
from understudy.upstream import Response, TransportError

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is not streamed. It is held until it is whole, so that a broken one can still be moved."""

LARGEST_ERROR = 1024 * 1024

LARGEST_PREAMBLE = 1024 * 1024
"""Bytes of a stream that are held while there is no content in it: comments, the role, what a filter found."""

AFTER_FINISH = 5.0
"""Seconds for what may follow the last finish reason: usage, `[DONE]`. Some servers send neither and keep silent."""

_KINDS = {
    "connect_timeout": "unreachable",
    "cut": "stream_cut",
    "bad_response": "bad_answer",
    "pool_full": "queue_full",
}
"""The transport's words for a fault, where the table has another."""


async def last_piece(response: Response) -> bytes:
    """The next piece after every choice has finished: now whatever ends the stream is its end, and soon."""
    clocks = response.clocks
    response.hurry(AFTER_FINISH)
    try:
        return await response.read()
    except TransportError:
        return b""
    finally:
        response.clocks = clocks  # some servers finish in the middle and go on


async def whole_body(response: Response, dialect: Dialect, *, streamed: bool) -> tuple[bytes, Fault | None]:
    """An answer's whole body, and what is wrong with it; None if it is an answer. Raises TransportError."""
    good = response.status == 200
    body = await response.body(LARGEST_ANSWER if good else LARGEST_ERROR)
    if good:
        fault = answer_fault(dialect.NAME, body, streamed=streamed)
    else:
        named = {name.decode("latin-1"): value.decode("latin-1") for name, value in response.headers}
        fault = dialect.decode_fault(response.status, named, body)
    return body, None if fault is None else classify(fault, dialect.NAME)


def transport_fault(error: TransportError, phase: str) -> Fault:
    """What the transport found, in the table's words."""
    kind = _KINDS.get(error.kind, error.kind)
    return Fault(kind, message=error.message, phase=phase)  # type: ignore[arg-type]  # one of Phase by construction
