"""Every behaviour of the simulated provider, streamed and not: what the client sees, and what was recorded.

Generated from the simulator's own table, so that a new behaviour is tested by existing.
"""

import socket

import httpx2
import pytest

from tests.running import TWO, Running, read
from understudy.resilience import row
from understudy.sim.table import BEHAVIOURS

QUICK = {"slow": "slow:first=0.05,between=0.01", "drip": "drip:between=0.02", "comments": "comments:pings=2,every=0.05",
         "huge-body": "huge-body:mib=2", "thinks": "thinks"}  # fmt: skip
NEVER_STREAMED = {"short-body", "cut-json"}

ROUTES = "".join(
    f'[routes."{name}"]\ntargets = ["first/{QUICK.get(name, name)}", "second/ok"]\n' for name in BEHAVIOURS
)


@pytest.fixture(scope="module")
def gateway():
    with Running(TWO + ROUTES) as running:
        yield running


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_not_streamed_the_client_gets_one_whole_answer_or_one_clear_error(gateway, name):
    response = gateway.chat(name)
    exchange = gateway.exchange(response)
    first = exchange.attempts[0]
    if first.fault is None:
        assert response.status_code == 200
        assert response.json()["choices"][0]["finish_reason"]
        assert exchange.outcome == "answered"
    elif row(first.fault.kind).fail_over:
        assert response.status_code == 200, response.text
        assert "This is a simulated answer" in response.json()["choices"][0]["message"]["content"]
        assert response.headers["x-understudy-target"] == "second/ok"
        assert response.headers["x-understudy-attempts"] == str(len(exchange.attempts))
        assert len(exchange.attempts) == 2
    else:
        assert response.status_code == first.fault.status
        assert response.json()["error"]
        assert exchange.outcome == "failed"


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_streamed_nothing_broken_looks_finished(gateway, name):
    response = gateway.chat(name, stream=True)
    exchange = gateway.exchange(response)
    first = exchange.attempts[0]
    if response.status_code != 200:
        assert not row(first.fault.kind).fail_over
        assert response.json()["error"]
        return
    content, finish, error, done = read(response.text)
    if exchange.outcome == "answered":
        assert error is None
        assert finish or name == "refusal"
        assert content or name in ("refusal", "tool-length", "tool-garbled")
        if first.fault is not None:
            assert content.startswith("This is a simulated answer")
            assert response.headers["x-understudy-target"] == "second/ok"
    else:
        assert exchange.outcome == "broken"
        assert first.first_content is not None
        assert error["message"]
        assert finish is None
        assert not done


@pytest.mark.parametrize("name", BEHAVIOURS)
def test_each_behaviour_is_recognised_as_what_it_is(gateway, name):
    fault = gateway.exchange(gateway.chat(name, stream=True)).attempts[0].fault
    if BEHAVIOURS[name].fails == "never":
        assert fault is None, fault
    elif fault is not None:
        assert fault.kind == EXPECTED.get(name, fault.kind)
        assert fault.kind != "unknown" or name == "unknown-error"


EXPECTED = {
    "silent": "first_token_timeout",
    "head-only": "first_token_timeout",
    "pings": "first_token_timeout",
    "hang": "silence",
    "cut": "stream_cut",
    "cut-reset": "stream_cut",
    "cut-clean": "stream_cut",
    "cut-event": "stream_cut",
    "done-without-finish": "stream_cut",
    "malformed-twice": "malformed_events",
    "empty": "empty_answer",
    "insufficient-quota": "credit_gone",
    "credit-exhausted": "credit_gone",
    "payment-required": "credit_gone",
    "spend-limit": "spend_cap",
    "invalid-key": "bad_key",
    "invalid-key-openrouter": "bad_key",
    "invalid-key-mistral": "bad_key",
    "invalid-key-vllm": "bad_key",
    "account-closed": "account_closed",
    "ip-not-authorized": "address_refused",
    "region": "region_refused",
    "no-access": "no_access",
    "sample-forbidden": "no_access",
    "not-found": "model_gone",
    "retired": "model_gone",
    "not-found-vllm": "model_gone",
    "not-found-azure": "model_gone",
    "unsupported-parameter": "unsupported",
    "malformed": "malformed_request",
    "malformed-xai": "malformed_request",
    "unprocessable": "malformed_request",
    "context-length": "context_too_long",
    "context-length-llamacpp": "context_too_long",
    "context-length-vllm": "context_too_long",
    "body-too-large": "body_too_large",
    "body-too-large-html": "body_too_large",
    "content-policy": "prompt_blocked",
    "content-policy-azure": "prompt_blocked",
    "timeout": "timeout",
    "conflict": "timeout",
    "overloaded": "overloaded",
    "overloaded-529": "overloaded",
    "loading": "overloaded",
    "capacity-groq": "overloaded",
    "rate-limit": "rate_limit",
    "rate-limit-reset": "rate_limit",
    "rate-limit-bare": "rate_limit",
    "rate-limit-azure": "rate_limit",
    "rate-limit-openrouter": "rate_limit",
    "rate-limit-tokens": "token_rate_limit",
    "rate-limit-day": "token_rate_limit",
    "request-too-large": "request_over_limit",
    "request-too-large-groq": "request_over_limit",
    "slow-down": "ramp_too_fast",
    "slow-down-503": "ramp_too_fast",
    "retry-negative": "rate_limit",
    "retry-huge": "rate_limit",
    "retry-nonsense": "rate_limit",
    "internal": "internal",
    "internal-vllm": "internal",
    "null-body": "internal",
    "empty-body": "internal",
    "upstream-timeout": "upstream_timeout",
    "upstream-error": "internal",
    "html-502": "internal",
    "html-503": "overloaded",
    "html-504": "upstream_timeout",
    "html-200": "bad_answer",
    "html-403": "no_access",
    "redirect": "redirected",
}


def test_refused_at_tcp_level_the_call_still_moves():
    config = TWO.replace("{a}", "http://127.0.0.1:9/v1") + '[routes.r]\ntargets = ["first/x", "second/ok"]\n'
    with Running(config) as running:
        response = running.chat("r")
        assert response.status_code == 200
        assert running.exchange(response).attempts[0].fault.kind == "unreachable"


def test_a_client_that_leaves_ends_the_call_at_the_provider_at_once():
    with Running(TWO + '[routes.r]\ntargets = ["first/drip:between=0.2"]\n') as running:
        with running.http.stream("POST", "/v1/chat/completions", json={
            "model": "r", "stream": True, "messages": [{"role": "user", "content": "Tell me a long story about foxes"}],
        }) as response:  # fmt: skip
            next(response.iter_bytes())
        exchange = running.exchange(response)
        assert exchange.outcome == "client_left"
        assert exchange.attempts[0].fault is None
        assert running.call(lambda: running.gateway.open) == 0
        assert running.until(lambda: running.gateway.transport.open_connections == 0)


def test_the_same_connection_serves_call_after_call():
    with Running(TWO + '[routes.r]\ntargets = ["first/ok"]\n') as running:
        for stream in (False, True, False, True):
            assert running.chat("r", stream=stream).status_code == 200
        assert running.a.requests[-1].headers["host"].startswith("127.0.0.1")


def test_httpx_sees_no_difference_between_gateway_and_provider():
    with Running(TWO + '[routes.r]\ntargets = ["first/ok"]\n') as running, httpx2.Client(trust_env=False) as direct:
        body = {"model": "ok", "messages": [{"role": "user", "content": "Hello there"}]}
        straight = direct.post(f"{running.a.url}/chat/completions", json=body)
        relayed = running.chat("r")
        ignore = ("id", "created")
        assert {k: v for k, v in relayed.json().items() if k not in ignore} == {
            k: v for k, v in straight.json().items() if k not in ignore
        }


def test_the_first_content_does_not_wait_for_what_comes_next():
    body = b'{"model":"r","stream":true,"messages":[{"role":"user","content":"Hello"}]}'
    head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: %d\r\n\r\n"
    with Running(TWO + '[routes.r]\ntargets = ["first/hang:after=1"]\n') as running:
        url = httpx2.URL(running.url)
        with socket.create_connection((url.host, url.port), 10) as line:
            line.sendall(head % len(body) + body)
            data = b""
            while b'"content":"This"' not in data:
                data += line.recv(65536)
            assert b'"error"' not in data, "it came while the provider was silent"
            while piece := line.recv(65536):
                data += piece
    assert b'"error"' in data, "and when the time was up, the error"
