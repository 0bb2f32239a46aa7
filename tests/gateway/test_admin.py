"""What operators see of targets and may do to them."""

import pytest

from tests.gateway.test_fail_over import BOTH, route
from tests.running import Running

ROUTES = route("first/m", "second/ok")


@pytest.fixture
def gateway():
    with Running(BOTH + ROUTES) as running:
        yield running


def states(gateway):
    return {target["target"]: target for target in gateway.http.get("/admin/targets").json()["targets"]}


def command(gateway, name, **more):
    return gateway.http.post("/admin/targets", json={"target": "first/m", "command": name, **more})


def events(gateway, since=0):
    return gateway.http.get("/admin/events", params={"since": since}).json()["events"]


def test_a_target_in_good_health_says_so(gateway):
    gateway.a.switch("m", "ok")
    gateway.chat("r")
    target = states(gateway)["first/m"]
    assert target["state"] == "ready"
    assert target["cooldown"] is None
    assert target["in_flight"] == 0
    assert target["first_content"]["load"] > 0


def test_a_cooldown_is_shown_with_its_reason_and_its_end_and_is_an_event(gateway):
    gateway.a.switch("m", "rate-limit:retry=30")
    gateway.chat("r")
    target = states(gateway)["first/m"]
    assert target["state"] == "cooling down"
    assert target["cooldown"]["why"] == "too many requests"
    assert 25 < target["cooldown"]["seconds_left"] <= 30
    found = events(gateway)
    assert [(event["what"], event["target"]) for event in found if event["what"] == "cooldown"] == [
        ("cooldown", "first/m")
    ]
    assert events(gateway, found[-1]["number"]) == []


@pytest.mark.parametrize(("name", "more"), [("drain", {}), ("cool", {"seconds": 60}), ("cool", {})])
def test_an_operator_takes_a_target_out_and_puts_it_back(gateway, name, more):
    gateway.a.switch("m", "ok")
    assert command(gateway, name, **more).status_code == 200
    assert gateway.chat("r").headers["x-understudy-target"] == "second/ok"
    assert states(gateway)["first/m"]["state"] in ("drained", "cooling down")
    assert command(gateway, "reopen").status_code == 200
    assert gateway.chat("r").headers["x-understudy-target"] == "first/m"
    assert events(gateway)[-1]["what"] == "reopened"


def test_a_drained_target_is_not_tried_even_when_nothing_else_is_left():
    with Running(BOTH + route("first/m")) as gateway:
        gateway.a.switch("m", "ok")
        assert command(gateway, "drain").status_code == 200
        response = gateway.chat("r")
        assert response.status_code == 503
        assert "out of service" in response.json()["error"]["message"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"target": "no/where", "command": "drain"}', 404),
        (b'{"target": "first/m", "command": "explode"}', 400),
        (b'{"target": "first/m", "command": "cool", "seconds": -1}', 400),
        (b"nonsense", 400),
    ],
)
def test_a_command_that_makes_no_sense_says_why(gateway, body, status):
    response = gateway.http.post("/admin/targets", content=body, headers={"content-type": "application/json"})
    assert response.status_code == status
    assert response.json()["error"]["message"]


def test_clients_keys_do_not_open_it():
    keys = '[server]\nkeys = ["client"]\nadmin_keys = ["boss"]\n'
    with Running(keys + BOTH + ROUTES) as gateway:
        get = gateway.http.get
        assert get("/admin/targets").status_code == 401
        assert get("/admin/targets", headers={"authorization": "Bearer client"}).status_code == 401
        assert get("/admin/targets", headers={"authorization": "Bearer boss"}).status_code == 200
        assert gateway.chat("r", headers={"authorization": "Bearer boss"}).status_code == 401


def test_without_an_admin_key_nobody_may():
    with Running('[server]\nkeys = ["client"]\n' + BOTH + ROUTES) as gateway:
        response = gateway.http.get("/admin/targets", headers={"authorization": "Bearer client"})
        assert response.status_code == 403
        assert "server.admin_keys" in response.json()["error"]["message"]
