"""What stands around a body: what may change in it on the way to a provider of the same dialect, and what must not."""

import json

import pytest

from understudy.dialects.wire import Malformed
from understudy.gateway.surface import door, without_seals

SEAL = "understudy:made-up"
MENTIONS = b'{"model": "m",  "messages": [{"role": "user", "content": "see understudy: the guide"}], "top_p": 1.0}'


def thinking(signature):
    return {"type": "thinking", "thinking": "Hm.", "signature": signature}


def said(*blocks):
    return {"role": "assistant", "content": list(blocks)}


def test_a_body_that_only_mentions_the_mark_stays_to_the_byte():
    assert without_seals(MENTIONS, "anthropic-messages") is MENTIONS
    responses = MENTIONS.replace(b"messages", b"input").replace(b"understudy:", b"understudy.")
    assert without_seals(responses, "openai-responses") is responses


def test_reasoning_that_we_sealed_is_left_out_and_the_providers_own_stays():
    text = {"type": "text", "text": "Yes."}
    body = {"messages": [said(thinking(SEAL), thinking("its own"), text)], "max_tokens": 9}
    out = json.loads(without_seals(json.dumps(body).encode(), "anthropic-messages"))
    assert out == {"messages": [said(thinking("its own"), text)], "max_tokens": 9}


def test_a_turn_of_nothing_else_goes_and_one_that_came_empty_stays():
    redacted = {"type": "redacted_thinking", "data": SEAL}
    empty = {"role": "user", "content": []}
    body = {"messages": [empty, said(redacted)]}
    assert json.loads(without_seals(json.dumps(body).encode(), "anthropic-messages")) == {"messages": [empty]}


def test_a_sealed_item_of_the_responses_api_is_left_out():
    own, ours = ({"type": "reasoning", "encrypted_content": text} for text in ("its own", "understudy.made-up"))
    body = {"input": [own, ours, {"role": "user", "content": "Go on"}]}
    out = json.loads(without_seals(json.dumps(body).encode(), "openai-responses"))
    assert out["input"] == [own, {"role": "user", "content": "Go on"}]


def test_dialects_in_which_we_seal_nothing_are_not_looked_at():
    assert without_seals(b"understudy: {", "openai-chat") == b"understudy: {"


def test_a_body_that_is_no_json_is_malformed():
    with pytest.raises(Malformed):
        without_seals(b"understudy: {", "anthropic-messages")


def test_a_key_in_the_url_is_not_shown():
    found = door("/v1beta/models/m:generateContent", "key=made-up-secret")
    assert found.key == "made-up-secret"
    assert "made-up-secret" not in repr(found)
