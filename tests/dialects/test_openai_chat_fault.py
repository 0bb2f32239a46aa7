import json
from typing import Any

import pytest

from understudy import dialects
from understudy.canon import Fault
from understudy.dialects.openai_chat.fault import duration, retry_after

DIALECT = dialects.get("openai-chat")
NOON = "Sun, 22 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({"error": {"message": "m", "type": "t", "param": "p", "code": "c"}}, ("m", "t", "p", "c")),
        ({"error": {"message": "m", "code": 401}}, ("m", None, None, "401")),
        ({"error": "m", "code": "c"}, ("m", None, None, "c")),
        ({"error": {"error": {"message": "m", "type": "t"}}}, ("m", "t", None, None)),
        ({"error": {"message": {"message": "m"}}}, ("m", None, None, None)),
        ({"object": "error", "message": "m", "type": "t", "param": None, "code": 40}, ("m", "t", None, "40")),
        ({"detail": "m"}, ("m", None, None, None)),
        ({"detail": {"message": "m", "code": "c"}}, ("m", None, None, "c")),
        ({"detail": [{"loc": ["body", "x", 0], "msg": "m", "type": "t"}]}, ("m", "t", "x.0", None)),
        ([{"error": {"message": "m", "code": 400}}], ("m", None, None, "400")),
        ({"error": {"message": "x", "code": 400, "metadata": {"raw": '{"error":{"message":"m","code":"c"}}'}}},
         ("m", None, None, "c")),
        ({"error": {"message": "m", "code": 400, "metadata": {"raw": "{"}}}, ("m", None, None, "400")),
        ({"message": "m"}, ("m", None, None, None)),
        ({"other": 1}, ("", None, None, None)),
        ("text", ("", None, None, None)),
    ],
)  # fmt: skip
def test_the_structured_fields_of_every_error_shape_are_found(body: Any, fields: tuple[Any, ...]) -> None:
    fault = DIALECT.decode_fault(400, {"x-request-id": "r"}, json.dumps(body).encode())
    assert (fault.message, fault.type, fault.param, fault.code) == fields
    assert (fault.kind, fault.status, fault.request_id, fault.phase) == ("unknown", 400, "r", "head")


def test_a_page_instead_of_json_is_a_fault_without_words() -> None:
    assert DIALECT.decode_fault(502, {}, b"<html>429 invalid_api_key</html>") == Fault(status=502)


def test_an_error_inside_a_200_names_its_own_status() -> None:
    assert DIALECT.decode_fault(200, {}, b'{"error":{"message":"no","status":400}}').status == 400


def test_a_long_message_is_cut() -> None:
    assert len(DIALECT.decode_fault(400, {}, json.dumps({"error": "x" * 9000}).encode()).message) == 2000


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"retry-after-ms": "1500", "retry-after": "9"}, 1.5),
        ({"retry-after-ms": "0", "retry-after": "1"}, 1.0),
        ({"retry-after": "2.5"}, 2.5),
        ({"retry-after": "0"}, 0.0),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT", "date": NOON}, 30.0),
        ({"retry-after": "Sun, 22 Nov 2026 11:00:00 GMT", "date": NOON}, None),
        ({"retry-after": "Sun, 22 Nov 2026 12:00:30 GMT"}, None),
        ({"retry-after": "soon", "date": NOON}, None),
        ({"retry-after": "-1"}, None),
        ({"retry-after": "nan", "retry-after-ms": "1e999"}, None),
        ({"x-ratelimit-reset-requests": "12ms", "x-ratelimit-remaining-requests": "0"}, 0.012),
        ({"x-ratelimit-reset-requests": "6m0s", "x-ratelimit-reset-tokens": "2s"}, 2.0),
        (
            {
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-requests": "0",
                "x-ratelimit-reset-tokens": "2s",
            },
            360.0,
        ),
        ({"x-ratelimit-reset-tokens": "-1"}, None),
        ({}, None),
    ],
)
def test_a_wait_is_read_from_the_first_header_that_makes_sense(headers: dict[str, str], seconds: float | None) -> None:
    assert retry_after(429, headers) == seconds


def test_a_windows_reset_is_no_wait_unless_the_limit_was_hit() -> None:
    assert retry_after(400, {"x-ratelimit-reset-requests": "6m0s"}) is None


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1m30s", 90),
        ("6m0s", 360),
        ("1h2m3.5s", 3723.5),
        ("12ms", 0.012),
        ("8.64s", 8.64),
        ("5µs", 5e-6),
        ("7", 7),
        ("s", None),
    ],
)
def test_durations_are_read_as_go_writes_them(text: str, seconds: float | None) -> None:
    assert duration(text) == (None if seconds is None else pytest.approx(seconds))


@pytest.mark.parametrize(
    ("fault", "status", "kind", "code"),
    [
        (Fault(status=529, type="overloaded_error"), 503, "overloaded_error", None),
        (Fault(status=402), 429, "rate_limit_error", None),
        (Fault(kind="stream_cut"), 503, "server_error", "stream_cut"),
        (Fault(status=404, code="model_not_found"), 404, "invalid_request_error", "model_not_found"),
        (Fault(status=200), 503, "server_error", None),
    ],
)
def test_a_fault_is_told_as_openai_would(fault: Fault, status: int, kind: str, code: str | None) -> None:
    got, headers, body = DIALECT.encode_fault(fault)
    error = json.loads(body)["error"]
    assert (got, error["type"], error["code"]) == (status, kind, code)
    assert error["message"]
    assert "retry-after" not in headers


@pytest.mark.parametrize("wait", [float("nan"), float("inf"), -1.0])
def test_a_wait_that_is_no_time_is_not_sent(wait: float) -> None:
    assert "retry-after" not in DIALECT.encode_fault(Fault(status=429, retry_after=wait))[1]
