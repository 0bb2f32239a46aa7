"""Errors, both ways: structured fields only. Which row of the fault table they mean is decided elsewhere.

Anthropic's own are `{"type": "error", "error": {type, message, details}, "request_id"}`, in a stream behind
`event: error`. Clouds and compatible servers that offer this dialect send theirs: `{"error": {code, message, status}}`
(Vertex AI, Azure), `{"message"}` (Bedrock), `{"detail"}`. The types and statuses that `encode_fault` gives are those
that Anthropic's SDK raises its typed exceptions for.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from understudy.canon import Fault, Phase
from understudy.dialects.errors import (
    first_wait,
    number,
    read_fault,
    status_in,
    wait_headers,
    window_wait,
    word,
    words,
)
from understudy.dialects.wire import dump

TYPES = {
    "invalid_request_error": 400,
    "authentication_error": 401,
    "billing_error": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "conflict_error": 409,
    "request_too_large": 413,
    "rate_limit_error": 429,
    "api_error": 500,
    "timeout_error": 504,
    "overloaded_error": 529,
}
_BY_STATUS = {status: kind for kind, status in TYPES.items()} | {408: "timeout_error", 503: "overloaded_error"}
_STATUSES = {408: 504, 422: 400, 498: 401, 499: 500, 502: 500, 503: 529}
"""Statuses that Anthropic never sends, and the one that its clients understand."""

_REGAIN = re.compile(
    r"You have reached your specified (?:workspace )?API usage limits\. "
    r"You will regain access on (\d{4}-\d\d-\d\d)(?: at (\d\d:\d\d) UTC)?"
)
"""A spending limit of the owner's: no field says when it ends, only the message."""

_LATE = ("timeout", "first_token_timeout", "upstream_timeout", "no_progress", "silence", "deadline")
_WINDOWS = ("requests", "tokens", "input-tokens", "output-tokens")
_REQUEST_IDS = ("request-id", "x-request-id", "x-amzn-requestid", "apim-request-id")


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """An error response. `headers` have lower-case names. Never raises: what is no JSON gives a fault without words.

    `retry_after` is in seconds after the answer came.
    """
    found = read_fault(status, headers, body, fault_in=fault_in, retry_after=retry_after, request_ids=_REQUEST_IDS)
    ends = _REGAIN.match(found.message)
    if ends is None or found.retry_after is not None:
        return found
    regained = _stamp(f"{ends[1]}T{ends[2] or '00:00'}+00:00")
    return msgspec.structs.replace(found, retry_after=_until(regained, _moment(headers.get("date"))))


def fault_in(value: Any, phase: Phase = "head") -> Fault | None:
    """The error that a JSON value holds, None if it is none. `status` is what the error itself says."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, str) and error:
        error = {"message": error, "code": value.get("code")}
    if not isinstance(error, dict):
        if value.get("type") == "error" or isinstance(value.get("message"), str):
            error = {key: item for key, item in value.items() if not (key == "type" and item == "error")}
        elif isinstance(value.get("detail"), str):
            error = {"message": value["detail"]}
        else:
            return None
    details = error.get("details")
    more: dict[str, Any] = details if isinstance(details, dict) else {}
    code, message = error.get("code"), error.get("message")
    return Fault(
        status=status_in(code),
        code=word(more.get("error_code")) or word(code),
        type=word(more.get("provider_type")) or word(error.get("type")) or word(error.get("status")),
        param=word(error.get("param")),
        message=words(message),
        phase=phase,
        request_id=word(value.get("request_id")),
    )


def retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from the first header that makes sense.

    `retry-after-ms` and `retry-after` (seconds, or a date relative to `date`) hold for any status; a zero gives way to
    the next. The windows' resets are points in time, on every answer: they count for a 429 alone, relative to `date`,
    and then those of the windows that are used up; if that cannot be told, the nearest one.
    """
    sent = _moment(headers.get("date"))
    plain = number(headers.get("retry-after"))
    if plain is None:
        plain = _until(_moment(headers.get("retry-after")), sent)
    return first_wait(headers, plain, window_wait(_windows(headers, sent)) if status == 429 else None)


def _windows(headers: Mapping[str, str], sent: datetime | None) -> Iterator[tuple[float | None, str | None]]:
    for name in _WINDOWS:
        start = f"anthropic-ratelimit-{name}-"
        yield _until(_stamp(headers.get(start + "reset")), sent), headers.get(start + "remaining")


def _stamp(text: str | None) -> datetime | None:
    """A point in time after RFC 3339; one without an offset is in UTC."""
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _moment(text: str | None) -> datetime | None:
    """A point in time as HTTP writes it."""
    if text is None:
        return None
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):  # all that the parser is known to raise on odd dates
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _until(moment: datetime | None, sent: datetime | None) -> float | None:
    if moment is None or sent is None:
        return None
    try:
        wait = (moment - sent).total_seconds()
    except OverflowError:  # an offset at the very end of the calendar
        return None
    return wait if wait >= 0 else None


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as Anthropic would send them. A fault that never had a status is a 500, or a 504."""
    status = status_of(fault)
    headers = {"content-type": "application/json", **wait_headers(fault)}
    if fault.request_id is not None and fault.request_id.isascii() and fault.request_id.isprintable():
        headers["request-id"] = fault.request_id
    return status, headers, dump(error_body(fault))


def status_of(fault: Fault) -> int:
    status = fault.status if fault.status is not None and 400 <= fault.status <= 599 else None
    if fault.type in TYPES:
        return status or TYPES[fault.type]
    if status is None:
        return 504 if fault.kind in _LATE else 500
    return _STATUSES.get(status, status)


def error_body(fault: Fault) -> dict[str, Any]:
    """The error object. What the provider called it, or our own kind, is in `details`, where SDKs look for a code."""
    status = status_of(fault)
    kind = _BY_STATUS.get(status)
    if kind is None:
        usual = "api_error" if status >= 500 else "invalid_request_error"
        kind = fault.type if fault.type in TYPES else usual
    error: dict[str, Any] = {"type": kind, "message": fault.message or "The provider gave no reason."}
    code = fault.code or (fault.kind if fault.kind != "unknown" else None)
    details = {"error_code": code, "provider_type": None if fault.type == kind else fault.type}
    said = {key: value for key, value in details.items() if value is not None}
    if said:
        error["details"] = said
    if fault.param is not None:
        error["param"] = fault.param
    return {"type": "error", "error": error, "request_id": fault.request_id}
