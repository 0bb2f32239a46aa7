"""`make bench`, whole, with tiny durations. No figure is judged here: a test machine is no place to measure."""

import json
import math
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest

from tests.bench.conftest import BENCH

ROWS = 11


def started(*options, **more):
    command = [sys.executable, str(BENCH / "run.py"), "--rounds", "1", "--seconds", "0.1", "--streams", "10", *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, **more)


def numbers(value):
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [number for item in value for number in numbers(item)]
    return [value] if isinstance(value, float) else []


def test_one_command_writes_table_picture_and_figures(tmp_path):
    copy = tmp_path / "copy.json"
    process = started("--results", str(tmp_path / "results"), "--json", str(copy))
    said, complained = process.communicate(timeout=100)
    assert (process.returncode, complained) == (0, ""), said
    assert "gateway" in said
    facts = json.loads(copy.read_text())
    assert facts == json.loads((tmp_path / "results/latest.json").read_text())
    assert len(facts["table"]) == ROWS
    assert all(line["figures"][2] for line in facts["table"]), "every row has a figure for the gateway"
    found = numbers(facts)
    assert found
    assert all(math.isfinite(number) for number in found)
    rates = [sample["rate"] for rows in facts["figures"]["samples"].values() for r in rows.values() for sample in r]
    assert len(rates) == 12
    assert all(rate > 0 for rate in rates)
    assert facts["figures"]["memory"]["gateway"] > 0
    text = (tmp_path / "results/latest.md").read_text()
    assert text.count("\n| ") == ROWS + 2
    assert facts["figures"]["machine"] in text
    picture = ET.parse(tmp_path / "results/latest.svg")
    words = "".join(picture.getroot().itertext())
    for wanted in ("answers per second", "events per second", "milliseconds", facts["figures"]["date"]):
        assert wanted in words


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_it_leaves_nothing_behind(tmp_path, sent):
    environment = os.environ | {"TMPDIR": str(tmp_path), "PYTHONUNBUFFERED": "1"}
    process = started("--results", str(tmp_path / "results"), "--seconds", "60", env=environment, process_group=0)
    watched = subprocess.run(["sh", "-c", f"until ls {tmp_path}/*/gateway.log; do sleep 0.05; done"],
                             capture_output=True, timeout=60, check=False)  # fmt: skip
    assert watched.returncode == 0
    process.send_signal(sent)
    said, complained = process.communicate(timeout=60)
    assert (process.returncode, complained) == (130, ""), said
    assert "Interrupted" in said
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_senseless_options_are_refused():
    process = started("--rounds", "0")
    _, complained = process.communicate(timeout=30)
    assert process.returncode == 2
    assert "must be more than 0" in complained
