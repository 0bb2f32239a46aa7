"""Errors, both ways. OpenAI's error responses are the same on every endpoint, so Chat Completions' code reads them.

Only in a stream there are shapes of its own: an `error` event, flat as the OpenAPI document has it or nested as OpenAI
sends it, and `response.failed`, whose response holds `error: {code, message}`.
"""

from __future__ import annotations

from typing import Any

from understudy.canon import Fault
from understudy.dialects.openai_chat.fault import decode_fault, encode_fault, error_body, fault_in

ERROR_FIELDS = ("code", "message", "param")


def event_fault(event: dict[str, Any]) -> Fault:
    """What an `error` event says."""
    error = event.get("error")
    flat = {key: event.get(key) for key in ERROR_FIELDS}
    return fault_in({"error": error or flat}, "stream") or Fault(phase="stream")


def response_fault(response: dict[str, Any]) -> Fault:
    """Why a response failed."""
    fault = fault_in({"error": response.get("error")}, "stream")
    return fault or Fault(message="The response failed, and its provider gave no reason.", phase="stream")


def failed_error(fault: Fault) -> dict[str, str]:
    """`error` of a failed response."""
    code = fault.code or ("rate_limit_exceeded" if fault.status == 429 else "server_error")
    return {"code": code, "message": fault.message or "The provider gave no reason."}


__all__ = ["decode_fault", "encode_fault", "error_body", "event_fault", "failed_error", "fault_in", "response_fault"]
