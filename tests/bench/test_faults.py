"""The fault runs, whole, with tiny counts. What is judged is the arithmetic, and that nobody's answer is lost."""

import importlib
import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.bench.conftest import BENCH


def ran(script, folder, *options):
    command = [sys.executable, str(BENCH / script), "--results", str(folder), *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=110, check=False)


def test_the_fault_run_counts_switches_answers_and_streams_cut_at_once(tmp_path):
    options = ["--calls", "30", "--streams", "15", "--switches", "3", "--parts", "switches,success,cut"]
    done = ran("faults.py", tmp_path, *options, "--json", str(tmp_path / "copy.json"))
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    facts = json.loads((tmp_path / "faults.json").read_text())
    assert facts == json.loads((tmp_path / "copy.json").read_text())
    assert facts["failures"] == []
    assert facts["details"]["success"]["all"] >= 200
    assert all(one["count"] == 3 for one in facts["details"]["switch_ms"].values())
    assert sum(facts["details"]["cut"]["arrivals"]) == 15
    assert "Simulated" in done.stdout


def test_the_soak_run_writes_samples_picture_and_report(tmp_path):
    done = ran("soak.py", tmp_path, "--minutes", "0.1", "--streams", "8", "--between", "0.01")
    assert done.stderr == ""
    facts = json.loads((tmp_path / "soak.json").read_text())
    assert facts["counts"]["answered"] > 8
    assert [one for one in facts["errors"] if one["looks_whole"]] == []
    assert done.returncode == (1 if facts["errors"] else 0), done.stdout
    rows = (tmp_path / "soak.csv").read_text().splitlines()
    assert rows[0].startswith("at,rss_mib,ledger_mib,descriptors,tasks")
    assert len(rows) > 2
    assert "descriptors" in "".join(ET.parse(tmp_path / "soak.svg").getroot().itertext())


@pytest.mark.parametrize(
    ("script", "options", "said"),
    [
        ("faults.py", ["--calls", "0"], "must be more than 0"),
        ("faults.py", ["--parts", "cut,sums"], "no sums; there are switches, success, down, cut"),
        ("soak.py", ["--minutes", "0"], "must be more than 0"),
    ],
)
def test_senseless_options_are_refused(tmp_path, script, options, said):
    done = ran(script, tmp_path, *options)
    assert done.returncode == 2
    assert said in done.stderr


def test_times_within_others_let_nothing_through():
    faults = importlib.import_module("faults")
    assert faults.alone([(0.0, 5.0), (0.1, 5.0), (5.2, 10.0), (6.0, 2.0)]) == [5.1, 15.2]


def test_a_share_of_nothing_is_no_figure():
    faults = importlib.import_module("faults")
    assert faults.percentile([3.0, 1.0, 2.0], 0.5) == 2.0
    assert faults.percentile([], 0.5) == float("inf")


def test_growth_is_told_from_noise():
    soak = importlib.import_module("soak")
    noise = [(60.0 * at, 100.0 + at % 3) for at in range(30)]
    growth = [(60.0 * at, 100.0 + at % 3 + 0.1 * at) for at in range(30)]
    assert not soak.trend(noise).grows
    assert soak.trend(growth).grows
    assert soak.trend(growth).slope == pytest.approx(0.1, abs=0.02)
    assert soak.trend(noise[:2]) is None
