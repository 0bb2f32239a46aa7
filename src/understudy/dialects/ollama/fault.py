"""Errors, both ways: `{"error": "text"}` with a status, or as a line of a stream.

`code`, `type` and `param`, which Ollama has no fields for, are added under their canonical names; its clients read
`error` alone.
"""

from __future__ import annotations

import math
from typing import Any

from understudy.canon import Fault
from understudy.dialects.openai_chat.fault import decode_fault, fault_in
from understudy.dialects.wire import dump

__all__ = ["decode_fault", "encode_fault", "error_body", "fault_in"]


def encode_fault(fault: Fault) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and body as Ollama would send them. A fault that never had a status is a 503."""
    status = fault.status if fault.status is not None and 400 <= fault.status <= 599 else 503
    headers = {"content-type": "application/json; charset=utf-8"}
    if fault.retry_after is not None and math.isfinite(fault.retry_after) and fault.retry_after >= 0:
        headers["retry-after"] = str(math.ceil(fault.retry_after))
        headers["retry-after-ms"] = str(math.ceil(fault.retry_after * 1000))
    return status, headers, dump(error_body(fault))


def error_body(fault: Fault) -> dict[str, Any]:
    """Our own kind stands in for a code where the provider gave none, so that a client can tell."""
    code = fault.code or (fault.kind if fault.kind != "unknown" else None)
    named = {"code": code, "type": fault.type, "param": fault.param, "request_id": fault.request_id}
    said = {key: value for key, value in named.items() if value is not None}
    return {"error": fault.message or "The provider gave no reason.", **said}
