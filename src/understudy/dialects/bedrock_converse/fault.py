"""Errors, both ways. The body is `{"message": …}`; which error it is, the header `x-amzn-errortype` says.

The header may have a URL behind a colon, and the type may stand in the body instead, as `__type` with a namespace
before a `#`: botocore reads both, and so do we. In a stream an error is a message of type `exception`. What a fault of
another provider says beyond a message travels in the body as `code` and `type`, which AWS's clients ignore.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from understudy.canon import MESSAGE_LIMIT, Fault, Phase
from understudy.dialects.bedrock_converse.framing import encode_frame
from understudy.dialects.openai_chat.fault import retry_after
from understudy.dialects.wire import Malformed, dump, parse

_HEADER = "x-amzn-errortype"
_STATUSES = {
    "AccessDeniedException": 403,
    "InternalServerException": 500,
    "ModelErrorException": 424,
    "ModelNotReadyException": 429,
    "ModelStreamErrorException": 424,
    "ModelTimeoutException": 408,
    "ResourceNotFoundException": 404,
    "ServiceUnavailableException": 503,
    "ThrottlingException": 429,
    "UnrecognizedClientException": 403,
    "ValidationException": 400,
}
_TYPES = {
    400: "ValidationException",
    401: "UnrecognizedClientException",
    403: "AccessDeniedException",
    404: "ResourceNotFoundException",
    408: "ModelTimeoutException",
    424: "ModelErrorException",
    429: "ThrottlingException",
    500: "InternalServerException",
    503: "ServiceUnavailableException",
}
_IN_STREAMS = (
    "InternalServerException",
    "ModelStreamErrorException",
    "ValidationException",
    "ThrottlingException",
    "ServiceUnavailableException",
)
_OURS = {402: 429, 409: 400, 413: 400, 422: 400, 498: 401, 502: 503, 504: 503, 529: 503}
"""Statuses that Bedrock never sends, and the nearest that has an exception of its own in AWS's clients."""


# --- decoding --------------------------------------------------------------------------------------------------------


def decode_fault(status: int, headers: Mapping[str, str], body: bytes) -> Fault:
    """An error response. `headers` have lower-case names. Never raises: what is no JSON gives a fault without words.

    `type` is the exception's name. `retry_after` is in seconds after the answer came.
    """
    try:
        value = parse(body)
    except Malformed:
        value = None
    fields = value if isinstance(value, dict) else {}
    return _fault(
        fields,
        _bare(headers.get(_HEADER)) or _bare(fields.get("__type")),
        status=status,
        wait=retry_after(status, headers),
        request_id=headers.get("x-amzn-requestid") or None,
    )


def stream_fault(headers: Mapping[str, str], payload: bytes) -> Fault:
    """A message of type `exception` (its payload says why) or `error` (its headers do)."""
    if headers.get(":message-type") == "error":
        message = headers.get(":error-message", "")[:MESSAGE_LIMIT]
        return Fault(type=_bare(headers.get(":error-code")), message=message, phase="stream")
    kind = _bare(headers.get(":exception-type"))
    try:
        value = parse(payload)
    except Malformed:
        value = {"message": payload[:200].decode("utf-8", "replace")}
    fields = value if isinstance(value, dict) else {}
    name = None if kind is None else kind[:1].upper() + kind[1:]
    return _fault(fields, name, status=_STATUSES.get(name or ""), phase="stream")


def _bare(text: Any) -> str | None:
    """`aws.namespace#Name:http://…` is `Name`."""
    if not isinstance(text, str):
        return None
    return text.rpartition("#")[2].partition(":")[0].strip()[:MESSAGE_LIMIT] or None


def _fault(
    fields: dict[str, Any],
    kind: str | None,
    *,
    status: int | None,
    wait: float | None = None,
    request_id: str | None = None,
    phase: Phase = "head",
) -> Fault:
    found = {key: fields.get(key) for key in ("code", "type", "param")}
    words = {key: value[:MESSAGE_LIMIT] for key, value in found.items() if isinstance(value, str) and value}
    original = fields.get("originalStatusCode")
    message = next((fields[key] for key in ("message", "Message") if isinstance(fields.get(key), str)), "")
    return Fault(
        status=original if type(original) is int and 400 <= original <= 599 and phase == "stream" else status,
        code=words.get("code"),
        type=words.get("type", kind),
        param=words.get("param"),
        message=message[:MESSAGE_LIMIT],
        retry_after=wait,
        phase=phase,
        request_id=request_id,
    )


# --- encoding --------------------------------------------------------------------------------------------------------


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as Bedrock would send them, so that AWS's clients raise their own exception.

    A fault that never had a status is a 503.
    """
    status = _OURS.get(fault.status or 0, fault.status or 503)
    if not 400 <= status <= 599:
        status = 503
    kind = _named(fault) or _TYPES.get(status, "InternalServerException" if status >= 500 else "ValidationException")
    headers = {"content-type": "application/json", _HEADER: kind}
    if fault.retry_after is not None and math.isfinite(fault.retry_after) and fault.retry_after >= 0:
        headers["retry-after"] = str(math.ceil(fault.retry_after))
        headers["retry-after-ms"] = str(math.ceil(fault.retry_after * 1000))
    return status, headers, dump({"__type": kind, **_body(fault, kind)})


def encode_stream_fault(fault: Fault) -> bytes:
    """A message of type `exception`: the last of a stream that broke."""
    kind = _named(fault) or _TYPES.get(fault.status or 0, "")
    if kind not in _IN_STREAMS:
        broken = fault.kind in ("stream_cut", "malformed_events") or fault.status == 424
        kind = "ModelStreamErrorException" if broken else "InternalServerException"
        if fault.status is not None and not broken:
            kind = "ValidationException" if fault.status < 500 else "ServiceUnavailableException"
    return encode_frame(
        {
            ":exception-type": kind[:1].lower() + kind[1:],
            ":content-type": "application/json",
            ":message-type": "exception",
        },
        dump(_body(fault, kind)),
    )


def _named(fault: Fault) -> str | None:
    """The fault's own type, if it is a name of AWS's."""
    return fault.type if fault.type is not None and fault.type.endswith("Exception") else None


def _body(fault: Fault, kind: str) -> dict[str, Any]:
    out: dict[str, Any] = {"message": fault.message or "The provider gave no reason."}
    code = fault.code or (fault.kind if fault.kind != "unknown" else None)
    words = {"code": code, "type": None if fault.type == kind else fault.type, "param": fault.param}
    return {**out, **{key: value for key, value in words.items() if value is not None}}
