"""What an answer out of the cache leaves behind: a record without attempts or cost, what it saved, figures."""

import json

import pytest

from tests.cli import process
from tests.gateway.sockets import ANSWER, Provider, answer
from tests.running import Running
from understudy.gateway import recording
from understudy.gateway.measuring import measure
from understudy.gateway.settings import Ledger

USAGE = b'"usage":{"prompt_tokens":1000000,"completion_tokens":0,"total_tokens":1000000},"id"'
CONFIG = """
[server]
log_exchanges = true
[cache]
where = "memory"
patience = 5
[ledger]
url = "{ledger}"
[providers.openai]
base_url = "{url}"
api_key = "x"
[routes.r]
targets = ["openai/gpt-4o-mini"]
cache = "always"
store = "bodies"
"""


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(configuration, ids of a miss, a hit and a bypass, /metrics, the responses)"""
    folder = tmp_path_factory.mktemp("hits")
    file = folder / "understudy.toml"
    provider = Provider(answer(body=ANSWER.replace(b'"id"', USAGE)))
    text = CONFIG.replace("{url}", provider.url).replace("{ledger}", f"{folder}/l.sqlite")
    file.write_text(text)
    kept = recording.opened(Ledger(), (f"sqlite:///{folder}/l.sqlite", folder))
    with provider, Running(text) as gateway:
        gateway.call(lambda: setattr(gateway.gateway, "recorder", recording.Recorder(kept, Ledger())))
        gateway.call(lambda: measure(gateway.gateway, {}))
        responses = []
        for headers in ({}, {}, {"cache-control": "no-store"}):
            responses.append(gateway.chat("r", headers=headers))
            gateway.exchange(responses[-1])
            assert gateway.until(lambda: not gateway.gateway.cache._waiting)
        figures = gateway.http.get("/metrics").text
        assert len(provider.calls) == 2
    state = kept.stop()
    assert (state.lost, state.error) == ({}, None)
    return file, [one.headers["x-understudy-exchange"] for one in responses], figures


def facts(file, *arguments):
    code, out, errors = process.run(*arguments, "-c", file, "--json")
    assert code == 0, errors
    return json.loads(out)


def test_a_hit_is_an_exchange_without_attempts_that_cost_nothing(written):
    file, (miss, hit, _), _ = written
    first, second = (facts(file, "log", one) for one in (miss, hit))
    assert first["exchange"]["cost"][0] > 0
    exchange = second["exchange"]
    assert (exchange["outcome"], exchange["status"], exchange["target"]) == ("answered", 200, "cache")
    assert exchange["attempts"] == 0
    assert exchange["cost"][0] == 0
    assert exchange["tokens"][:2] == [0, 0]
    assert second["attempts"] == []
    (event,) = [json.loads(value) for event in second["events"] for value in event if str(value).startswith("{")]
    assert event["exchange"] == miss
    assert event["saved_usd"] == pytest.approx(first["exchange"]["cost"][0])
    assert any("Fine." in str(body) for body in second["bodies"])


def test_usage_shows_hits_as_what_they_are(written):
    file, _, _ = written
    rows = {row["group"]["target"]: row for row in facts(file, "usage", "--by", "target")}
    assert {name: row["exchanges"] for name, row in rows.items()} == {"cache": 1, "openai/gpt-4o-mini": 2}
    assert (rows["cache"]["cost_usd"], rows["cache"]["cost_unknown"], rows["cache"]["usage_unknown"]) == (0, 0, 0)


def test_people_see_whose_answer_it_was_and_what_it_saved(written):
    file, (miss, hit, _), _ = written
    code, out, errors = process.run("log", hit, "-c", file, environ={"COLUMNS": "200"})
    assert code == 0, errors
    assert miss in out
    assert "saved $0.15" in out
    assert "cost $0.0000" in out
    assert "r -> cache" in process.run("log", "-c", file)[1]


def test_figures_tell_hits_misses_and_what_was_saved(written):
    _, _, figures = written
    for line in (
        'understudy_cache_total{result="hit",route="r"} 1.0',
        'understudy_cache_total{result="miss",route="r"} 1.0',
        'understudy_cache_total{result="bypass",route="r"} 1.0',
        'understudy_cache_saved_usd_total{route="r"} 0.15',
        "understudy_cache_failed 0.0",
        "understudy_cache_lost 0.0",
        'understudy_attempts_total{reaction="answered",target="openai/gpt-4o-mini"} 2.0',
    ):
        assert line in figures


def test_a_line_of_the_log_says_it_too(capsys, tmp_path):
    provider = Provider()
    text = CONFIG.replace("{url}", provider.url).replace("{ledger}", "off")
    with provider, Running(text) as gateway:
        gateway.call(lambda: measure(gateway.gateway, {}))
        gateway.exchange(gateway.chat("r"))
        assert gateway.until(lambda: not gateway.gateway.cache._waiting)
        gateway.exchange(gateway.chat("r"))
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["cache"] for line in found] == ["miss", "hit"]
    assert [len(line["attempts"]) for line in found] == [1, 0]
