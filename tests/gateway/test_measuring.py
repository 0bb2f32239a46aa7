"""Figures of a running gateway, for Prometheus; and a line of JSON for each exchange."""

import json
import subprocess
import sys

from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running
from understudy.gateway.measuring import measure


def test_what_happened_can_be_scraped():
    with Running(BOTH + route("first/overloaded", "second/ok")) as gateway:
        assert gateway.http.get("/metrics").status_code == 501
        gateway.call(lambda: measure(gateway.gateway, {}))
        gateway.exchange(gateway.chat("r"))
        text = gateway.http.get("/metrics").text
    for line in (
        'understudy_exchanges_total{dialect="openai-chat",outcome="answered",route="r"} 1.0',
        'understudy_faults_total{kind="overloaded",target="first/overloaded"} 1.0',
        'understudy_attempts_total{reaction="answered",target="second/ok"} 1.0',
        'understudy_target_state{state="cooling down",target="first/overloaded"} 1.0',
    ):
        assert line in text


def test_tokens_of_whole_answers_are_counted_without_a_ledger_too():
    with Running(BOTH + route("second/ok")) as gateway:
        gateway.call(lambda: measure(gateway.gateway, {}))
        used = gateway.chat("r").json()["usage"]
        text = gateway.http.get("/metrics").text
    assert f'understudy_tokens_total{{kind="output",target="second/ok"}} {used["completion_tokens"]}.0' in text


def test_each_exchange_is_a_line_where_that_is_wanted(capsys):
    with Running("[server]\nlog_exchanges = true\n" + BOTH + route("first/overloaded", "second/ok")) as gateway:
        gateway.call(lambda: measure(gateway.gateway, {}))
        name = gateway.exchange(gateway.chat("r")).id
        assert gateway.until(lambda: gateway.gateway.metrics is not None)
    (line,) = [json.loads(line) for line in capsys.readouterr().out.splitlines() if name in line]
    assert line["outcome"] == "answered"
    assert [attempt["target"] for attempt in line["attempts"]] == ["first/overloaded", "second/ok"]


def test_the_gateway_alone_brings_no_database():
    code = "import sys, understudy.gateway.app, understudy.gateway.assemble; sys.exit('sqlalchemy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


def test_an_observer_that_fails_keeps_nothing_from_the_others(caplog):
    with Running(BOTH + route("second/ok")) as gateway:
        seen = []

        def fails(_exchange):
            raise ValueError("odd")

        gateway.call(lambda: gateway.gateway.observers.extend([fails, seen.append]))
        for _ in range(3):
            gateway.exchange(gateway.chat("r"))
        assert gateway.until(lambda: len(seen) == 3)
    assert seen == gateway.exchanges
    assert "could not be told of" in caplog.text


def test_what_is_over_when_the_gateway_closes_is_told_of():
    with Running(BOTH + route("second/ok")) as gateway:
        one = gateway.exchange(gateway.chat("r"))
        gateway.call(lambda: gateway.gateway._ended.append((one, None, None)))
    assert gateway.exchanges == [one, one]
