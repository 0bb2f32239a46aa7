"""The description is true: schemathesis asks a running gateway all that it says, and much that it forbids."""

import zoneinfo

import pytest
import schemathesis
from openapi_spec_validator import validate
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

from tests.gateway.administration.filled import ADMIN, filled
from understudy.gateway.administration import openapi
from understudy.gateway.administration.table import ENDPOINTS

EXAMPLES = 8
"""Of each operation and kind. `ask` with more of them, and other seeds, is for longer looks."""

ZONES = zoneinfo.available_timezones()


def known_zones(_context, case):
    """Which time zones there are is not for a schema to say."""
    body = case.body if isinstance(case.body, dict) else {}
    budgets = body.get("budgets", ())
    words = [word for budget in budgets if isinstance(budget, str) for word in budget.split(",")] if budgets else []
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


@pytest.mark.timeout(300)
def test_the_running_gateway_does_as_the_document_says(gateway):
    wrong, cases, asked = ask(gateway.url, EXAMPLES)
    assert not wrong, "\n\n".join(wrong[:10])
    assert cases > 1000
    # The way to the document itself is not asked again.
    assert asked >= {f"{one.method} {one.path}" for one in ENDPOINTS if one.name != "openapi"}
