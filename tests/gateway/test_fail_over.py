"""What a client hears when targets fail, who is skipped afterwards, and that no secret is ever in it."""

import logging
import time

import pytest

from tests.gateway.sockets import Provider, answer
from tests.running import TWO, Running, read

BOTH = TWO.replace("cooldown = false\n", "")


def route(*targets, name="r", more=""):
    return f'[routes."{name}"]\ntargets = [{", ".join(repr(target) for target in targets)}]\n{more}\n'


def targets(exchange):
    return [(attempt.target, attempt.fault and attempt.fault.kind, attempt.action) for attempt in exchange.attempts]


def test_when_all_fail_the_message_names_each_target_and_why_and_the_first_cause_counts():
    with Running(TWO + route("first/overloaded", "first/internal", "second/not-found")) as gateway:
        response = gateway.chat("r")
        assert response.status_code == 503
        error = response.json()["error"]
        assert error["code"] == "overloaded"
        assert error["message"].startswith("No target could answer. first/overloaded: the provider is overloaded (HTTP")
        for name in ("first/internal: the provider failed inside", "second/not-found: the provider has no such model"):
            assert name in error["message"]
        assert response.headers["x-understudy-attempts"] == "3"
        assert gateway.exchange(response).outcome == "failed"


def test_on_total_failure_it_is_said_when_to_come_back():
    config = BOTH + route("first/rate-limit:retry=7", "second/rate-limit:retry=30")
    with Running(config) as gateway:
        response = gateway.chat("r")
        assert response.status_code == 429
        assert 5 <= int(response.headers["retry-after"]) <= 7


def test_the_providers_own_words_go_to_a_client_who_has_no_other_target():
    with Running(TWO + route("first/rate-limit:retry=20")) as gateway:
        response = gateway.chat("r")
        assert response.status_code == 429
        assert response.json()["error"]["code"] == "rate_limit_exceeded"
        assert response.headers["retry-after"] == "20"


PRIVATE = ["invalid-key", "invalid-key-mistral", "account-closed", "ip-not-authorized", "insufficient-quota",
           "payment-required", "spend-limit"]  # fmt: skip
SAID = ("sk-simul", "platform.openai.com", "plan and billing", "has been deactivated", "allowlist", "credits.")


@pytest.mark.parametrize("behaviour", PRIVATE)
def test_what_a_provider_says_of_the_owners_account_stays_with_the_owner(behaviour, caplog):
    caplog.set_level(logging.DEBUG)
    with Running(
        TWO + route(f"first/{behaviour}") + route(f"first/{behaviour}", "second/not-found", name="two")
    ) as gateway:
        for name in ("r", "two"):
            response = gateway.chat(name)
            assert response.status_code in (429, 502)
            for private in SAID:
                assert private not in response.text
                assert private not in caplog.text
    assert f"first/{behaviour}" in caplog.text, "the owner is told"


def test_no_key_is_in_any_answer_log_or_label(caplog):
    caplog.set_level(logging.DEBUG)
    mine, theirs = "sk-client-0123456789", "sk-provider-0123456789"
    said = f'{{"error":{{"message":"Incorrect API key provided: {theirs}","code":"invalid_api_key"}}}}'.encode()
    with Provider(answer(b"401 Unauthorized", body=said)) as provider:
        config = (
            f'[server]\nkeys = ["{mine}"]\n[providers.box]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n'
            f'api_key = "{theirs}"\n[providers.env]\ndialect = "openai-chat"\nbase_url = "{provider.url}"\n'
            'api_key = "env:BOX_KEY"\n' + route("box/m", "env/m")
        )
        with Running(config, {"BOX_KEY": theirs}) as gateway:
            response = gateway.chat("r", headers={"authorization": f"Bearer {mine}"})
            assert response.status_code == 502
            assert theirs.encode() in provider.calls[-1][0]
            providers = gateway.gateway.routing.providers
            labels = [providers[name].key_label for name in ("box", "env")]
            assert gateway.chat("r").status_code == 401
    assert labels[1] == "env:BOX_KEY"
    assert len(labels[0]) == 8
    for text in (response.text, str(response.headers), caplog.text, *labels):
        assert theirs not in text
        assert theirs[-10:] not in text
        assert mine not in text


# -- cooldowns --------------------------------------------------------------------------------------------------------


def test_a_target_that_failed_is_skipped_until_its_time_and_then_tried_again():
    with Running(BOTH + route("first/rate-limit:retry=1", "second/ok", more="retries = 0")) as gateway:
        gateway.a.switch("rate-limit:retry=1", "rate-limit-reset")
        assert targets(gateway.exchange(gateway.chat("r")))[0] == (
            "first/rate-limit:retry=1",
            "rate_limit",
            "fail_over",
        )
        time.sleep(0.02)  # the reset is 12 ms away
        gateway.a.switch("rate-limit:retry=1", "rate-limit:retry=9")
        first = gateway.exchange(gateway.chat("r"))
        second = gateway.exchange(gateway.chat("r"))
    assert [kind for _, kind, _ in targets(first)] == ["rate_limit", None], "its time was over"
    assert targets(second) == [("second/ok", None, "answered")], "now it is not"


def test_an_answer_ends_a_cooldown():
    with Running(BOTH + route("first/m")) as gateway:
        gateway.a.switch("m", "overloaded")
        assert gateway.chat("r").status_code == 503
        assert gateway.call(lambda: len(gateway.gateway.health.cooldowns.running)) == 1
        gateway.a.switch("m", "ok")
        assert gateway.chat("r").status_code == 200, "the least bad target is tried even while it cools down"
        assert gateway.call(lambda: len(gateway.gateway.health.cooldowns.running)) == 0


def test_a_bad_key_keeps_every_model_of_that_key_out():
    config = BOTH + route("first/m", "second/ok") + route("first/other", "second/ok", name="other")
    with Running(config) as gateway:
        gateway.a.switch("m", "invalid-key")
        gateway.a.switch("other", "ok")
        assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
        assert gateway.chat("other").headers["x-understudy-target"] == "second/ok"
        assert gateway.a.calls("other") == 0


def test_what_a_client_did_wrong_keeps_nobody_out():
    with Running(BOTH + route("first/malformed", "second/ok")) as gateway:
        for _ in range(2):
            response = gateway.chat("r")
            assert response.status_code == 400
            assert response.headers["x-understudy-target"] == "first/malformed"
        assert gateway.call(lambda: len(gateway.gateway.health.cooldowns.running)) == 0


def test_substitutes_stand_in_for_models_without_a_route():
    config = BOTH + 'substitutes = ["second/ok"]\n'
    with Running(config) as gateway:
        response = gateway.chat("first/overloaded")
        assert response.status_code == 200
        assert response.headers["x-understudy-target"] == "second/ok"
        assert gateway.chat("second/ok").headers["x-understudy-attempts"] == "1"


# -- retries, clocks --------------------------------------------------------------------------------------------------


def test_a_passing_failure_is_asked_again_once_at_the_same_target():
    with Running(TWO + route("first/fail-first:n=1,like=internal", "second/ok", more="retries = 1")) as gateway:
        exchange = gateway.exchange(gateway.chat("r"))
    assert [(kind, action) for _, kind, action in targets(exchange)] == [("internal", "retry"), (None, "answered")]


def test_retries_are_counted_for_each_target():
    with Running(TWO + route("first/internal", "second/internal", more="retries = 2")) as gateway:
        response = gateway.chat("r")
        exchange = gateway.exchange(response)
    assert response.status_code == 502
    assert [target for target, _, _ in targets(exchange)] == ["first/internal"] * 3 + ["second/internal"] * 3


def test_after_the_deadline_no_further_target_is_asked():
    config = TWO + route("first/silent", "second/ok", more="deadline = 0.2")
    with Running(config) as gateway:
        exchange = gateway.exchange(gateway.chat("r"))
    assert [(target, action) for target, _, action in targets(exchange)] == [("first/silent", "surface")]


def test_the_deadline_holds_for_the_call_as_a_whole():
    with Running(TWO + route("first/drip:between=0.1,tokens=20", more="deadline = 0.3")) as gateway:
        started = time.monotonic()
        gateway.chat("r", stream=True)
        assert time.monotonic() - started < 1


def test_a_stream_that_breaks_ends_with_an_error_and_says_so_only_once():
    with Running(TWO + route("first/cut", "second/ok", more='mid_stream = "error"')) as gateway:
        response = gateway.chat("r", stream=True)
        assert gateway.exchange(response).outcome == "broken"
    content, finish, error, done = read(response.text)
    assert content
    assert finish is None
    assert not done
    assert "first/cut" in error["message"]
    assert response.text.count('"error"') == 1
    assert response.text.endswith("}\n\n")
