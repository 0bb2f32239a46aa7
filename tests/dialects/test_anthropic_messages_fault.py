import json
from typing import Any

import pytest

from understudy.canon import Fault
from understudy.dialects import anthropic_messages as dialect
from understudy.dialects.anthropic_messages.fault import retry_after

NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"type": "error", "error": {"type": "overloaded_error", "message": "m"}}, ("m", "overloaded_error", None)),
        ({"type": "error", "error": {"type": "t", "message": "m", "details": {"error_code": "c"}}}, ("m", "t", "c")),
        ({"error": {"code": 403, "message": "m", "status": "PERMISSION_DENIED"}}, ("m", "PERMISSION_DENIED", "403")),
        ({"error": "m", "code": "c"}, ("m", None, "c")),
        ({"type": "error", "message": "m"}, ("m", None, None)),
        ({"message": "m"}, ("m", None, None)),
        ({"detail": "m"}, ("m", None, None)),
        ([{"error": {"message": "m"}}], ("m", None, None)),
        ({"error": {"message": {"a": 1}, "type": 5}}, ("", "5", None)),
        ({"other": 1}, ("", None, None)),
        ("text", ("", None, None)),
    ],
)
def test_the_structured_fields_of_every_error_shape_are_found(body: Any, fields: tuple[Any, ...]) -> None:
    fault = dialect.decode_fault(400, {"request-id": "r"}, json.dumps(body).encode())
    assert (fault.message, fault.type, fault.code) == fields
    assert (fault.kind, fault.status, fault.request_id, fault.phase) == ("unknown", 400, "r", "head")


def test_the_request_id_is_found_in_the_body_too() -> None:
    body = {"type": "error", "error": {"type": "api_error", "message": "m"}, "request_id": "req_1"}
    assert dialect.decode_fault(500, {}, json.dumps(body).encode()).request_id == "req_1"


def test_a_page_instead_of_json_is_a_fault_without_words() -> None:
    assert dialect.decode_fault(502, {}, b"<html>429 rate_limit_error</html>") == Fault(status=502)


def test_an_error_inside_a_200_names_its_own_status() -> None:
    assert dialect.decode_fault(200, {}, b'{"error":{"message":"no","code":"503"}}').status == 503


def test_a_long_message_is_cut() -> None:
    assert len(dialect.decode_fault(400, {}, json.dumps({"error": "x" * 9000}).encode()).message) == 2000


def window(name: str, reset: str, left: str | None = None) -> dict[str, str]:
    head = f"anthropic-ratelimit-{name}-"
    return {head + "reset": reset} | ({} if left is None else {head + "remaining": left})


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after": "7", "date": NOON}, 7.0),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT", "date": NOON}, None),
        ({"retry-after": "soon", "date": "yesterday"}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "0", "date": NOON, **window("requests", "2026-11-22T12:00:20Z")}, 20.0),
        ({"retry-after": "0"}, 0.0),
        ({"date": NOON, **window("tokens", "2026-11-22T12:01:00Z"), **window("requests", "2026-11-22T12:00:05Z")}, 5.0),
        (
            {
                "date": NOON,
                **window("tokens", "2026-11-22T12:01:00Z", "0"),
                **window("input-tokens", "2026-11-22T12:02:00Z", "0"),
                **window("requests", "2026-11-22T12:00:05Z", "99"),
            },
            120.0,
        ),
        ({"date": NOON, **window("output-tokens", "2026-11-22T13:00:10+01:00")}, 10.0),
        ({"date": NOON, **window("output-tokens", "2026-11-22T12:00:10")}, 10.0),
        ({"date": NOON, **window("tokens", "2026-11-22T11:00:00Z")}, None),
        ({"date": NOON, **window("tokens", "later")}, None),
        ({"date": "Mon, 01 Jan 0001 00:00:00 -0000", **window("tokens", "0001-01-01T00:00:00+14:00")}, None),
        (window("tokens", "2026-11-22T12:01:00Z"), None),
        ({}, None),
    ],
)
def test_a_wait_is_read_from_the_first_header_that_makes_sense(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(429, headers) == seconds


def test_a_windows_reset_is_no_wait_unless_the_limit_was_hit() -> None:
    assert retry_after(400, {"date": NOON, **window("tokens", "2026-11-22T12:01:00Z")}) is None


@pytest.mark.parametrize(
    ("fault", "status", "kind"),
    [
        (Fault(status=400), 400, "invalid_request_error"),
        (Fault(status=401, type="invalid_request_error", code="invalid_api_key"), 401, "authentication_error"),
        (Fault(status=401), 401, "authentication_error"),
        (Fault(status=402), 402, "billing_error"),
        (Fault(status=403), 403, "permission_error"),
        (Fault(status=404), 404, "not_found_error"),
        (Fault(status=408), 504, "timeout_error"),
        (Fault(status=409), 409, "conflict_error"),
        (Fault(status=413), 413, "request_too_large"),
        (Fault(status=418), 418, "invalid_request_error"),
        (Fault(status=422), 400, "invalid_request_error"),
        (Fault(status=429, type="tokens"), 429, "rate_limit_error"),
        (Fault(status=498), 401, "authentication_error"),
        (Fault(status=500, type="server_error"), 500, "api_error"),
        (Fault(status=502), 500, "api_error"),
        (Fault(status=503), 529, "overloaded_error"),
        (Fault(status=504), 504, "timeout_error"),
        (Fault(status=529, type="overloaded_error"), 529, "overloaded_error"),
        (Fault(type="overloaded_error"), 529, "overloaded_error"),
        (Fault(kind="first_token_timeout"), 504, "timeout_error"),
        (Fault(kind="stream_cut"), 500, "api_error"),
        (Fault(status=200), 500, "api_error"),
    ],
)
def test_a_fault_is_told_as_anthropic_would(fault: Fault, status: int, kind: str) -> None:
    got, headers, body = dialect.encode_fault(fault)
    error = json.loads(body)
    assert (got, error["type"], error["error"]["type"]) == (status, "error", kind)
    assert error["error"]["message"]
    assert "retry-after" not in headers


def test_what_another_provider_called_it_is_among_the_details() -> None:
    fault = Fault("rate_limit", 429, "rate_limit_exceeded", "tokens", "model", "Slow down.", 1.5, request_id="req_1")
    _, headers, body = dialect.encode_fault(fault)
    assert json.loads(body) == {
        "type": "error",
        "error": {
            "type": "rate_limit_error",
            "message": "Slow down.",
            "details": {"error_code": "rate_limit_exceeded", "provider_type": "tokens"},
            "param": "model",
        },
        "request_id": "req_1",
    }
    assert headers == {
        "content-type": "application/json",
        "retry-after": "2",
        "retry-after-ms": "1500",
        "request-id": "req_1",
    }


@pytest.mark.parametrize("wait", [float("nan"), float("inf"), -1.0])
def test_a_wait_that_is_no_time_is_not_sent(wait: float) -> None:
    assert "retry-after" not in dialect.encode_fault(Fault(status=429, retry_after=wait))[1]


def test_a_request_id_that_no_header_may_hold_stays_in_the_body() -> None:
    _, headers, body = dialect.encode_fault(Fault(status=500, request_id="a\r\nx: y"))
    assert "request-id" not in headers
    assert json.loads(body)["request_id"] == "a\r\nx: y"
