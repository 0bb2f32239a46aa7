"""A ratio that cannot be trusted says so."""

import importlib

import pytest


@pytest.fixture
def fig():
    return importlib.import_module("figures")


def figures(fig, **rates):
    """Figures whose rates are (direct, bare relay, gateway) by measure, in two like rounds."""
    samples = {
        measure: {
            subject: [fig.Sample(rate, 1.0 + number, 2.0 + number, number)] * 2
            for number, (subject, rate) in enumerate(zip(fig.SUBJECTS, rates[measure], strict=True))
        }
        for measure in rates
    }
    memory = {fig.BARE: 30.0, fig.GATEWAY: 45.0}
    return fig.Figures("m", "s", "p", "v", "d", "here", 1.0, 2, 1000, samples, memory, [0.2], [0.1])


def rates(requests=(100.0, 40.0, 30.0), paced=(50_700.0, 50_000.0, 30_000.0)):
    return {"requests": requests, "sequential": requests, "burst": requests, "paced": paced}


def test_the_ratio_is_the_gateways_to_the_bare_relays(fig):
    table = {line.label: line for line in fig.lines(figures(fig, **rates()))}
    line = table["requests/s, 64 connections"]
    assert (line.figures, line.ratio, line.rounds) == (("100", "40", "30"), 0.75, (0.75, 0.75))
    line = table["latency p99, 1 connection, ms"]
    assert (line.figures, line.ratio) == (("2.000", "+1.000", "+2.000"), 2.0)
    assert table["bad answers and streams"].figures == ("0", "8", "16")
    assert table["resident memory after it, MiB"].ratio == 1.5


def test_nothing_is_divided_by_nothing(fig):
    table = {line.label: line for line in fig.lines(figures(fig, **rates(requests=(0.0, 0.0, 0.0))))}
    assert table["requests/s, 64 connections"].ratio is None
    assert table["requests/s, 64 connections"].rounds is None
    assert table["latency p50, 1 connection, ms"].figures[1:] == ("", "")


def test_sound_figures_need_no_warning(fig):
    assert fig.notes(figures(fig, **rates())) == ["Processes: here."]


def test_a_load_that_is_hardly_faster_than_a_subject_is_named(fig):
    notes = " ".join(fig.notes(figures(fig, **rates(requests=(50.0, 40.0, 30.0)))))
    assert "bottleneck for requests" in notes
    assert "bottleneck for burst" in notes


def test_a_load_that_cannot_keep_the_streams_going_is_named(fig):
    assert "could not keep" in fig.notes(figures(fig, **rates(paced=(40_000.0, 39_000.0, 30_000.0))))[1]


def test_a_ratio_of_two_that_kept_up_is_not_praised(fig):
    assert "kept up" in fig.notes(figures(fig, **rates(paced=(50_700.0, 50_600.0, 50_500.0))))[1]


@pytest.mark.parametrize(("errors", "code"), [([], 0), (["gateway, requests: 3 bad. HTTP/1.1 401"], 1)])
def test_an_error_of_a_subject_is_said_and_is_the_exit_code(tmp_path, monkeypatch, capsys, errors, code):
    found = figures(importlib.import_module("figures"), **rates())
    found.errors = errors
    run = importlib.import_module("run")

    async def measured(_options, _console):
        return found

    monkeypatch.setattr(run, "measured", measured)
    assert run.main(["--results", str(tmp_path)]) == code
    assert ("401" in capsys.readouterr().out) == bool(errors)
    assert ("401" in (tmp_path / "latest.md").read_text()) == bool(errors)


def test_what_cannot_be_measured_is_said_and_nothing_is_written(tmp_path, monkeypatch, capsys):
    run = importlib.import_module("run")

    async def measured(_options, _console):
        raise run.BenchError("gateway ended before it was ready.")

    monkeypatch.setattr(run, "measured", measured)
    assert run.main(["--results", str(tmp_path)]) == 1
    assert "gateway ended before it was ready." in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []
