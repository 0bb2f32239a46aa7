"""Files of the Model Openness Tool are read and written, and grade alike."""

import random

import pytest
import yaml

from tests.openness.build import family, part
from tests.openness.test_framework import draw
from understudy.openness import exchange
from understudy.openness.exchange import ExchangeError
from understudy.openness.framework import grade
from understudy.openness.register import register

FILE = """
framework: {name: Model Openness Framework, version: '1.0', date: '2024-12-15'}
release:
  name: Tiny
  version: 1B
  date: '2025-01-01'
  type: language
  architecture: transformer decoder
  producer: Somebody
  license:
    distribution: {name: Apache-2.0, path: ''}
    data: {name: null, path: null}
  components:
    - {name: Model architecture, description: words}
    - {name: Model parameters (Final), license: CC-BY-NC-4.0, license_path: x}
    - {name: Datasets, license: unlicensed}
"""


def test_a_file_is_read_as_the_tool_reads_it():
    name, release = exchange.read(FILE)
    assert name == "Tiny"
    assert release.components == {"architecture": None, "parameters": "CC-BY-NC-4.0", "datasets": "unlicensed"}
    assert release.licences == {"distribution": "Apache-2.0"}
    assert {row.component: row.status for row in grade(release).rows if row.status != "missing"} == {
        "architecture": "counts",
        "parameters": "not open",
        "datasets": "unlicensed",
    }


def test_an_empty_set_of_licences_may_be_a_list():
    assert (
        exchange.read(
            FILE.replace(
                "  license:\n    distribution: {name: Apache-2.0, path: ''}\n    data: {name: null, path: null}\n",
                "  license: []\n",
            )
        )[1].licences
        == {}
    )


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("Model Openness Framework", "Another"), "no file of the Model Openness Tool"),
        (("'1.0'", "'2.0'"), "only 1.0 is known"),
        (("Model architecture", "Model architekture"), "no component 'Model architekture'"),
        (("    data:", "    music:"), "no file|no licence"),
        (("name: Tiny", "name: [1]"), "release.name"),
        (("{name: null, path: null}", "*x"), "no file of the Model Openness Tool: "),
    ],
)
def test_a_file_that_is_none_of_the_tools_is_refused(change, says):
    text = FILE.replace(*change)
    if "music" in text:
        text = text.replace("null, path: null", "MIT, path: ''")
    with pytest.raises(ExchangeError, match=says):
        exchange.read(text)


def test_releases_survive_the_way_there_and_back():
    chance = random.Random(7)
    for _ in range(200):
        release = draw(chance)
        name, back = exchange.read(exchange.of_release("Tiny", release))
        assert name == "Tiny"
        assert back == release
        assert grade(back) == grade(release)


@pytest.mark.parametrize("name", sorted(register().families))
def test_every_family_can_be_written_for_the_tool_and_grades_alike(name):
    from understudy.openness import assess

    model = register().families[name]
    text = exchange.write(model)
    document = yaml.safe_load(text)
    assert document["framework"] == {"name": "Model Openness Framework", "version": "1.0", "date": "2024-12-15"}
    assert document["release"]["producer"]
    assert grade(exchange.read(text)[1]) == grade(assess.release(model))


def test_what_is_written_has_links_dates_and_bases():
    import datetime as dt

    model = family(components={"parameters": part("open", "mit")}, released=dt.date(2026, 1, 2))
    entry = yaml.safe_load(exchange.write(model))["release"]
    assert entry["date"] == "2026-01-02"
    assert entry["components"] == [
        {"name": "Model parameters (Final)", "component_path": "https://example.org/page", "license": "MIT"}
    ]
    assert (
        yaml.safe_load(exchange.write(register().families["deepseek-r1-distill-llama-8b"]))["release"]["origin"]
        == "llama-3.1, deepseek-r1"
    )
