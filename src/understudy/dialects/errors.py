"""Error responses: what the dialects read from them alike, and how long they say to wait.

Structured fields only. Which row of the fault table an error means is decided elsewhere; where its fields stand on the
wire, and by which headers windows of use are told, is each dialect's own matter.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from understudy.canon import MESSAGE_LIMIT, Fault
from understudy.dialects.wire import Malformed, parse

_NUMBER = re.compile(r"\d{1,15}(?:\.\d{1,15})?")


# --- decoding --------------------------------------------------------------------------------------------------------


def read_fault(
    status: int,
    headers: Mapping[str, str],
    body: bytes,
    *,
    fault_in: Callable[[Any], Fault | None],
    retry_after: Callable[[int, Mapping[str, str]], float | None],
    request_ids: Iterable[str] = (),
) -> Fault:
    """The fault that an error response tells of. What is no JSON gives a fault without words.

    `fault_in` finds the error in a JSON value. `retry_after` is asked if the error does not say so itself: seconds
    after the answer came, from `status` and `headers` (lower-case names). `request_ids` are headers, the best first.
    """
    try:
        value = parse(body)
    except Malformed:
        value = None
    found = fault_in(value) or Fault()
    return Fault(
        status=found.status if status < 400 and found.status is not None else status,
        code=found.code,
        type=found.type,
        param=found.param,
        message=found.message,
        retry_after=retry_after(status, headers) if found.retry_after is None else found.retry_after,
        request_id=next((headers[name] for name in request_ids if headers.get(name)), None) or found.request_id,
    )


def words(message: Any) -> str:
    """A message as it may be kept: a string, and not too long."""
    return message[:MESSAGE_LIMIT] if isinstance(message, str) else ""


def word(value: Any) -> str | None:
    """A code or a name: text, or a whole number as text. None for anything else."""
    if isinstance(value, str) and value:
        return value[:MESSAGE_LIMIT]
    return str(value) if type(value) is int and abs(value) < 10**15 else None


def status_in(value: Any) -> int | None:
    """An HTTP status of an error, written as a number or as text. None for anything else."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) == 3:
        value = int(value)
    return value if type(value) is int and 400 <= value <= 599 else None


# --- waiting, in seconds ---------------------------------------------------------------------------------------------


def number(text: str | None) -> float | None:
    """A plain decimal number; None if it is none."""
    return float(text.strip()) if text is not None and _NUMBER.fullmatch(text.strip()) else None


def window_wait(windows: Iterable[tuple[float | None, str | None]]) -> float | None:
    """When to come back, of `(seconds until it is full again, what is left of it)` for each window of use.

    All of those that are used up must be full again; if that cannot be told, the nearest one counts.
    """
    spent: list[float] = []
    others: list[float] = []
    for wait, left in windows:
        if wait is not None:
            (spent if left is not None and left.strip() == "0" else others).append(wait)
    return max(spent) if spent else min(others, default=None)


def first_wait(headers: Mapping[str, str], *others: float | None) -> float | None:
    """`retry-after-ms` or the first of `others` that is known; a zero gives way to the next that is none."""
    milliseconds = number(headers.get("retry-after-ms"))
    waits = [None if milliseconds is None else milliseconds / 1000, *others]
    known = [wait for wait in waits if wait is not None]
    return next((wait for wait in known if wait), known[0] if known else None)


# --- encoding --------------------------------------------------------------------------------------------------------


def honest_wait(fault: Fault) -> float | None:
    """`retry_after`, if it is one that can be written."""
    wait = fault.retry_after
    return wait if wait is not None and math.isfinite(wait) and wait >= 0 else None


def wait_headers(fault: Fault) -> dict[str, str]:
    """`retry-after` and `retry-after-ms`, rounded up; none if there is nothing to wait for."""
    wait = honest_wait(fault)
    if wait is None:
        return {}
    return {"retry-after": str(math.ceil(wait)), "retry-after-ms": str(math.ceil(wait * 1000))}


def known_status(fault: Fault, instead: Mapping[int, int]) -> int:
    """The status to answer with, `instead` of one that clients do not know. A fault that never had one is a 503."""
    status = instead.get(fault.status or 0, fault.status or 503)
    return status if 400 <= status <= 599 else 503
