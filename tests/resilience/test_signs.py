"""How each dialect's errors are recognised, from the bytes that providers send: whole answers and in streams."""

import gzip
import json
import re
from pathlib import Path

import pytest

from understudy import dialects
from understudy.canon import Failed
from understudy.dialects.bedrock_converse.framing import encode_frame
from understudy.resilience import classify, row, table

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "exchanges.jsonl.gz"
NAMES = {"cohere-v2-chat": "cohere-chat", "ollama-native": "ollama"}
"""Dialects that the recordings call otherwise than we do."""

ANTHROPIC, GEMINI, BEDROCK = "anthropic-messages", "gemini", "bedrock-converse"
RPC = "type.googleapis.com/google.rpc."


def anthropic(kind, message="x", code=None):
    error = {"type": kind, "message": message} | ({"details": {"error_code": code}} if code else {})
    return {"type": "error", "error": error, "request_id": "req_1"}


def google(code, status, message="x", *details):
    return {"error": {"code": code, "message": message, "status": status, "details": list(details)}}


def quota(name):
    return {"@type": RPC + "QuotaFailure", "violations": [{"quotaId": name}]}


REASON = {"@type": RPC + "ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com"}
SOON = {"@type": RPC + "RetryInfo", "retryDelay": "22s"}
REGAIN = "You will regain access on 2026-12-01 at 00:00 UTC."
TRIAL = "You are using a Trial key, which is limited to "

WHOLE = [
    ("bad_key", GEMINI, 400, google(400, "INVALID_ARGUMENT", "API key not valid.", REASON)),
    ("bad_key", GEMINI, 403, google(403, "PERMISSION_DENIED", "Your API key was reported as leaked. Please")),
    ("bad_key", GEMINI, 403, google(403, "PERMISSION_DENIED", "Your project has been denied access. Please")),
    ("bad_key", GEMINI, 401, google(401, "UNAUTHENTICATED")),
    ("no_access", GEMINI, 403, google(403, "PERMISSION_DENIED")),
    ("region_refused", GEMINI, 400, google(400, "FAILED_PRECONDITION", "User location is not supported for the API")),
    ("malformed_request", GEMINI, 400, google(400, "FAILED_PRECONDITION", "The file is not ready.")),
    ("rate_limit", GEMINI, 429, google(429, "RESOURCE_EXHAUSTED", "x", SOON)),
    ("rate_limit", GEMINI, 400, google(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerMinutePerProject"))),
    *(
        ("daily_quota", GEMINI, 429, google(429, "RESOURCE_EXHAUSTED", "x", quota(name), SOON))
        for name in (
            "GenerateRequestsPerDayPerProjectPerModel",
            "GenerateRequestsPerDayPerProjectPerModel-FreeTier",
            "GenerateContentInputTokensPerDayPerProjectPerModel",
        )
    ),
    ("context_too_long", GEMINI, 400, google(400, "INVALID_ARGUMENT",
        "The input token count (1250074) exceeds the maximum number of tokens allowed (1048576).")),
    ("malformed_request", GEMINI, 400, google(400, "INVALID_ARGUMENT", "Please use a valid role: user, model.")),
    ("model_gone", GEMINI, 404, google(404, "NOT_FOUND")),
    ("internal", GEMINI, 500, google(500, "INTERNAL")),
    ("overloaded", GEMINI, 503, google(503, "UNAVAILABLE", "The model is overloaded.")),
    ("upstream_timeout", GEMINI, 504, google(504, "DEADLINE_EXCEEDED")),
    ("overloaded", GEMINI, 503, [google(503, "UNAVAILABLE")]),
    ("prompt_blocked", GEMINI, 200, {"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}),
    ("malformed_request", ANTHROPIC, 400, anthropic("invalid_request_error")),
    ("bad_key", ANTHROPIC, 401, anthropic("authentication_error", "invalid x-api-key")),
    ("credit_gone", ANTHROPIC, 402, anthropic("billing_error")),
    ("credit_gone", ANTHROPIC, 400, anthropic("invalid_request_error",
        "Your credit balance is too low to access the Anthropic API.")),
    ("spend_cap", ANTHROPIC, 400, anthropic("invalid_request_error",
        "You have reached your specified API usage limits. " + REGAIN)),
    ("spend_cap", ANTHROPIC, 400, anthropic("invalid_request_error",
        "You have reached your specified workspace API usage limits. " + REGAIN)),
    ("spend_cap", ANTHROPIC, 429, anthropic("rate_limit_error", code="enforced_spend_limit_reached")),
    ("spend_cap", ANTHROPIC, 429, anthropic("rate_limit_error", code="contract_spend_limit_reached")),
    ("ramp_too_fast", ANTHROPIC, 429, anthropic("rate_limit_error", code="ramp_limit_exceeded")),
    ("no_access", ANTHROPIC, 403, anthropic("permission_error")),
    ("model_gone", ANTHROPIC, 404, anthropic("not_found_error", "model: x")),
    ("context_too_long", ANTHROPIC, 400, anthropic("invalid_request_error",
        "prompt is too long: 210000 tokens > 200000 maximum")),
    ("body_too_large", ANTHROPIC, 413, anthropic("request_too_large")),
    ("rate_limit", ANTHROPIC, 429, anthropic("rate_limit_error")),
    ("internal", ANTHROPIC, 500, anthropic("api_error")),
    ("upstream_timeout", ANTHROPIC, 504, anthropic("timeout_error")),
    ("overloaded", ANTHROPIC, 529, anthropic("overloaded_error", "Overloaded")),
    ("bad_key", "cohere-chat", 401, {"message": "invalid api token"}),
    ("rate_limit", "cohere-chat", 429, {"message": TRIAL + "20 API calls / minute."}),
    ("trial_cap", "cohere-chat", 429, {"message": TRIAL + "1000 API calls / month."}),
    ("context_too_long", "cohere-chat", 400, {"message": "x", "error_type": "TOO_MANY_TOKENS"}),
    ("context_too_long", "cohere-chat", 400, {"message": "too many tokens: size limit exceeded by 9 tokens."}),
    ("model_gone", "cohere-chat", 404, {"message": "model 'command' was removed on September 15, 2025."}),
    ("model_gone", "cohere-chat", 400, {"message": "model 'command' was removed on September 15, 2025."}),
    ("model_gone", "ollama", 404, {"error": "model 'x:latest' not found"}),
    ("model_gone", "ollama", 400, {"error": 'model "x" not found, try pulling it first'}),
    ("unsupported", "ollama", 400, {"error": "registry.ollama.ai/library/x:latest does not support tools"}),
    ("bad_key", "openai-responses", 400, {"code": "invalid-argument", "error": "Incorrect API key provided. You"}),
    ("malformed_request", "openai-responses", 400, {"code": "invalid-argument", "error": "x"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "dialect", "status", "answer"), WHOLE)
def test_an_error_response_is_recognised(kind, dialect, status, answer):
    assert seen(dialect, status, {}, json.dumps(answer).encode()).kind == kind


AMAZON = [
    ("no_access", 403, "AccessDeniedException", "x"),
    ("bad_key", 403, "ExpiredTokenException", "The security token included in the request is expired"),
    ("bad_key", 403, "UnrecognizedClientException", "The security token included in the request is invalid."),
    ("model_gone", 404, "ResourceNotFoundException", "x"),
    ("rate_limit", 429, "ThrottlingException", "Too many requests, please wait before trying again."),
    ("daily_quota", 429, "ThrottlingException", "Too many tokens per day, please wait before trying again."),
    ("overloaded", 429, "ModelNotReadyException", "x"),
    ("overloaded", 503, "ServiceUnavailableException", "x"),
    ("upstream_timeout", 408, "ModelTimeoutException", "x"),
    ("internal", 424, "ModelErrorException", "x"),
    ("internal", 500, "InternalServerException", "x"),
    ("malformed_request", 400, "ValidationException", "x"),
    ("model_gone", 400, "ValidationException", "The provided model identifier is invalid."),
    ("context_too_long", 400, "ValidationException", "Input is too long for requested model."),
    ("context_too_long", 400, "ValidationException",
     "The model returned the following errors: prompt is too long: 200049 tokens > 200000 maximum"),
    ("context_too_long", 400, "ValidationException",
     "The model returned the following errors: Input Tokens Exceeded: Number of input tokens exceeds maximum length."),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "status", "name", "message"), AMAZON)
@pytest.mark.parametrize("end", ["", ":http://internal.amazon.com/coral/com.amazon.bedrock/"])
def test_an_exception_of_bedrock_is_recognised_by_its_header(kind, status, name, message, end):
    body = json.dumps({"message": message}).encode()
    assert seen(BEDROCK, status, {"x-amzn-errortype": name + end}, body).kind == kind


def sse(event, name=None):
    return (f"event: {name}\n" if name else "").encode() + b"data: " + json.dumps(event).encode() + b"\n\n"


def exception(name, message="x"):
    headers = {":exception-type": name, ":content-type": "application/json", ":message-type": "exception"}
    return encode_frame(headers, json.dumps({"message": message}).encode())


def error(code):
    return encode_frame({":message-type": "error", ":error-code": code, ":error-message": "x"}, b"")


STREAMED = [
    *(
        (kind, ANTHROPIC, sse(anthropic(name), "error"))
        for kind, name in [
            ("overloaded", "overloaded_error"),
            ("rate_limit", "rate_limit_error"),
            ("internal", "api_error"),
            ("bad_key", "authentication_error"),
            ("no_access", "permission_error"),
            ("model_gone", "not_found_error"),
            ("credit_gone", "billing_error"),
            ("body_too_large", "request_too_large"),
            ("upstream_timeout", "timeout_error"),
            ("malformed_request", "invalid_request_error"),
        ]
    ),
    *(
        (kind, GEMINI, sse({"error": {"message": "x", "status": name}}))
        for kind, name in [
            ("overloaded", "UNAVAILABLE"),
            ("upstream_timeout", "DEADLINE_EXCEEDED"),
            ("internal", "INTERNAL"),
            ("rate_limit", "RESOURCE_EXHAUSTED"),
            ("no_access", "PERMISSION_DENIED"),
            ("bad_key", "UNAUTHENTICATED"),
            ("model_gone", "NOT_FOUND"),
            ("malformed_request", "INVALID_ARGUMENT"),
        ]
    ),
    ("overloaded", GEMINI, sse(google(503, "UNAVAILABLE"))),
    ("prompt_blocked", GEMINI, sse({"promptFeedback": {"blockReason": "SAFETY"}})),
    ("internal", BEDROCK, exception("internalServerException")),
    ("stream_error", BEDROCK, exception("modelStreamErrorException")),
    ("malformed_request", BEDROCK, exception("validationException")),
    ("context_too_long", BEDROCK, exception("validationException", "Input is too long for requested model.")),
    ("rate_limit", BEDROCK, exception("throttlingException")),
    ("overloaded", BEDROCK, exception("serviceUnavailableException")),
    *(
        (kind, BEDROCK, error(name))
        for kind, name in [
            ("rate_limit", "ThrottlingException"),
            ("overloaded", "ServiceUnavailableException"),
            ("internal", "InternalServerException"),
            ("no_access", "AccessDeniedException"),
            ("model_gone", "ResourceNotFoundException"),
            ("malformed_request", "ValidationException"),
        ]
    ),
    ("upstream_timeout", "cohere-chat", sse({"type": "message-end", "delta": {"finish_reason": "TIMEOUT"}})),
    ("stream_error", "cohere-chat", sse({"type": "message-end", "delta": {"finish_reason": "ERROR"}})),
    ("internal", "openai-responses", sse({"type": "response.failed", "response": {
        "id": "r", "object": "response", "created_at": 1, "model": "m", "status": "failed", "output": [],
        "error": {"code": "server_error", "message": "x"}}})),
    ("rate_limit", "openai-responses", sse({"type": "error", "code": "rate_limit_exceeded", "message": "x"})),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "dialect", "data"), STREAMED)
def test_an_error_inside_a_stream_is_recognised_without_a_status(kind, dialect, data):
    assert streamed(dialect, data).kind == kind


ECHOES = [
    "You wrote: 429 rate limit, Too many tokens per day",
    "Invalid text: 'prompt is too long', 'User location is not supported', 'too many tokens'",
    "messages.0: You have reached your specified API usage limits? Your credit balance is too low to access?",
    "Unexpected 'model 'x' was removed', \"model 'x' not found\", RESOURCE_EXHAUSTED, ThrottlingException",
    "The text 'You are using a Trial key, which is limited to 1 API calls / month' is no tool",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("dialect", [ANTHROPIC, GEMINI, BEDROCK, "cohere-chat", "ollama", "openai-responses"])
@pytest.mark.parametrize(("status", "kind"), [(400, "malformed_request"), (500, "internal"), (429, "rate_limit")])
def test_an_echoed_prompt_does_not_change_the_kind(echo, dialect, status, kind):
    word = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}[status]
    bodies = {
        ANTHROPIC: anthropic({400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}[status], echo),
        GEMINI: google(status, word, echo),
        "ollama": {"error": echo},
        "openai-responses": {"error": {"message": echo}},
    }
    names = {400: "ValidationException", 429: "ThrottlingException", 500: "InternalServerException"}
    headers = {"x-amzn-errortype": names[status]} if dialect == BEDROCK else {}
    body = json.dumps(bodies.get(dialect, {"message": echo})).encode()
    assert seen(dialect, status, headers, body).kind == kind


def test_a_days_quota_is_not_over_when_the_provider_says_so():
    body = json.dumps(
        google(429, "RESOURCE_EXHAUSTED", "x", quota("GenerateRequestsPerDayPerProjectPerModel"), SOON)
    ).encode()
    fault = seen(GEMINI, 429, {}, body)
    assert fault.retry_after == 22
    assert not row(fault.kind).trust_reset
    assert row(fault.kind).retry == "no"


def test_there_is_an_example_for_every_sign_of_one_dialect():
    faults = [(d, dialects.get(d).decode_fault(s, {}, json.dumps(b).encode())) for _, d, s, b in WHOLE]
    faults += [
        (BEDROCK, dialects.get(BEDROCK).decode_fault(s, {"x-amzn-errortype": n}, json.dumps({"message": m}).encode()))
        for _, s, n, m in AMAZON
    ]
    faults += [(d, streamed(d, data)) for _, d, data in STREAMED]
    signs = table().signs
    met = {next((n for n, sign in enumerate(signs) if shows(sign, fault, d)), None) for d, fault in faults}
    assert [sign for n, sign in enumerate(signs) if sign.dialect not in (None, "openai-chat") and n not in met] == []


def test_signs_name_dialects_that_there_are():
    assert {sign.dialect for sign in table().signs} - {None} <= set(dialects.DIALECTS)


@pytest.mark.skipif(not MATERIAL.exists(), reason="the recorded exchanges are not here")
def test_no_recorded_error_with_fields_is_unknown():
    with gzip.open(MATERIAL, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    found = []
    for one in rows:
        dialect = NAMES.get(one["dialect"], one["dialect"])
        if dialect not in dialects.DIALECTS or one["status"] < 400:
            continue
        text = one["body_text"] if one["body_text"] is not None else json.dumps(one["body"])
        headers = {k.lower(): v for k, v in (one["headers"] or {}).items() if isinstance(v, str)}
        fault = seen(dialect, one["status"], headers, text.encode())
        found.append((dialect, fault.kind))
    assert len(found) > 90
    assert [pair for pair in found if pair[1] in ("unknown", "stream_error")] == []


def seen(dialect, status, headers, body):
    return classify(dialects.get(dialect).decode_fault(status, headers, body), dialect)


def streamed(dialect, data):
    (fault,) = (e.fault for e in dialects.get(dialect).StreamDecoder().feed(data) if isinstance(e, Failed))
    return classify(fault, dialect)


def shows(sign, fault, dialect):
    wanted = sign.status if isinstance(sign.status, list) or sign.status is None else [sign.status]
    return (
        sign.dialect in (None, dialect)
        and (wanted is None or fault.status in wanted)
        and (sign.code is None or fault.code in sign.code)
        and (sign.type is None or fault.type in sign.type)
        and (sign.param is None or fault.param in sign.param)
        and (sign.phrase is None or re.match(sign.phrase, fault.message) is not None)
    )
