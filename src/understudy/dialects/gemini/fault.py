"""Errors, both ways: `google.rpc.Status` as JSON. Which row of the fault table they mean is decided elsewhere.

`{"error": {"code", "message", "status", "details": [...]}}`, whose details are typed by `@type`: `ErrorInfo` (a reason,
such as API_KEY_INVALID), `RetryInfo` (a delay), `QuotaFailure` (which quota), `BadRequest` (which field); see
cloud.google.com/apis/design/errors. Streams that are JSON arrays wrap it in an array. A prompt that is blocked is no
error to Google but a 200 without candidates; here it is a fault of type `PROMPT_BLOCKED`, whose code is the reason.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from understudy.canon import MESSAGE_LIMIT, Fault, Phase
from understudy.dialects.errors import honest_wait, known_status, read_fault, words
from understudy.dialects.wire import dump

BLOCKED = "PROMPT_BLOCKED"
_OURS = "understudy"
_TYPES = "type.googleapis.com/google.rpc."
_DURATION = re.compile(r"\d{1,12}(?:\.\d{1,9})?s?")
_STATUSES = {402: 429, 498: 401, 529: 503}
"""Statuses that Google never sends, and the one that its clients understand."""

_WORDS = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_KNOWN = frozenset({*_WORDS.values(), "FAILED_PRECONDITION", "OUT_OF_RANGE", "ALREADY_EXISTS", "DATA_LOSS", "UNKNOWN"})


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """An error response. `headers` have lower-case names. Never raises: what is no JSON gives a fault without words.

    `retry_after` is in seconds after the answer came, by `RetryInfo` or else the header.
    """
    return read_fault(status, headers, body, fault_in=fault_in, retry_after=_retry_after)


def _retry_after(_status: int, headers: Mapping[str, str]) -> float | None:
    return _seconds(headers.get("retry-after"))


def fault_in(value: Any, phase: Phase = "head") -> Fault | None:
    """The error, or the blocked prompt, that a JSON value holds; None if it is neither."""
    if isinstance(value, list) and value:
        value = value[0]
    if not isinstance(value, dict):
        return None
    error = value.get("error")
    if isinstance(error, dict):
        return _fault(error, phase)
    if isinstance(error, str) and error:
        return Fault(message=words(error), phase=phase)
    feedback = value.get("promptFeedback")
    reason = _word(feedback.get("blockReason")) if isinstance(feedback, dict) else None
    if reason is None or value.get("candidates"):
        return None
    said = _word(feedback.get("blockReasonMessage")) if isinstance(feedback, dict) else None
    return Fault(
        status=200, code=reason, type=BLOCKED, message=said or f"The prompt was blocked: {reason}.", phase=phase
    )


def _fault(error: dict[str, Any], phase: Phase) -> Fault:
    code, status, message = error.get("code"), _word(error.get("status")), error.get("message")
    details = error.get("details")
    reason = param = request_id = retry_after = None
    quotas: list[str] = []
    kind = status
    for detail in details if isinstance(details, list) else ():
        if not isinstance(detail, dict):
            continue
        what = str(detail.get("@type")).rpartition(".")[2]
        if what == "ErrorInfo":
            reason = reason or _word(detail.get("reason"))
            metadata = detail.get("metadata")
            if detail.get("domain") == _OURS and isinstance(metadata, dict):  # a word that Google does not have
                kind, param = _word(metadata.get("type")) or status, param or _word(metadata.get("param"))
        elif what == "RetryInfo":
            retry_after = _seconds(detail.get("retryDelay"))
        elif what == "QuotaFailure":
            quotas += _all(detail.get("violations"), "quotaId")
        elif what == "BadRequest":
            param = param or next(iter(_all(detail.get("fieldViolations"), "field")), None)
        elif what == "RequestInfo":
            request_id = _word(detail.get("requestId"))
    return Fault(
        status=code if type(code) is int and 400 <= code <= 599 else None,
        code=reason or status,
        type=kind,
        param=param or _longest(quotas),
        message=words(message),
        retry_after=retry_after,
        phase=phase,
        request_id=request_id,
    )


def _all(violations: Any, key: str) -> list[str]:
    listed = violations if isinstance(violations, list) else []
    named = [_word(violation.get(key)) for violation in listed if isinstance(violation, dict)]
    return [name for name in named if name is not None]


def _longest(quotas: list[str]) -> str | None:
    """Of the quotas that a call went over, in whatever order they come, the one that stays used up the longest."""
    return next((name for name in quotas if "PerDay" in name), next(iter(quotas), None))


def _word(value: Any) -> str | None:
    if isinstance(value, str) and value:
        return value[:MESSAGE_LIMIT]
    return str(value) if type(value) is int and 0 < value < 10**9 else None


def _seconds(text: Any) -> float | None:
    """Seconds of protobuf's Duration (`22s`, `34.4s`) or of a `retry-after` header (`22`)."""
    if not isinstance(text, str) or not _DURATION.fullmatch(text.strip()):
        return None
    return float(text.strip().removesuffix("s"))


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as Google would send them. A fault that never had a status is a 503.

    A prompt that Google itself blocked stays what it was: a 200 without candidates.
    """
    headers = {"content-type": "application/json; charset=UTF-8"}
    if fault.type == BLOCKED and fault.status == 200:
        feedback = {"blockReason": fault.code or "OTHER"}
        if fault.message != f"The prompt was blocked: {fault.code}.":
            feedback["blockReasonMessage"] = fault.message
        return 200, headers, dump({"promptFeedback": feedback})
    status = known_status(fault, _STATUSES)
    wait = honest_wait(fault)
    if wait is not None:
        headers["retry-after"] = str(math.ceil(wait))
    return status, headers, dump({"error": _error(fault, status, wait)})


def _error(fault: Fault, status: int, wait: float | None) -> dict[str, Any]:
    """Our own kind stands in for a reason where the provider gave none, so that a client can tell."""
    word = (
        fault.type if fault.type in _KNOWN else _WORDS.get(status, "INTERNAL" if status >= 500 else "INVALID_ARGUMENT")
    )
    details: list[dict[str, Any]] = []
    reason = fault.code or (fault.kind if fault.kind != "unknown" else None)
    foreign = {"type": fault.type} if fault.type is not None and fault.type != word else {}
    if fault.param is not None and status not in (400, 429):
        foreign["param"] = fault.param
    if (reason is not None and reason != word) or foreign:
        info = {"reason": reason or word, "domain": _OURS if foreign else "googleapis.com", "metadata": foreign}
        details.append({"@type": _TYPES + "ErrorInfo", **{key: item for key, item in info.items() if item}})
    if fault.param is not None and status == 429:
        details.append({"@type": _TYPES + "QuotaFailure", "violations": [{"quotaId": fault.param}]})
    elif fault.param is not None and status == 400:
        violation = {"field": fault.param, "description": fault.message}
        details.append({"@type": _TYPES + "BadRequest", "fieldViolations": [violation]})
    if wait is not None:
        delay = f"{wait or 0:.9f}".rstrip("0").rstrip(".")
        details.append({"@type": _TYPES + "RetryInfo", "retryDelay": delay + "s"})
    if fault.request_id is not None:
        details.append({"@type": _TYPES + "RequestInfo", "requestId": fault.request_id})
    error = {"code": status, "message": fault.message or "The provider gave no reason.", "status": word}
    return {**error, "details": details} if details else error
