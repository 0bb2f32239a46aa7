"""Errors, both ways: `{"message": …, "id": …}`, and since 2026 an `error_type` (`TOO_MANY_TOKENS`).

A stream ends with an error in `message-end`: `delta.error` is a text, `delta.finish_reason` is ERROR or TIMEOUT. What
Cohere has no field for (`type`, `param`) is added under its canonical name, which its SDK passes on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec

from understudy.canon import MESSAGE_LIMIT, Fault
from understudy.dialects.openai_chat.fault import fault_in, retry_after
from understudy.dialects.wire import Malformed, dump, parse

_STATUSES = {408: 504, 409: 400, 413: 400, 502: 503, 529: 503}
"""Statuses that Cohere never sends, and the one that its clients understand."""

_KNOWN = (400, 401, 402, 403, 404, 422, 429, 498, 499, 500, 501, 503, 504)
BROKEN = ("ERROR", "TIMEOUT")


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """An error response. `headers` have lower-case names. Never raises: what is no JSON gives a fault without words.

    `retry_after` is in seconds after the answer came.
    """
    try:
        value = parse(body)
    except Malformed:
        value = None
    found = body_fault(value) or Fault()
    return msgspec.structs.replace(
        found,
        status=found.status if status < 400 and found.status is not None else status,
        retry_after=retry_after(status, headers),
        request_id=found.request_id or headers.get("x-request-id"),
        phase="head",
    )


def body_fault(value: Any) -> Fault | None:
    """The error that a JSON value holds, None if it is none."""
    found = fault_in(value, "stream")
    if found is None or not isinstance(value, dict):
        return found
    code, own_id = value.get("error_type"), value.get("id")
    return msgspec.structs.replace(
        found,
        code=code if isinstance(code, str) and code else found.code,
        request_id=own_id if isinstance(own_id, str) and own_id else found.request_id,
    )


def end_fault(delta: dict[str, Any]) -> Fault:
    """What a `message-end` says that ends no answer."""
    reason, error = delta["finish_reason"], delta.get("error")
    found = body_fault({**delta, "message": error}) if isinstance(error, str) and error else None
    if found is None:
        return Fault(code=reason, message=f"The generation ended with {reason}.", phase="stream")
    return found if found.code is not None else msgspec.structs.replace(found, code=reason)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as Cohere would send them. A fault that never had a status is a 503."""
    status = _STATUSES.get(fault.status or 0, fault.status or 503)
    if status not in _KNOWN:
        status = 500 if 500 <= status <= 599 else 400 if 400 <= status <= 499 else 503
    headers = {"content-type": "application/json"}
    if fault.retry_after is not None and math.isfinite(fault.retry_after) and fault.retry_after >= 0:
        headers["retry-after"] = str(math.ceil(fault.retry_after))
        headers["retry-after-ms"] = str(math.ceil(fault.retry_after * 1000))
    return status, headers, dump(error_body(fault, "message"))


def error_body(fault: Fault, key: str) -> dict[str, Any]:
    """The error with its message under `key`. Our own kind stands in for a code where the provider gave none."""
    code = fault.code or (fault.kind if fault.kind != "unknown" else None)
    fields = {
        key: (fault.message or "The provider gave no reason.")[:MESSAGE_LIMIT],
        "id": fault.request_id,
        "error_type": code if code not in BROKEN else None,
        "type": fault.type,
        "param": fault.param,
    }
    return {name: value for name, value in fields.items() if value is not None}
