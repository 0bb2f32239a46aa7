"""Errors in Google's shape, both ways. The shapes are those of recorded traffic, the words our own."""

import json
from typing import Any

import pytest

from understudy.canon import Fault
from understudy.dialects import gemini

GOOGLE = "type.googleapis.com/google.rpc."


def fault_of(status: int, body: Any, **headers: str) -> Fault:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    return gemini.decode_fault(status, headers, raw)


def error(code: int, status: str, *details: Any) -> dict[str, Any]:
    return {"error": {"code": code, "message": "Said so.", "status": status, "details": list(details)}}


QUOTA = {"@type": GOOGLE + "QuotaFailure", "violations": [{}, 1, {"quotaId": "RequestsPerDay"}, {"quotaId": "Other"}]}
RETRY = {"@type": GOOGLE + "RetryInfo", "retryDelay": "34.4s"}
INFO = {"@type": GOOGLE + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {"a": "b"}}
FIELD = {"@type": GOOGLE + "BadRequest", "fieldViolations": [{"field": "contents[0].role", "description": "bad"}]}

CASES: list[tuple[int, Any, tuple[Any, ...]]] = [
    (
        429,
        error(429, "RESOURCE_EXHAUSTED", QUOTA, RETRY),
        (429, "RESOURCE_EXHAUSTED", "RESOURCE_EXHAUSTED", "RequestsPerDay", 34.4),
    ),
    (400, error(400, "INVALID_ARGUMENT", INFO), (400, "API_KEY_INVALID", "INVALID_ARGUMENT", None, None)),
    (
        400,
        error(400, "INVALID_ARGUMENT", FIELD, 7),
        (400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", "contents[0].role", None),
    ),
    (404, [error(404, "NOT_FOUND")], (404, "NOT_FOUND", "NOT_FOUND", None, None)),
    (200, error(503, "UNAVAILABLE"), (503, "UNAVAILABLE", "UNAVAILABLE", None, None)),
    (200, {"promptFeedback": {"blockReason": "SAFETY"}}, (200, "SAFETY", "PROMPT_BLOCKED", None, None)),
    (500, {"error": "text"}, (500, None, None, None, None)),
    (502, b"<html>", (502, None, None, None, None)),
    (500, {"error": {"code": "x", "details": {}}}, (500, None, None, None, None)),
    (
        429,
        {"error": {"details": [{"@type": GOOGLE + "RetryInfo", "retryDelay": "soon"}]}},
        (429, None, None, None, None),
    ),
    (200, {"candidates": [{}], "promptFeedback": {"blockReason": "SAFETY"}}, (200, None, None, None, None)),
]


@pytest.mark.parametrize(("status", "body", "expected"), CASES, ids=range(len(CASES)))
def test_structured_fields_are_read(status: int, body: Any, expected: tuple[Any, ...]) -> None:
    fault = fault_of(status, body)
    assert (fault.status, fault.code, fault.type, fault.param, fault.retry_after) == expected
    assert fault.kind == "unknown"


def test_the_header_counts_where_the_body_names_no_delay() -> None:
    assert gemini.decode_fault(429, {"retry-after": "7"}, b"{}").retry_after == 7
    assert (
        gemini.decode_fault(429, {"retry-after": "7"}, json.dumps(error(429, "X", RETRY)).encode()).retry_after == 34.4
    )
    assert gemini.decode_fault(429, {"retry-after": "-1"}, b"{}").retry_after is None


@pytest.mark.parametrize(
    "fault",
    [
        Fault(status=429, code="rate_limit_exceeded", type="tokens", message="Slow down.", retry_after=1.5),
        Fault(status=429, code="RESOURCE_EXHAUSTED", type="RESOURCE_EXHAUSTED", param="PerDay", message="m"),
        Fault(status=400, code="INVALID_ARGUMENT", type="INVALID_ARGUMENT", param="contents", message="m"),
        Fault(status=403, code="c", type="permission_error", param="p", message="m", request_id="r1"),
        Fault(status=400, code="FAILED_PRECONDITION", type="FAILED_PRECONDITION", message="m"),
        Fault(status=200, code="OTHER", type="PROMPT_BLOCKED", message="The prompt was blocked: OTHER."),
        Fault(status=200, code="OTHER", type="PROMPT_BLOCKED", message="For reasons."),
    ],
)
def test_a_fault_survives(fault: Fault) -> None:
    assert gemini.decode_fault(*gemini.encode_fault(fault)) == fault


STATUSES = [
    (None, 503, "UNAVAILABLE"),
    (529, 503, "UNAVAILABLE"),
    (402, 429, "RESOURCE_EXHAUSTED"),
    (413, 413, "INVALID_ARGUMENT"),
    (404, 404, "NOT_FOUND"),
    (401, 401, "UNAUTHENTICATED"),
    (502, 502, "INTERNAL"),
    (200, 503, "UNAVAILABLE"),
]


@pytest.mark.parametrize(("given", "status", "word"), STATUSES)
def test_any_fault_has_a_status_and_a_word_that_the_sdk_knows(given: int | None, status: int, word: str) -> None:
    sent, headers, body = gemini.encode_fault(Fault("stream_cut", given))
    said = json.loads(body)["error"]
    assert (sent, said["code"], said["status"]) == (status, status, word)
    assert headers["content-type"].startswith("application/json")
    assert said["message"]
    assert said["details"][0]["reason"] == "stream_cut"


def test_a_delay_is_given_both_ways_and_nonsense_is_not() -> None:
    _, headers, body = gemini.encode_fault(Fault(status=429, retry_after=1.25))
    assert headers["retry-after"] == "2"
    assert json.loads(body)["error"]["details"] == [{"@type": GOOGLE + "RetryInfo", "retryDelay": "1.25s"}]
    assert "details" not in json.loads(gemini.encode_fault(Fault(status=429, retry_after=float("inf")))[2])["error"]
