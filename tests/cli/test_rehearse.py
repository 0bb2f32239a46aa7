"""`understudy suite` and `rehearse` over a ledger that a gateway has written, on simulated candidates."""

import json
from xml.etree import ElementTree as ET

import pytest

from tests.cli.process import run
from tests.running import TWO, Running
from understudy.gateway import recording
from understudy.gateway.settings import Ledger

ROUTES = """
[routes.support]
targets = ["first/ok"]
store = "bodies"
[routes.thin]
targets = ["first/ok"]
"""
COUNT = 60


@pytest.fixture(scope="module")
def world(tmp_path_factory):
    """A configuration and a gateway that still runs, with a ledger of conversations in three dialects."""
    folder = tmp_path_factory.mktemp("rehearse")
    url = f"{folder}/l.sqlite"
    kept = recording.opened(Ledger(), (f"sqlite:///{url}", folder))
    with Running(TWO + ROUTES) as gateway:
        gateway.call(lambda: setattr(gateway.gateway, "recorder", recording.Recorder(kept, Ledger())))
        for number in range(COUNT):
            words = f"Question {number}: where is parcel {number * 7919 % 1000}, and when will it be here?"
            gateway.chat("support", stream=number % 2 == 1, messages=[{"role": "user", "content": words}])
        answer = gateway.http.post("/v1/messages", json={
            "model": "support", "max_tokens": 200, "stream": True, "messages": [{"role": "user", "content": "Hello"}],
        })  # fmt: skip
        assert answer.status_code == 200
        gateway.chat("thin")
        gateway.chat("support", messages=[{"role": "user", "content": "x"}], headers={"x-understudy-store": "metadata"})
        assert gateway.until(lambda: gateway.gateway.idle)  # or the last record would come too late
        state = kept.stop()
        assert state.error is None
        file = folder / "understudy.toml"
        text = TWO.replace("{a}", gateway.a.url).replace("{b}", gateway.b.url) + ROUTES
        file.write_text(f'[ledger]\nurl = "{url}"\n{text}')
        yield folder, file


def facts(code, *arguments):
    returned, out, errors = run(*arguments, "--json")
    assert returned == code, errors
    return json.loads(out)


def test_a_suite_is_drawn_from_what_was_recorded(world):
    folder, file = world
    found = facts(0, "suite", "make", "support", "-c", file, "-o", folder / "s.jsonl")
    assert found["cases"] == COUNT + 1
    assert found["incumbent"] == "first/ok"
    assert list(found["unfit"].values()) == [1]
    again = facts(0, "suite", "make", "support", "-c", file, "-o", folder / "again.jsonl")
    assert again["suite"] == found["suite"]
    assert facts(0, "suite", "show", folder / "s.jsonl") == {**found, "unfit": {}}
    code, out, _ = run("suite", "show", folder / "s.jsonl")
    assert (code, "61 cases of support" in out) == (0, True)


def test_a_route_without_bodies_says_what_to_do(world):
    folder, file = world
    code, _, errors = run("suite", "make", "thin", "-c", file, "-o", folder / "none.jsonl")
    assert code == 1
    assert 'store = "bodies"' in errors
    assert not (folder / "none.jsonl").exists()


def test_a_candidate_that_answers_alike_is_as_good_as_the_incumbent(world):
    _, file = world
    found = facts(
        1, "rehearse", "support", "-c", file, "--candidate", "second/ok", "--fail-under", "ready", "--no-save"
    )
    verdict = found["analysis"]["verdict"]
    assert verdict["overall"]["difference"]["mean"] == 0
    assert verdict["state"] == "unknown", "61 cases are too few to be sure"
    assert verdict["overall"]["more"] > 0
    assert "kept" not in found


def test_a_candidate_that_answers_otherwise_is_not_ready_and_that_is_kept(world):
    folder, file = world
    page, tests = folder / "r.html", folder / "r.xml"
    found = facts(
        1, "rehearse", "support", "-c", file, "--candidate", "second/ok:tokens=2", "--html", page, "--junit", tests
    )
    assert found["analysis"]["verdict"]["state"] == "not ready"
    assert found["analysis"]["candidate"]["answered"] > 0
    kept = json.loads((folder / "readiness/support--second-ok-tokens-2.json").read_text())
    assert kept["verdict"]["state"] == "not ready"
    assert kept["incumbent"] == "first/ok"
    assert page.read_text().startswith("<!doctype html>")
    assert ET.parse(tests).find("testsuite").get("failures") == "1"
    assert page.stat().st_mode & 0o077 == 0


def test_people_see_a_table_and_the_price(world):
    _, file = world
    code, out, errors = run("rehearse", "support", "-c", file, "--candidate", "second/ok:tokens=2", "--no-save")
    assert code == 1, errors
    for part in ("122 calls, at most about", "second/ok:tokens=2 is not ready", "kind text", "difference"):
        assert part in out


def test_a_suite_is_replayed_where_there_is_no_ledger(world, tmp_path):
    folder, file = world
    facts(0, "suite", "make", "support", "-c", file, "-o", tmp_path / "s.jsonl")
    bare = tmp_path / "understudy.toml"
    bare.write_text("\n".join(file.read_text().splitlines()[2:]))
    results = tmp_path / "results.jsonl"
    options = ("rehearse", "--suite", tmp_path / "s.jsonl", "-c", bare, "--candidate", "second/ok", "--no-save",
               "--fail-under", "never", "--results", results)  # fmt: skip
    first = facts(0, *options, "--budget-tokens", "3000")
    assert first["budget_exhausted"]
    assert first["spent"]["tokens"] <= 3000
    assert first["spent"]["tokens"] > 1500, "what calls leave over is there for others"
    second = facts(0, *options)
    assert second["calls"]["before"] == first["calls"]["made"]
    assert second["calls"]["made"] + second["calls"]["before"] == 2 * (COUNT + 1)
    assert folder.exists()


def test_samples_in_the_form_of_evals_are_a_suite(world, tmp_path):
    _, file = world
    rows = tmp_path / "evals.jsonl"
    lines = [json.dumps({"input": [{"role": "user", "content": f"{n} + 1?"}], "ideal": str(n + 1)}) for n in range(9)]
    rows.write_text("\n".join([*lines, "nonsense", '{"input": 1}', json.dumps({"input": "2?", "ideal": ["2"]})]))
    found = facts(0, "suite", "import", rows, "-o", tmp_path / "s.jsonl", "--route", "support")
    assert found["cases"] == 10
    assert sum(found["unfit"].values()) == 2
    played = facts(1, "rehearse", "--suite", tmp_path / "s.jsonl", "-c", file, "--candidate", "second/ok",
                   "--no-ceiling", "--score", "short", "--no-save")  # fmt: skip
    assert played["analysis"]["candidate"]["worth"] < 0.5
    assert played["scores"] == ["short"]


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("rehearse", "--candidate", "second/ok"), 2, "Name a route"),
        (("rehearse", "support", "--candidate", "first/ok"), 2, "incumbent itself"),
        (("rehearse", "support", "--candidate", "nobody/x"), 2, "nobody/x"),
        (("rehearse", "support", "--candidate", "second/ok", "--score", "x"), 2, "no score 'x'"),
        (("rehearse", "support", "--candidate", "second/ok", "--budget-usd", "1"), 2, "Nobody knows the price"),
        (("rehearse", "nothing", "--candidate", "second/ok"), 1, "'nothing'"),
    ],
)
def test_what_cannot_be_done_says_why(world, arguments, code, says):
    returned, _, errors = run(*arguments, "-c", world[1])
    assert returned == code
    assert says in errors


def test_what_is_no_suite_says_so(tmp_path):
    file = tmp_path / "s.jsonl"
    file.write_text("nonsense\n")
    code, _, errors = run("suite", "show", file)
    assert (code, f"{file}:1" in errors) == (2, True)
    code, _, errors = run("suite", "import", tmp_path / "nowhere", "-o", tmp_path / "o")
    assert (code, "cannot be read" in errors) == (2, True)
