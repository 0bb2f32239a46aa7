"""Helm itself, out of the wheel `helm-python-sdk`. In a process of its own: Go has its threads and signals."""

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import yaml

from tests.needs import missing

CHART = Path(__file__).parents[2] / "deploy/helm/understudy"

_CHILD = """
import json, sys
import helm_python as helm
chart, given = sys.argv[1], json.load(sys.stdin)
messages = helm.lint(chart, given, strict=True)["messages"]
found = {"lint": [(one["severity"], one["path"], one["error"]) for one in messages]}
try:
    with helm.Chart.load(chart) as loaded:
        found["files"] = loaded.render(given, name="prod", namespace="ai")
except helm.HelmError as error:
    found["error"] = str(error)
json.dump(found, sys.stdout)
"""


def run(values):
    """What `helm lint --strict` and `helm template prod --namespace ai` say of the chart with `values`.

    `lint`: a list of [severity (3 is an error, 2 a warning), where, what]; `files`: the rendered text of each template,
    or `error`.
    """
    if importlib.util.find_spec("helm_python") is None:
        missing("Helm is not here", "install helm-python-sdk where it has a wheel")
    done = subprocess.run(
        [sys.executable, "-c", _CHILD, CHART], input=json.dumps(values), capture_output=True, text=True, timeout=60,
        check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def objects(values):
    """The Kubernetes objects of the chart, by kind; the test hook's pod as `Pod`."""
    found = run(values)
    assert "error" not in found, found
    texts = (text for name, text in found["files"].items() if not name.endswith("NOTES.txt"))
    rendered = [one for text in texts for one in yaml.safe_load_all(text) if one]
    by_kind = {one["kind"]: one for one in rendered}
    assert len(by_kind) == len(rendered), "one of each kind"
    return by_kind
