"""A second attempt beside a silent first: seldom, only where a route asks for it, and with one answer to the client."""

import pytest

from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running, read
from understudy import clock

CALM = BOTH.replace("0.4", "5")


def used_to(gateway, target, seconds=0.06, answers=40, calls=1000):
    """As if `target` had always answered that fast, and enough calls had been made for some to be doubled."""
    health = gateway.gateway.health

    def remember():
        place = next(one.place for one in gateway.gateway.routing.known() if one.name == target)
        now = clock.monotonic()
        health.latencies.started(place, now)
        for _ in range(answers):
            health.latencies.answered(place, seconds, now)
        health.latencies.ended(place)
        for _ in range(calls):
            health.hedges.wait(None, clock.monotonic(), stateful=False)

    gateway.call(remember)


def attempts(exchange):
    return [(attempt.target, attempt.action) for attempt in exchange.attempts]


@pytest.mark.parametrize("stream", [False, True])
def test_who_answers_first_answers(stream):
    with Running(CALM + route("first/slow:first=2", "second/ok", more="hedge = true")) as gateway:
        used_to(gateway, "first/slow:first=2")
        response = gateway.chat("r", stream=stream)
        assert response.headers["x-understudy-target"] == "second/ok"
        assert response.headers["x-understudy-attempts"] == "2"
        if stream:
            content, finish, error, done = read(response.text)
            assert content.startswith("This is a simulated answer")
            assert content.count("This is") == 1
            assert (finish, error, done) == ("stop", None, True)
        exchange = gateway.exchange(response)
        assert attempts(exchange) == [("first/slow:first=2", "hedged"), ("second/ok", "answered")]
        limiter = gateway.gateway.health.limiter
        assert gateway.until(lambda: not any(target.flying for target in limiter._targets.values()))


def test_the_first_may_still_win():
    with Running(CALM + route("first/slow:first=0.3", "second/slow:first=2", more="hedge = true")) as gateway:
        used_to(gateway, "first/slow:first=0.3")
        response = gateway.chat("r", stream=True)
        assert response.headers["x-understudy-target"] == "first/slow:first=0.3"
        assert attempts(gateway.exchange(response)) == [
            ("second/slow:first=2", "hedged"),
            ("first/slow:first=0.3", "answered"),
        ]


def test_one_that_fails_leaves_the_other_to_answer():
    with Running(CALM + route("first/slow:first=0.5", "second/internal", more="hedge = true")) as gateway:
        used_to(gateway, "first/slow:first=0.5")
        response = gateway.chat("r")
        assert response.status_code == 200
        assert response.headers["x-understudy-target"] == "first/slow:first=0.5"


def test_nobody_hedges_unasked_nor_without_knowing_what_is_slow():
    slow = "first/slow:first=0.3"
    with Running(
        CALM + route(slow, "second/ok") + route(slow, "second/ok", name="new", more="hedge = true")
    ) as gateway:
        assert gateway.chat("new").headers["x-understudy-target"] == slow
        used_to(gateway, slow)
        assert gateway.chat("r").headers["x-understudy-target"] == slow


def test_at_most_one_call_in_a_hundred_is_doubled():
    with Running(CALM + route("first/slow:first=0.2", "second/ok", more="hedge = true")) as gateway:
        used_to(gateway, "first/slow:first=0.2", calls=290)
        found = [gateway.chat("r").headers["x-understudy-target"] for _ in range(8)]
        assert found.count("second/ok") == 2
