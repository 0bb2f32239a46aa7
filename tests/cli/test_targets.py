"""`understudy targets`, `target`, `events` and `explain` with a gateway running."""

import json
import signal
import time

import pytest

from tests.cli.process import Process, run
from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running


@pytest.fixture
def gateway():
    with Running(BOTH + route("first/m", "second/ok")) as running:
        running.a.switch("m", "ok")
        yield running


def understudy(gateway, *arguments, **environ):
    return run(*arguments, "--url", gateway.url, environ=environ)


def test_all_in_good_health_is_exit_code_0(gateway):
    gateway.chat("r")
    code, out, errors = understudy(gateway, "targets")
    assert code == 0, errors
    assert "first/m" in out
    assert "ready" in out


def test_one_that_is_not_ready_is_exit_code_1_and_says_why(gateway):
    gateway.a.switch("m", "rate-limit:retry=40")
    gateway.chat("r")
    code, out, _ = understudy(gateway, "targets", "--json")
    assert code == 1
    states = {target["target"]: target for target in json.loads(out)["targets"]}
    assert states["first/m"]["state"] == "cooling down"
    assert states["first/m"]["cooldown"]["why"] == "too many requests"


def test_an_operator_drains_and_reopens(gateway):
    code, out, errors = understudy(gateway, "target", "drain", "first/m")
    assert code == 0, errors
    assert "drained" in out
    assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
    assert understudy(gateway, "target", "cool", "second/ok", "--seconds", "60")[0] == 0
    assert understudy(gateway, "target", "reopen", "first/m")[0] == 0
    assert gateway.chat("r").headers["x-understudy-target"] == "first/m"
    assert understudy(gateway, "target", "drain", "no/where")[0] == 1
    code, out, _ = understudy(gateway, "events")
    assert code == 0
    assert "drained" in out
    assert "reopened" in out


def test_events_are_followed_until_ctrl_c(gateway):
    with_url = ["--url", gateway.url]
    process = Process("events", "--follow", *with_url)
    try:
        time.sleep(1.5)
        gateway.call(lambda: gateway.gateway.health.drain(gateway.gateway.routing.routes["r"].targets[0].place))
        assert "drained" in process.process.stdout.readline()
        process.stop(signal.SIGINT)
        assert process.finish()[0] == 0
    finally:
        process.__exit__()


def test_who_cannot_ask_is_told_why():
    code, _, errors = run("targets", "--url", "http://127.0.0.1:9")
    assert code == 2
    assert "understudy serve" in errors
    with Running('[server]\nkeys = ["client-key"]\nadmin_keys = ["boss-key"]\n' + BOTH + route("first/m")) as gateway:
        code, out, errors = understudy(gateway, "targets", UNDERSTUDY_ADMIN_KEY="wrong-key")
        assert code == 2
        assert "wrong-key" not in out + errors
        assert understudy(gateway, "targets", UNDERSTUDY_ADMIN_KEY="boss-key")[0] == 0


def test_explain_says_how_the_targets_are(gateway, tmp_path):
    file = tmp_path / "understudy.toml"
    file.write_text(
        (BOTH + route("first/m", "second/ok", more="hedge = true"))
        .replace("{a}", gateway.a.url)
        .replace("{b}", gateway.b.url)
    )
    gateway.a.switch("m", "rate-limit:retry=40")
    gateway.chat("r")
    code, out, errors = understudy(gateway, "explain", "r", "-c", file)
    assert code == 0, errors
    assert "now: cooling down: too many requests" in out
    assert "now: ready" in out
    assert "hedge: True" in out
    facts = json.loads(understudy(gateway, "explain", "r", "-c", file, "--json")[1])
    assert facts["settings"] == {"hedge": True}
    assert "No running gateway" in run("explain", "r", "-c", file, "--url", "http://127.0.0.1:9")[1]
