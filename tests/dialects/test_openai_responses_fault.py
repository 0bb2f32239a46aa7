"""Errors of the Responses API: the same as everywhere at OpenAI, and two shapes of its own in a stream."""

import json
from typing import Any

import pytest

from understudy.canon import Fault
from understudy.dialects import openai_responses
from understudy.dialects.openai_responses.fault import event_fault, failed_error, response_fault

QUOTA = {"type": "insufficient_quota", "code": "insufficient_quota", "message": "No more.", "param": None}


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (400, {"error": {"message": "No such model.", "type": "invalid_request_error", "param": "model",
                         "code": "model_not_found"}},
         ("No such model.", "invalid_request_error", "model", "model_not_found")),
        (400, {"code": "invalid-argument", "error": "Incorrect API key."},
         ("Incorrect API key.", None, None, "invalid-argument")),
        (429, {"error": QUOTA}, ("No more.", "insufficient_quota", None, "insufficient_quota")),
        (200, {"status": "failed", "error": {"code": "server_error", "message": "It broke."}, "output": []},
         ("It broke.", None, None, "server_error")),
    ],
)  # fmt: skip
def test_the_structured_fields_of_an_error_are_found(status: int, body: Any, fields: tuple[Any, ...]) -> None:
    fault = openai_responses.decode_fault(status, {"x-request-id": "r"}, json.dumps(body).encode())
    assert (fault.message, fault.type, fault.param, fault.code) == fields
    assert (fault.kind, fault.status, fault.request_id) == ("unknown", status, "r")


def test_an_error_event_is_read_nested_or_flat() -> None:
    nested = Fault(code="insufficient_quota", type="insufficient_quota", message="No more.", phase="stream")
    assert event_fault({"type": "error", "sequence_number": 2, "error": QUOTA}) == nested
    assert event_fault({"type": "error", "code": "c", "message": "m", "param": "p"}) == Fault(
        code="c", message="m", param="p", phase="stream"
    )
    assert event_fault({"type": "error", "error": [5]}) == Fault(phase="stream")


def test_a_failed_response_says_why() -> None:
    assert response_fault({"error": {"code": "c", "message": "m"}}) == Fault(code="c", message="m", phase="stream")
    assert failed_error(Fault(code="c", message="m")) == {"code": "c", "message": "m"}
    assert failed_error(Fault(status=429))["code"] == "rate_limit_exceeded"
    assert failed_error(Fault())["code"] == "server_error"


def test_an_error_is_written_as_openai_has_it() -> None:
    status, headers, body = openai_responses.encode_fault(Fault(kind="overload", status=529, message="Busy."))
    assert (status, headers["content-type"]) == (503, "application/json")
    assert json.loads(body)["error"] == {"message": "Busy.", "type": "server_error", "param": None, "code": "overload"}
