"""What the fixtures of `test_wire.py` cannot show: what no sign may take for itself, and how real recordings fare."""

import gzip
import json
from pathlib import Path

import pytest

from understudy import dialects
from understudy.resilience import classify, table

MATERIAL = Path(__file__).parents[3] / "shared" / "material" / "exchanges.jsonl.gz"
NAMES = {"cohere-v2-chat": "cohere-chat", "ollama-native": "ollama"}
"""Dialects that the recordings call otherwise than we do."""

ECHOES = [
    "You wrote: 429 rate limit, Too many tokens per day",
    "Invalid text: 'prompt is too long', 'User location is not supported', 'too many tokens'",
    "messages.0: You have reached your specified API usage limits? Your credit balance is too low to access?",
    "Unexpected 'model 'x' was removed', \"model 'x' not found\", RESOURCE_EXHAUSTED, ThrottlingException",
    'Invalid value in your message "why do I get 429 rate limit errors? insufficient_quota"',
    "messages[0]: Request too large? server_is_overloaded? content_filter? IP not authorized",
    "I asked: This model does not support assistant message prefill. Requests ending with a model turn",
    "The text 'You are using a Trial key, which is limited to 1 API calls / month' is no tool",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize("dialect", sorted(dialects.DIALECTS))
@pytest.mark.parametrize(("status", "kind"), [(400, "malformed_request"), (500, "internal"), (429, "rate_limit")])
def test_an_echoed_prompt_does_not_change_the_kind(echo, dialect, status, kind):
    word = {400: "INVALID_ARGUMENT", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL"}[status]
    anthropic = {400: "invalid_request_error", 429: "rate_limit_error", 500: "api_error"}[status]
    bodies = {
        "anthropic-messages": {"type": "error", "error": {"type": anthropic, "message": echo}},
        "bedrock-converse": {"message": echo},
        "cohere-chat": {"message": echo},
        "gemini": {"error": {"code": status, "message": echo, "status": word}},
        "ollama": {"error": echo},
    }
    names = {400: "ValidationException", 429: "ThrottlingException", 500: "InternalServerException"}
    headers = {"x-amzn-errortype": names[status]} if dialect == "bedrock-converse" else {}
    body = json.dumps(bodies.get(dialect, {"error": {"message": echo}})).encode()
    assert seen(dialect, status, headers, body).kind == kind


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
