"""The demo, for real: a provider breaks and the embedded open model answers."""

import json

import pytest
from typer.testing import CliRunner

from understudy.cli import app
from understudy.local import models

pytestmark = pytest.mark.skipif(
    models.WHEEL_MODEL not in models.available(), reason="the model's wheel is not installed"
)


def demo(*arguments):
    return CliRunner().invoke(app, ["demo", *arguments])


@pytest.mark.parametrize(
    ("failure", "fault"),
    [
        ("status:code=503", "overloaded"),
        ("invalid-key", "bad_key"),
        ("reset", None),
        ("error-event", None),
    ],
)
def test_the_call_moves_to_the_open_model_whatever_breaks(failure, fault):
    done = demo("--json", "--failure", failure)
    assert done.exit_code == 0, done.output
    facts = json.loads(done.stdout)
    assert facts["moved"]
    assert facts["simulated"]
    assert facts["failure"] == failure
    assert all(answer.strip() for answer in facts["answers"])
    assert facts["fault"] == (fault or facts["fault"])
    first, last = facts["attempts"]
    assert (first["target"], first["action"]) == ("simulated/vendor-model", "fail_over")
    assert (last["target"], last["action"]) == (f"local/{models.WHEEL_MODEL}", "answered")
    assert 0 <= facts["detected_seconds"] < facts["first_token_seconds"]


def test_people_see_what_happened_and_can_keep_the_picture(tmp_path):
    picture = tmp_path / "demo.svg"
    done = demo("--svg", str(picture))
    assert done.exit_code == 0, done.output
    for shown in ("simulated", "The provider breaks now", "fault: overloaded (HTTP 503), fail over", "answer complete"):
        assert shown in done.output
    svg = picture.read_text()
    assert svg.startswith("<svg")
    assert "font-face" not in svg
    assert "https://" not in svg.replace("https://www.textualize.io", "").replace("https://github.com/Textualize", "")


def test_a_provider_that_does_not_break_moves_nothing():
    done = demo("--failure", "ok")
    assert done.exit_code == 1


def test_a_failure_that_is_none_is_refused_before_anything_starts():
    done = demo("--failure", "nonsense")
    assert done.exit_code == 1
    assert "--failure nonsense: " in done.stderr
    assert isinstance(done.exception, SystemExit)
