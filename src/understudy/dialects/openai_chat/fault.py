"""Errors, both ways: structured fields only. Which row of the fault table they mean is decided elsewhere.

Shapes seen in recorded traffic: OpenAI's `{"error": {message, type, param, code}}`; OpenRouter's, with the upstream's
own error as text in `error.metadata.raw`; xAI's `{"code": …, "error": "text"}`; vLLM's and Mistral's
`{"object": "error", …}`; FastAPI's `{"detail": "text"}` or a list of `{loc, msg, type}`; Gemini's compatibility
endpoint wraps the object in an array.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from understudy.canon import Fault, Phase
from understudy.dialects.errors import (
    first_wait,
    known_status,
    number,
    read_fault,
    status_in,
    wait_headers,
    window_wait,
    word,
    words,
)
from understudy.dialects.wire import Malformed, dump, parse

_GO_DURATION = re.compile(r"(?:\d{1,15}(?:\.\d{1,15})?(?:h|ms|us|µs|ns|m|s))+")
_GO_PIECE = re.compile(r"([\d.]+)(h|ms|us|µs|ns|m|s)")
_GO_UNITS = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_REQUEST_IDS = ("x-request-id", "request-id", "apim-request-id")
_STATUSES = {402: 429, 498: 401, 499: 500, 529: 503}
"""Statuses that OpenAI never sends, and the one that its clients understand."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """An error response. `headers` have lower-case names. Never raises: what is no JSON gives a fault without words.

    `retry_after` is in seconds after the answer came.
    """
    return read_fault(status, headers, body, fault_in=fault_in, retry_after=retry_after, request_ids=_REQUEST_IDS)


def fault_in(value: Any, phase: Phase = "head") -> Fault | None:
    """The error that a JSON value holds, None if it is none. `status` is what the error itself says."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        inner = error.get("error")
        return _fault({**error, **inner} if isinstance(inner, dict) else error, value, phase)
    if isinstance(error, str) and error:
        return _fault({**value, "message": error}, value, phase)
    if value.get("object") == "error" or (isinstance(value.get("message"), str) and "choices" not in value):
        return _fault(value, value, phase)
    detail = value.get("detail")
    if isinstance(detail, dict):
        return _fault(detail, value, phase)
    if isinstance(detail, list) and detail and isinstance(detail[0], dict):
        first = detail[0]
        where = first.get("loc")
        param = ".".join(str(step) for step in where if step != "body") if isinstance(where, list) else None
        return _fault({"message": first.get("msg"), "type": first.get("type"), "param": param}, value, phase)
    return _fault({"message": detail}, value, phase) if isinstance(detail, str) else None


def _fault(error: dict[str, Any], whole: dict[str, Any], phase: Phase) -> Fault:
    code, kind, param, message = (error.get(key) for key in ("code", "type", "param", "message"))
    if isinstance(message, dict):  # a whole error where its message should be
        nested = fault_in({"error": message})
        message = nested.message if nested else ""
    upstream = _upstream(error)
    if upstream is not None:
        code, kind, param = upstream.code or code, upstream.type or kind, upstream.param or param
        message = upstream.message or message
    else:
        param = param or _routers(error)
    status = next(
        (n for key in ("status", "status_code", "code") if (n := status_in(error.get(key))) is not None), None
    )
    return Fault(
        status=status,
        code=word(code),
        type=word(kind),
        param=word(param),
        message=words(message),
        phase=phase,
        request_id=word(whole.get("request_id")),
    )


def _routers(error: dict[str, Any]) -> str | None:
    """What OpenRouter itself refused: which of its limits, or that its moderation flagged the input."""
    match error.get("metadata"):
        case {"flagged_input": str()}:
            return "flagged_input"
        case {"limit_source": str(source)}:
            return source
    return None


def _upstream(error: dict[str, Any]) -> Fault | None:
    """OpenRouter passes the upstream's error on as text; its own words for it are only "Provider returned error"."""
    match error.get("metadata"):
        case {"raw": str(raw)} if raw.startswith("{"):
            try:
                return fault_in(parse(raw.encode("utf-8", "replace")))
            except Malformed:
                return None
    return None


def retry_after(status: int, headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from the first header that makes sense.

    `retry-after-ms` and `retry-after` (seconds, or a date relative to `date`) hold for any status; a zero gives way to
    the next. The windows' resets say when a window is full again, on every answer: they count for a 429 alone, and
    then those of the windows that are used up; if that cannot be told, the nearer one.
    """
    window = window_wait(_windows(headers)) if status == 429 else None
    return first_wait(headers, _seconds_or_date(headers), window)


def _windows(headers: Mapping[str, str]) -> Iterator[tuple[float | None, str | None]]:
    for name in ("requests", "tokens"):
        yield duration(headers.get("x-ratelimit-reset-" + name)), headers.get("x-ratelimit-remaining-" + name)


def _seconds_or_date(headers: Mapping[str, str]) -> float | None:
    text = headers.get("retry-after")
    seconds = number(text)
    if seconds is not None or text is None or "date" not in headers:
        return seconds
    try:
        wait = (parsedate_to_datetime(text) - parsedate_to_datetime(headers["date"])).total_seconds()
    except (ValueError, TypeError, OverflowError, IndexError):  # all that the parser is known to raise on odd dates
        return None
    return wait if wait >= 0 else None


def duration(text: str | None) -> float | None:
    """Seconds of a Go duration (`12ms`, `6m0s`, `1h2m3.5s`) or a plain number; None if it is neither."""
    if text is None:
        return None
    text = text.strip()
    if _GO_DURATION.fullmatch(text):
        return sum(float(count) * _GO_UNITS[unit] for count, unit in _GO_PIECE.findall(text))
    return number(text)


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as OpenAI would send them. A fault that never had a status is a 503."""
    status = known_status(fault, _STATUSES)
    headers = {"content-type": "application/json", **wait_headers(fault)}
    return status, headers, dump(error_body(fault, status))


def error_body(fault: Fault, status: int) -> dict[str, Any]:
    """`{"error": …}`. Our own kind stands in for a code where the provider gave none, so that a client can tell."""
    kind = fault.type or _type_for(status)
    code = fault.code or (fault.kind if fault.kind != "unknown" else None)
    return {
        "error": {
            "message": fault.message or "The provider gave no reason.",
            "type": kind,
            "param": fault.param,
            "code": code,
        }
    }


def _type_for(status: int) -> str:
    if status == 429:
        return "rate_limit_error"
    return "server_error" if status >= 500 else "invalid_request_error"
