"""`bench/memory.py` and `bench/recording.py`, whole, with few calls. No figure is judged: here the machine is busy."""

import csv
import xml.etree.ElementTree as ET

import pytest


def test_it_watches_both_processes_and_finds_each_call_in_the_ledger(tmp_path, capsys):
    import memory

    assert memory.main(["--calls", "500", "--connections", "8", "--results", str(tmp_path)]) == 0
    assert "each once in the ledger" in capsys.readouterr().out
    rows = list(csv.DictReader((tmp_path / "memory.csv").read_text().splitlines()))
    assert int(rows[-1]["calls"]) >= 500
    assert float(rows[-1]["gateway"]) > 10
    assert float(rows[-1]["writer"]) > 10
    assert "thousand calls" in "".join(ET.parse(tmp_path / "memory.svg").getroot().itertext())


def test_the_rise_is_that_of_the_second_half():
    import memory

    samples = [memory.Sample(n, n * 10_000, 50.0 + min(n, 50), 40.0 + n / 10) for n in range(101)]
    assert memory.slope(samples, "gateway") == pytest.approx((0.0, 100.0), abs=1e-9)
    rise, middle = memory.slope(samples, "writer")
    assert (rise, middle) == pytest.approx((1.0, 47.5))
    with pytest.raises(memory.BenchError, match="too few samples"):
        memory.slope(samples[:2], "gateway")


def test_what_recording_costs_is_told_for_each_kind(capsys):
    import recording

    assert recording.main(["--rounds", "1", "--seconds", "1"]) == 0
    out = capsys.readouterr().out
    for kind in recording.KINDS:
        assert f"\n{kind} " in out


@pytest.mark.parametrize("wrong", [["--calls", "0"], ["--connections", "0"]])
def test_senseless_options_are_refused(wrong):
    import memory

    with pytest.raises(SystemExit):
        memory.parse(wrong)
