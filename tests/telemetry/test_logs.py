"""A line of log for each exchange: all that happened, nothing that was said."""

import json

from tests.telemetry.making import CANARY, attempt, exchange, frozen, switched
from understudy.canon import Fault
from understudy.telemetry.logs import Lines
from understudy.telemetry.over import OTHER, Names


def line(one, costs=()):
    lines = []
    names = Names(["openai/gpt-5", "anthropic/opus", "local/smollm2-135m"])
    Lines(lines.append, routes=Names(["gpt-5"]), targets=names).observe(one, costs)
    assert len(lines) == 1
    assert "\n" not in lines[0]
    return lines[0]


def test_a_line_says_what_became_of_a_call():
    with frozen():
        one = switched()
        told = json.loads(line(one, [None, 1500, None]))
    assert told["exchange"] == one.id
    assert (told["route"], told["outcome"], told["status"], told["seconds"]) == ("gpt-5", "answered", 200, 3.0)
    first, second, third = told["attempts"]
    assert (first["target"], first["fault"], first["fault_status"], first["reaction"]) == (
        "openai/gpt-5", "overloaded", 529, "fail_over",
    )  # fmt: skip
    assert second["cost_usd"] == 0.0015
    assert (third["way"], third["first_content"], third["after"]) == ("prefill", 0.5, 1.5)
    assert third["tokens"] == {"input": 107, "output": 20, "cached_read": 50, "cached_write": 0, "reasoning": 5}
    assert "cost_usd" not in third


def test_a_line_holds_no_content_and_no_secret():
    assert CANARY not in line(switched())
    made_up = f"openai/{CANARY}"
    failed = attempt(made_up, fault=Fault("no_such_model", 404, CANARY, CANARY, CANARY, CANARY), first=None)
    told = line(exchange(failed, route=made_up, outcome="failed"))
    assert CANARY not in told
    assert json.loads(told)["route"] == OTHER


def test_a_call_that_nobody_was_asked_for_has_a_line_too():
    one = exchange(outcome="client_left")
    one.status = one.ended = None
    told = json.loads(line(one))
    assert (told["attempts"], told["status"], told["seconds"]) == ([], None, None)
