"""Targets that are left alone, let back in, and not flooded: what providers get to see of many calls."""

import concurrent.futures

import pytest

from tests.gateway.test_fail_over import BOTH, route
from tests.running import TWO, Running
from understudy import clock
from understudy.resilience import Place

PATIENT = BOTH.replace("0.4", "5").replace("retries = 0", "retries = 1")


def many(gateway, count, model="r", **more):
    with concurrent.futures.ThreadPoolExecutor(min(count, 32)) as pool:
        return [call.result() for call in [pool.submit(gateway.chat, model, **more) for _ in range(count)]]


def seen(sim):
    """How many calls a simulated provider has had."""
    return sum(request.method == "POST" for request in sim.requests)


def test_a_provider_that_is_down_gets_few_calls_and_one_probe_at_a_time():
    with Running(PATIENT.replace("retries = 1", "retries = 0") + route("first/internal", "second/ok")) as gateway:
        for _ in range(60):
            assert gateway.chat("r").status_code == 200
        # five failures open the breaker; it stays open for five seconds, which this test does not take
        assert seen(gateway.a) <= 6


def test_a_probe_that_succeeds_brings_the_first_target_back():
    with Running(PATIENT.replace("retries = 1", "retries = 0") + route("first/m", "second/ok")) as gateway:
        gateway.a.switch("m", "internal")
        for _ in range(8):
            assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
        gateway.a.switch("m", "ok")
        health = gateway.gateway.health

        def over():
            for breaker in health.breakers.troubled.values():
                breaker.until = min(breaker.until, clock.monotonic())

        gateway.call(over)
        assert gateway.chat("r").headers["x-understudy-target"] == "first/m"
        assert gateway.chat("r").headers["x-understudy-target"] == "first/m"


def test_the_one_call_that_tries_a_target_again_tries_it_once():
    with Running(PATIENT + route("first/internal", "second/ok")) as gateway:
        for _ in range(8):
            assert gateway.chat("r").status_code == 200
        health, before = gateway.gateway.health, seen(gateway.a)

        def over():
            for breaker in health.breakers.troubled.values():
                breaker.until = min(breaker.until, clock.monotonic())

        gateway.call(over)
        for _ in range(4):
            assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
        assert seen(gateway.a) == before + 1


def test_when_nobody_is_left_a_call_fails_at_once_and_says_when_to_come_back():
    with Running(BOTH + route("first/rate-limit:retry=30")) as gateway:
        assert gateway.chat("r").status_code == 429
        assert gateway.chat("r").status_code == 429  # one more try, since there is nobody else
        tries = seen(gateway.a)
        for response in many(gateway, 10):
            assert response.status_code == 429
            assert 20 <= int(response.headers["retry-after"]) <= 30
            assert "left alone" in response.json()["error"]["message"]
        assert seen(gateway.a) <= tries + 1


def test_load_that_moves_comes_at_a_rate_that_grows():
    with Running(PATIENT + route("first/unreachable", "second/ok")) as gateway:
        gateway.call(gateway.gateway.health.limiter._targets.clear)
        began = clock.monotonic()
        responses = many(gateway, 30)
        took = clock.monotonic() - began
        assert {response.status_code for response in responses} == {200}
        assert took > 0.8  # ten at once, and ten in the second after


def test_a_used_up_quota_is_not_asked_for_more():
    place = Place("first", "ok", "", "")
    with Running(PATIENT + route("first/ok", "second/ok")) as gateway:
        target = gateway.gateway.routing.routes["r"].targets[0]
        place = target.place
        headers = [
            (b"x-ratelimit-limit-requests", b"10"),
            (b"x-ratelimit-remaining-requests", b"0"),
            (b"x-ratelimit-reset-requests", b"60s"),
        ]
        gateway.call(lambda: gateway.gateway.health.quotas.heard(place, headers, clock.monotonic()))
        assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
        assert not seen(gateway.a)


def test_a_busy_target_is_waited_for_when_there_is_no_other():
    with Running(PATIENT + route("first/ok")) as gateway:
        place = gateway.gateway.routing.routes["r"].targets[0].place
        headers = [
            (b"x-ratelimit-limit-requests", b"100"),
            (b"x-ratelimit-remaining-requests", b"0"),
            (b"x-ratelimit-reset-requests", b"30s"),
        ]
        gateway.call(lambda: gateway.gateway.health.quotas.heard(place, headers, clock.monotonic()))
        began = clock.monotonic()
        assert gateway.chat("r").status_code == 200
        assert clock.monotonic() - began > 0.2


@pytest.mark.parametrize("stream", [False, True])
def test_every_place_is_given_back(stream):
    with Running(TWO + route("first/internal", "second/cut", "second/ok")) as gateway:
        many(gateway, 12, stream=stream)
        limiter = gateway.gateway.health.limiter
        assert gateway.until(lambda: not any(target.flying for target in limiter._targets.values()))
