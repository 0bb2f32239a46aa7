"""The description is true: schemathesis asks a running gateway all that it says, and much that it forbids."""

import zoneinfo
from pathlib import Path

import msgspec
import pytest
import schemathesis
from openapi_spec_validator import validate
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from tests.gateway.administration.filled import ADMIN, filled
from understudy.gateway.administration import openapi
from understudy.gateway.administration.examples import ANSWERS
from understudy.gateway.administration.table import ENDPOINTS

EXAMPLES = 5
"""Of each operation and kind. `ask` with more of them, and other seeds, is for longer looks."""

ZONES = zoneinfo.available_timezones()


def known_zones(_context, case):
    """Which time zones there are is not for a schema to say."""
    budgets = case.body.get("budgets") if isinstance(case.body, dict) else None
    texts = [budget for budget in budgets if isinstance(budget, str)] if isinstance(budgets, list) else []
    words = [word for text in texts for word in text.split(",")]
    return all(word[5:] in ZONES for word in words if word.startswith("zone="))


def ask(url, examples, seed=None):
    """What schemathesis finds wrong, and how many cases it tried."""
    values = {
        "base-url": url,
        "headers": {"Authorization": ADMIN["authorization"]},
        "generation": {"max-examples": examples, "deterministic": seed is None, "database": "none"},
        "continue-on-failure": True,
        "workers": 1,
        "phases": {"stateful": {"max-steps": 4}},
    }
    if seed is not None:
        values["seed"] = seed
    config = SchemathesisConfig.from_dict(values)
    schema = schemathesis.openapi.from_url(f"{url}/admin/openapi.json", headers=ADMIN, config=config)
    schema.hook("filter_case")(known_zones)
    wrong, cases, asked = [], 0, set()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError | events.FatalError):
            wrong.append(repr(event))
        if isinstance(event, events.ScenarioFinished):
            cases += len(event.recorder.cases)
            asked.add(event.recorder.label)
            wrong += [
                f"{event.recorder.cases[identity].value.as_curl_command()}: {check.name}: {check.failure_info.failure}"
                for identity, checks in event.recorder.checks.items()
                for check in checks
                if check.failure_info is not None
            ]
    return wrong, cases, asked


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with filled(tmp_path_factory.mktemp("admin")) as running:
        yield running


def test_the_document_is_valid_openapi():
    validate(openapi.document())


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda one: one.name)
def test_examples_have_the_shapes_that_they_are_examples_of(endpoint):
    if endpoint.name != "openapi":
        assert msgspec.convert(ANSWERS[endpoint.name], endpoint.answer)
    assert (endpoint.example is None) == (endpoint.body is None)
    if endpoint.body is not None:
        assert msgspec.convert(endpoint.example, endpoint.body)


def test_every_field_and_parameter_that_is_asked_for_is_described():
    document = openapi.document()
    operations = [one for methods in document["paths"].values() for one in methods.values()]
    for operation in operations:
        assert all(parameter["description"] for parameter in operation.get("parameters", ()))
        if "requestBody" in operation:
            name = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rsplit("/", 1)[1]
            fields = document["components"]["schemas"][name]["properties"]
            assert all(field.get("description") for field in fields.values()), name


def test_every_error_of_every_operation_is_in_the_list_of_errors():
    page = (Path(__file__).parents[3] / "docs/reference/http.md").read_text()
    codes = {code for endpoint in ENDPOINTS for found in endpoint.refusals().values() for code in found}
    assert not [code for code in codes if f"`{code}`" not in page]


@pytest.mark.timeout(300)
def test_the_running_gateway_does_as_the_document_says(gateway):
    wrong, cases, asked = ask(gateway.url, EXAMPLES)
    assert not wrong, "\n\n".join(wrong[:10])
    assert cases > 1000
    # The way to the document itself is not asked again.
    assert asked >= {f"{one.method} {one.path}" for one in ENDPOINTS if one.name != "openapi"}
