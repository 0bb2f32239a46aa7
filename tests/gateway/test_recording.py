"""What the record of a call says of whose it was, and which price its answer has."""

from types import SimpleNamespace

import pytest

from understudy import dialects
from understudy.canon import Usage
from understudy.gateway import pricing, recording, surface
from understudy.gateway.call import Call
from understudy.gateway.settings import Ledger
from understudy.ledger import end_users
from understudy.ledger.cost import Prices

CHAT = b'{"model": "m", "messages": [{"role": "user", "content": "Hi"}], %s}'
SAID = {
    "nothing": ("/v1/chat/completions", CHAT % b'"n": 1', {}, None),
    "user": ("/v1/chat/completions", CHAT % b'"user": "u1"', {}, "u1"),
    "what came after user": ("/v1/chat/completions", CHAT % b'"user": "u1", "safety_identifier": "u2"', {}, "u2"),
    "a key for a cache is no user": ("/v1/chat/completions", CHAT % b'"prompt_cache_key": "u1"', {}, None),
    "OpenAI's metadata is something else": ("/v1/chat/completions", CHAT % b'"metadata": {"user_id": "u1"}', {}, None),
    "the Responses API": ("/v1/responses", b'{"model": "m", "input": "Hi", "safety_identifier": "u1"}', {}, "u1"),
    "Completions": ("/v1/completions", b'{"model": "m", "prompt": "Hi", "user": "u1"}', {}, "u1"),
    "Anthropic": ("/v1/messages", CHAT % b'"max_tokens": 1, "metadata": {"user_id": "u1"}', {}, "u1"),
    "Anthropic's user is none": ("/v1/messages", CHAT % b'"max_tokens": 1, "user": "u1"', {}, None),
    "our header goes first": (
        "/v1/chat/completions", CHAT % b'"user": "u1"', {b"x-understudy-user": "ü3".encode()}, "ü3"),
    "our header in any dialect": ("/v2/chat", CHAT % b'"n": 1', {b"x-understudy-user": b"u1"}, "u1"),
    "our header where the model is in the path": (
        "/v1beta/models/g:generateContent", b"{}", {b"x-understudy-user": b"u1"}, "u1"),
    "no name in the path's dialects": ("/v1beta/models/g:generateContent", b'{"user": "u1"}', {}, None),
    "a number": ("/v1/chat/completions", CHAT % b'"user": 5', {}, None),
    "an empty one": ("/v1/chat/completions", CHAT % b'"user": "", "safety_identifier": null', {}, None),
    "something odd": ("/v1/messages", CHAT % b'"max_tokens": 1, "metadata": [{}]', {}, None),
}  # fmt: skip


@pytest.mark.parametrize("case", SAID)
def test_an_end_user_is_who_the_client_says_in_its_own_dialect_or_our_header(case):
    path, body, headers, expected = SAID[case]
    assert Call(body, headers, surface.door(path)).end_user() == expected


KEY = "0123456789abcdef" * 2


def test_a_name_is_kept_as_given_hashed_or_not_at_all():
    environ = {"K": KEY}
    assert recording.whose(Ledger(), environ)("u1") == "u1"
    assert recording.whose(Ledger(end_users="none"), environ)("u1") is None
    hashed = recording.whose(Ledger(end_users="hashed", end_user_key="env:K"), environ)
    # echo -n u1 | openssl dgst -sha256 -hmac 0123456789abcdef0123456789abcdef
    assert hashed("u1") == "hmac:39536bc0c20e6efcd22ec30bb96eec5aff9be6a37fe8e9db166b4cc950c94e7e"
    assert hashed("") is hashed(None) is None


def test_a_long_name_stays_one_of_its_own():
    long = ["a" * 200 + end for end in ("", "x", "y")]
    kept = [end_users.kept(name, "given", "") for name in long]
    assert kept[0] == long[0]
    assert len(set(kept)) == 3
    assert max(map(len, kept)) == 200


@pytest.mark.parametrize("how", ["given", "hashed"])
@pytest.mark.parametrize("name", ["u1", "a" * 300])
def test_a_user_is_found_in_whatever_form_it_was_kept(how, name):
    assert end_users.kept(name, how, KEY) in end_users.forms(name, KEY)
    assert end_users.kept("u2", how, KEY) not in end_users.forms(name, KEY)


# --- prices -----------------------------------------------------------------------------------------------------------

NOW = 1_795_000_000.0  # November 2026
WHOLE = (b'{"id": "c", "object": "chat.completion", "created": 1, "model": "gpt-4.1-mini-2025-04-14", %s"choices": '
         b'[{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}], '
         b'"usage": {"prompt_tokens": 1000, "completion_tokens": 100, "total_tokens": 1100}}')  # fmt: skip


def priced(target, answer=None, **known):
    attempt = SimpleNamespace(target=target, started=0.0, ended=1.0, usage=None, answer=answer, answered_by="",
                              tier=None, charge=None, first_content=0.5)  # fmt: skip
    for name, value in known.items():
        setattr(attempt, name, value)
    exchange = SimpleNamespace(
        attempts=[attempt], hit=None, wall=NOW, call=Call(CHAT % b'"n": 1', {}, surface.door("/v1/chat/completions"))
    )
    pricing.note(exchange, Prices())
    return attempt.charge and float(attempt.charge.usd)


def test_the_tier_that_an_answer_names_has_its_price():
    # OpenAI's price page: gpt-4.1-mini 0.40 and 1.60, priority 0.70 and 2.80 per million
    assert priced("openai/gpt-4.1-mini", WHOLE % b"") == pytest.approx(0.00056)
    assert priced("openai/gpt-4.1-mini", WHOLE % b'"service_tier": "default", ') == pytest.approx(0.00056)
    assert priced("openai/gpt-4.1-mini", WHOLE % b'"service_tier": "priority", ') == pytest.approx(0.00098)
    assert priced("openai/gpt-4.1-mini", usage=Usage(1000, 100), tier="priority") == pytest.approx(0.00098)


def test_a_deployment_costs_what_the_model_that_answered_costs():
    assert priced("azure/my-own-name", WHOLE % b"") == pytest.approx(0.00056)


STREAMS = {
    "openai-chat": [
        b'data: {"id":"c","model":"gpt-x","choices":[{"index":0,"delta":{"content":"Hi"}}]}\n\n',
        b'data: {"service_tier":"priority","choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n',
        b"data: [DONE]\n\n",
    ],
    "openai-responses": [
        b'event: response.created\ndata: {"type":"response.created","sequence_number":0,"response":',
        b'{"id":"r","object":"response","created_at":1,"model":"gpt-x","status":"in_progress","output":[],',
        b'"service_tier":"priority"}}\n\n',
    ],
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("torn", [False, True])
def test_a_stream_that_passes_tells_model_and_tier(name, torn):
    watch = dialects.watch(name)
    assert (watch.answered_by, watch.tier) == ("", None)
    data = b"".join(STREAMS[name])
    for piece in [data[i : i + 7] for i in range(0, len(data), 7)] if torn else STREAMS[name]:
        watch.feed(piece)
    assert (watch.answered_by, watch.tier) == ("gpt-x", "priority")


def test_a_stream_that_names_nothing_is_no_error():
    watch = dialects.watch("openai-chat")
    watch.feed(b'data: {"model": 7, "service_tier": 3, "choices": []}\n\n')
    assert (watch.answered_by, watch.tier) == ("", None)
