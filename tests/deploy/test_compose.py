"""The compose file: held to the Compose specification's own schema, and to the files it names."""

import importlib.resources
import json
import re
import tomllib
from pathlib import Path

import jsonschema
import pytest
import yaml

from understudy.gateway.config import load
from understudy.gateway.settings import BUILT_IN

FOLDER = Path(__file__).parents[2] / "deploy/compose"
TEXT = (FOLDER / "compose.yaml").read_text()
COMPOSE = yaml.safe_load(TEXT)
SERVICES = COMPOSE["services"]
GATEWAYS = {name: service for name, service in SERVICES.items() if name.startswith("gateway-")}
ENVIRON = {"UNDERSTUDY_KEY": "k", "UNDERSTUDY_ADMIN_KEY": "a", "REDIS_URL": "redis://:p@valkey:6379/0",
           "LEDGER_URL": "postgresql://u:p@postgres/understudy"}  # fmt: skip


def validate(document):
    place = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    schema = json.loads(place.read_text())
    jsonschema.validators.validator_for(schema)(schema).validate(document)


def seconds(text):
    amount, unit = re.fullmatch(r"(\d+)(s|m)", text).groups()
    return int(amount) * {"s": 1, "m": 60}[unit]


def test_it_is_what_the_specification_allows():
    validate(COMPOSE)


def test_the_specification_refuses_what_is_misspelt():
    with pytest.raises(jsonschema.ValidationError, match="helthcheck"):
        validate({**COMPOSE, "services": {"a": {"image": "b", "helthcheck": {}}}})


def test_what_services_name_is_there():
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", [])) <= SERVICES.keys(), name
        assert set(service.get("networks", [])) <= COMPOSE["networks"].keys(), name
        assert {one["source"] for one in service.get("configs", [])} <= COMPOSE["configs"].keys(), name
        assert set(service.get("secrets", [])) <= COMPOSE["secrets"].keys(), name
        assert {one.partition(":")[0] for one in service.get("volumes", [])} <= COMPOSE["volumes"].keys(), name
        for file in service.get("env_file", []):
            assert (FOLDER / f"{file}.example").is_file(), name
    for one in COMPOSE["configs"].values():
        assert (FOLDER / one["file"]).is_file(), one
    build = COMPOSE["x-gateway"]["build"]
    assert (FOLDER / build["context"] / build["dockerfile"]).is_file()


def test_only_services_with_a_health_check_are_waited_for():
    for name, service in SERVICES.items():
        awaited = service.get("depends_on", {})
        for other in awaited if isinstance(awaited, dict) else ():
            has = "healthcheck" in SERVICES[other] or other in GATEWAYS  # the image brings the gateways'
            assert has, f"{name} waits for {other}"


def test_every_variable_is_in_the_example_and_no_secret_has_a_value():
    wanted = set(re.findall(r"(?<!\$)\$\{(\w+)", TEXT))
    example = dict(re.findall(r"(?m)^(\w+)=(.*)$", (FOLDER / ".env.example").read_text()))
    optional = {"UNDERSTUDY_TAG", "GRAFANA_PORT"}
    assert wanted - optional == example.keys()
    secrets = {name for name in example if re.search("KEY|PASSWORD", name)}
    assert len(secrets) == 5
    for name in secrets:
        assert example[name] == ""
        assert f"${{{name}:?}}" in TEXT
        assert f"${{{name}:-" not in TEXT
    assert not re.findall(r"(?m)^\w+=.+", (FOLDER / "providers.env.example").read_text())


def test_nothing_is_published_beyond_this_machine_unless_it_is_asked_for():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}
    assert published.keys() == {"balancer", "grafana"}
    for port in (one for ports in published.values() for one in ports):
        assert re.match(r"(\$\{\w+:-)?127\.0\.0\.1", port)


def test_the_gateways_differ_in_nothing_but_their_data():
    one, other = (dict(service) for service in GATEWAYS.values())
    assert one.pop("volumes") != other.pop("volumes")
    assert one == other
    assert one["read_only"]
    assert one["cap_drop"] == ["ALL"]


def test_the_gateways_configuration_is_valid_and_shared():
    config = load(FOLDER / "understudy.toml", ENVIRON).config
    given = COMPOSE["x-gateway"]["environment"]
    assert given.keys() == ENVIRON.keys()
    assert (config.server.redis, config.ledger.url) == ("env:REDIS_URL", "env:LEDGER_URL")


def test_a_gateway_is_not_killed_before_it_has_lingered_drained_and_written_its_ledger():
    config = load(FOLDER / "understudy.toml", ENVIRON).config
    grace = seconds(COMPOSE["x-gateway"]["stop_grace_period"])
    assert grace >= config.server.linger + config.server.drain + 15


def test_the_balancer_asks_for_readiness_often_enough_and_buffers_nothing():
    text = (FOLDER / "haproxy.cfg").read_text()
    config = load(FOLDER / "understudy.toml", ENVIRON).config
    servers = re.findall(r"(?m)^ +server (\S+) (\S+)$", text)
    assert servers == [(name, f"{name}:{config.server.port}") for name in GATEWAYS]
    assert "option httpchk GET /readyz" in text
    asked, patience = (seconds(re.search(rf"{name} (\S+)", text)[1]) for name in ("inter", "timeout check"))
    assert asked + patience < config.server.linger
    assert seconds(re.search(r"timeout server (\S+)", text)[1]) > BUILT_IN["deadline"]


def test_prometheus_asks_every_gateway_with_the_admin_key():
    job = yaml.safe_load((FOLDER / "prometheus.yaml").read_text())["scrape_configs"][0]
    assert job["static_configs"] == [{"targets": [f"{name}:4000" for name in GATEWAYS]}]
    assert job["authorization"]["credentials_file"] == f"/run/secrets/{SERVICES['prometheus']['secrets'][0]}"
    assert COMPOSE["secrets"]["admin_key"] == {"environment": "UNDERSTUDY_ADMIN_KEY"}


def test_grafana_shows_the_dashboard_that_is_tested():
    assert COMPOSE["configs"]["dashboard"]["file"] == "../grafana/understudy.json"
    target = next(one["target"] for one in SERVICES["grafana"]["configs"] if one["source"] == "dashboard")
    boards = yaml.safe_load((FOLDER / "grafana/dashboards.yaml").read_text())["providers"][0]
    assert Path(target).parent == Path(boards["options"]["path"])
    source = yaml.safe_load((FOLDER / "grafana/datasource.yaml").read_text())["datasources"][0]
    assert source["url"] == "http://prometheus:9090"


def test_examples_are_valid_toml_without_their_comment_marks():
    text = (FOLDER / "understudy.toml").read_text()
    example = "\n".join(re.findall(r"(?m)^# (\[routes.*|targets = .*)$", text))
    assert tomllib.loads(example)["routes"]
