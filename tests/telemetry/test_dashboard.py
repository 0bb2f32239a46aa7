"""The Grafana dashboard asks only for metrics that there are, by labels that they have."""

import json
import re
from pathlib import Path

from understudy.telemetry import metrics

DASHBOARD = json.loads((Path(__file__).parents[2] / "deploy/grafana/understudy.json").read_text())
EXPRESSIONS = [target["expr"] for panel in DASHBOARD["panels"] for target in panel["targets"]]
VARIABLES = [one["query"]["query"] for one in DASHBOARD["templating"]["list"] if one["type"] == "query"]


def labels_of(series):
    for table in (metrics._COUNTERS, metrics._HISTOGRAMS, metrics._GAUGES):
        for name, (_, labels) in table.items():
            if series == name or series.startswith(f"{name}_"):
                return {*labels, "le"}
    return set()


def test_every_metric_that_is_asked_for_exists():
    asked = {name for text in EXPRESSIONS + VARIABLES for name in re.findall(r"understudy_\w+", text)}
    assert asked
    assert asked <= metrics.names()


def test_every_metric_is_shown_somewhere():
    shown = {name for text in EXPRESSIONS for name in re.findall(r"understudy_\w+", text)}
    parts = {name for name in metrics.names() if name.endswith(("_sum", "_count"))}
    assert metrics.names() - parts - {"understudy_ledger_written"} <= shown


def test_every_label_is_one_that_the_metric_has():
    for text in EXPRESSIONS:
        for series, inner in re.findall(r"(understudy_\w+)\{([^}]*)\}", text):
            for label in re.findall(r"(\w+)\s*(?:=~|!=|!~|=)", inner):
                assert label in labels_of(series), (series, label)
        known = set().union(*(labels_of(series) for series in re.findall(r"understudy_\w+", text)))
        for group in re.findall(r"by \(([^)]*)\)", text):
            assert {label.strip() for label in group.split(",")} <= known, text


def test_panels_have_titles_and_do_not_overlap():
    taken = set()
    for panel in DASHBOARD["panels"]:
        assert panel["title"]
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken
        taken |= cells
        assert place["x"] + place["w"] <= 24
