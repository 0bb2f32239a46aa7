"""The fault table itself, and how real errors are recognised by it."""

import json
import re

import msgspec
import pytest

from understudy.canon import Fault
from understudy.dialects import gemini
from understudy.dialects.openai_chat import decode_fault
from understudy.resilience import classify, row, table
from understudy.resilience.faults import Scope

KINDS = table().kinds
SIGNS = table().signs
OURS = {"unreachable", "stale_connection", "first_token_timeout", "stream_cut", "no_progress", "silence", "deadline",
        "malformed_events", "empty_answer", "bad_answer", "queue_full", "stream_error", "translation_rejected", "lossy",
        "no_credentials",
        "unknown"}  # fmt: skip
"""Kinds that no provider says: we see them ourselves."""


def test_the_table_is_read_once():
    assert table() is table()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_has_an_error_status_and_words(kind):
    entry = row(kind)
    assert 400 <= entry.status <= 599
    assert 1 <= entry.row <= 53
    assert entry.what
    assert entry.what[0].islower()
    assert not entry.what.endswith(".")


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_row_says_makes_sense(kind):
    entry = row(kind)
    assert entry.cool is None or entry.cool in Scope.__args__
    assert entry.cool_seconds >= 0
    if entry.cool is None:
        assert not entry.cool_seconds
        assert not entry.trust_reset
    if entry.trust_reset:
        assert entry.cool_seconds, "without a reset from the provider it would cool down for ever"
    if entry.surface:
        assert not entry.counts, "what is the client's own doing says nothing about the target"
        assert 400 <= entry.status < 500
        assert entry.cool is None
    if not entry.fail_over:
        assert entry.surface or kind == "deadline"


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_can_be_reached(kind):
    assert kind in OURS | {sign.kind for sign in SIGNS} | set(table().status.values())


def test_a_kind_that_is_not_in_the_table_is_a_mistake_of_ours():
    with pytest.raises(KeyError):
        row("no_such_kind")


@pytest.mark.parametrize("sign", SIGNS, ids=lambda sign: sign.kind)
def test_every_sign_names_a_kind_and_something_to_see(sign):
    assert sign.kind in KINDS
    fields = (sign.status, sign.code, sign.type, sign.param, sign.phrase)
    assert any(field is not None for field in fields)
    assert [] not in fields
    if sign.phrase is not None:
        assert sign.status is not None, "a phrase alone could be anybody's words"
        re.compile(sign.phrase)


@pytest.mark.parametrize("sign", [s for s in SIGNS if s.phrase and not s.dialect], ids=lambda sign: sign.kind)
def test_a_phrase_counts_only_at_the_start_of_the_message(sign):
    status = sign.status[0] if isinstance(sign.status, list) else sign.status
    said = PHRASES[sign.kind]
    code = (sign.code or [None])[0]
    assert classify(Fault(status=status, code=code, message=said), "openai-chat").kind == sign.kind
    quoted = Fault(status=status, code=code, message=f"You wrote: {said}")
    assert re.compile(sign.phrase).match(quoted.message) is None


PHRASES = {
    "address_refused": "Your IP address is not authorized to use this project.",
    "request_over_limit": "Request too large for gpt-4o on tokens per min.",
    "context_too_long": "This endpoint's maximum context length is 131072 tokens.",
    "unsupported": "No endpoints found that support tool use.",
}


def test_statuses_name_kinds():
    for status, kind in table().status.items():
        assert 300 <= int(status) <= 599
        assert kind in KINDS


@pytest.mark.parametrize("status", range(300, 600))
def test_every_status_without_a_body_has_a_kind(status):
    kind = classify(Fault(status=status), "openai-chat").kind
    assert kind in KINDS
    if status >= 500:
        assert row(kind).fail_over


def body(error, **more):
    return msgspec.json.encode({"error": error, **more})


EXAMPLES = [
    ("spend_cap", 429, body({"code": "billing_hard_limit_reached", "type": "insufficient_quota", "message": "x"})),
    ("credit_gone", 429, body({"code": "insufficient_quota", "type": "insufficient_quota", "message": "x"})),
    ("credit_gone", 403, body({"type": "billing_error", "message": "x"})),
    ("credit_gone", 402, b'{"detail":"Insufficient Balance"}'),
    ("account_closed", 401, body({"code": "account_deactivated", "message": "x"})),
    ("region_refused", 403, body({"code": "unsupported_country_region_territory", "message": "x"})),
    ("address_refused", 401, body({"code": "ip_not_authorized", "message": "x"})),
    ("address_refused", 401, body({"message": "IP not authorized"})),
    ("overloaded", 498, body({"code": "capacity_exceeded", "message": "x"})),
    ("bad_key", 401, body({"code": "invalid_api_key", "type": "invalid_request_error", "message": "x"})),
    ("bad_key", 400, body({"type": "authentication_error", "message": "x"})),
    ("bad_key", 498, b"Invalid Token"),
    ("ramp_too_fast", 503, body({"code": "slow_down", "message": "x"})),
    ("request_over_limit", 429, body({"message": "Request too large for gpt-4o", "type": "tokens"})),
    ("request_over_limit", 413, body({"code": "rate_limit_exceeded", "type": "tokens", "message": "x"})),
    ("token_rate_limit", 429, body({"code": "rate_limit_exceeded", "type": "tokens", "message": "x"})),
    ("rate_limit", 429, body({"code": "rate_limit_exceeded", "type": "requests", "message": "x"})),
    ("rate_limit", 429, b"slow down, please"),
    ("context_too_long", 400, body({"code": "context_length_exceeded", "message": "x"})),
    ("context_too_long", 400, body({"type": "exceed_context_size_error", "message": "x"})),
    ("context_too_long", 422, body({"message": "This model's maximum context length is 8192 tokens."})),
    ("body_too_large", 413, b"<html>413</html>"),
    ("prompt_blocked", 400, body({"code": "content_filter", "message": "x"})),
    ("prompt_blocked", 400, body({"code": "invalid_prompt", "type": "invalid_request_error", "message": "x"})),
    ("no_access", 403, body({"code": "model_not_found", "message": "x"})),
    ("no_access", 403, b""),
    ("model_gone", 404, body({"code": "model_not_found", "message": "x"})),
    ("model_gone", 400, body({"code": "model_decommissioned", "message": "x"})),
    ("model_gone", 400, body({"type": "invalid_model", "message": "x"})),
    ("model_gone", 404, b"404 page not found"),
    ("unsupported", 404, body({"message": "No endpoints found that support image input", "code": 404})),
    ("unsupported", 400, body({"code": "unsupported_value", "param": "temperature", "message": "x"})),
    ("overloaded", 503, body({"code": "server_is_overloaded", "message": "x"})),
    ("overloaded", 500, body({"type": "overloaded_error", "message": "x"})),
    ("remote_state", 400, body({"code": "previous_response_not_found", "message": "x"})),
    ("internal", 200, body({"type": "server_error", "message": "x"})),
    ("overloaded", 503, body({"type": "server_error", "message": "x"})),
    ("overloaded", 500, body({"code": 503, "message": "x"})),
    ("rate_limit", 200, body({"code": 429, "message": "x"})),
    ("rate_limit", 500, body({"code": 429, "message": "x"})),
    ("overloaded", 200, body({"code": 503, "message": "x"})),
    ("internal", 200, body({"code": 502, "message": "Provider returned error"})),
    ("malformed_request", 400, body({"type": "invalid_request_error", "message": "x"})),
    ("malformed_request", 422, b'{"detail":[{"loc":["body","n"],"msg":"x","type":"y"}]}'),
    ("timeout", 408, b""),
    ("timeout", 409, b""),
    ("upstream_timeout", 504, b"<html>"),
    ("redirected", 307, b""),
]


@pytest.mark.parametrize(("kind", "status", "answer"), EXAMPLES)
def test_errors_as_providers_send_them(kind, status, answer):
    assert classify(decode_fault(status, {}, answer), "openai-chat").kind == kind


def test_there_is_an_example_for_every_sign():
    seen = set()
    for _, status, answer in EXAMPLES:
        fault = decode_fault(status, {}, answer)
        seen.add(next((n for n, sign in enumerate(SIGNS) if _shows(sign, fault)), None))
    # The examples are OpenAI's; those of signs that belong to one dialect are in test_signs.py.
    unseen = [sign for n, sign in enumerate(SIGNS) if n not in seen and sign.dialect in (None, "openai-chat")]
    assert not unseen


def test_a_bad_key_of_gemini_is_one_though_it_comes_as_a_400():
    details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}]
    error = {"code": 400, "message": "API key not valid.", "status": "INVALID_ARGUMENT", "details": details}
    fault = gemini.decode_fault(400, {}, json.dumps({"error": error}).encode())
    assert classify(fault, "gemini").kind == "bad_key"
    assert classify(fault, "openai-chat").kind == "malformed_request"


def _shows(sign, fault):
    wanted = sign.status if isinstance(sign.status, list) or sign.status is None else [sign.status]
    return (
        (wanted is None or fault.status in wanted)
        and (sign.code is None or fault.code in sign.code)
        and (sign.type is None or fault.type in sign.type)
        and (sign.phrase is None or re.match(sign.phrase, fault.message) is not None)
    )


ECHOES = [
    'Invalid value in your message "why do I get 429 rate limit errors? insufficient_quota"',
    "The prompt 'invalid_api_key 401' is wrong",
    "You sent: This model's maximum context length is 8 tokens",
    "messages[0]: Request too large? server_is_overloaded? content_filter?",
]


@pytest.mark.parametrize("echo", ECHOES)
@pytest.mark.parametrize(("status", "kind"), [(400, "malformed_request"), (500, "internal"), (429, "rate_limit")])
def test_an_echoed_prompt_does_not_change_the_kind(echo, status, kind):
    plain = body({"message": echo, "type": "invalid_request_error" if status == 400 else None, "param": None})
    assert classify(decode_fault(status, {}, plain), "openai-chat").kind == kind


def test_a_fault_that_has_a_kind_keeps_it():
    fault = Fault("silence", status=429, code="insufficient_quota")
    assert classify(fault, "openai-chat") is fault


def test_recognising_changes_nothing_but_the_kind():
    fault = decode_fault(429, {"retry-after": "7", "x-request-id": "req_1"}, EXAMPLES[1][2])
    assert msgspec.structs.replace(classify(fault, "openai-chat"), kind="unknown") == fault


def test_what_has_no_status_is_known_by_its_phase():
    assert classify(Fault(phase="stream"), "openai-chat").kind == "stream_error"
    assert classify(Fault(status=200, phase="stream"), "openai-chat").kind == "stream_error"
    assert classify(Fault(), "openai-chat").kind == "unknown"
    assert classify(Fault(status=700), "openai-chat").kind == "unknown"


def test_a_sign_of_one_dialect_says_nothing_about_another(monkeypatch):
    sign = msgspec.structs.replace(SIGNS[0], dialect="another", code=None, status=500)
    monkeypatch.setattr("understudy.resilience.faults.table", lambda: msgspec.structs.replace(table(), signs=[sign]))
    assert classify(Fault(status=500), "another").kind == sign.kind
    assert classify(Fault(status=500), "openai-chat").kind == "internal"
