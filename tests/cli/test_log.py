"""`understudy log` and `usage` over a ledger that a gateway has written."""

import contextlib
import csv
import io
import json
import sqlite3
import time
from typing import NamedTuple

import pytest

from tests.cli import process
from tests.running import TWO, Running
from understudy import ledger
from understudy.gateway import recording
from understudy.gateway.settings import Ledger

ROUTES = """
[routes.moves]
targets = ["first/internal", "second/ok"]
[routes.fails]
targets = ["first/internal"]
[routes.keeps]
targets = ["second/ok"]
store = "bodies"
[routes.hides]
targets = ["second/ok"]
store = "none"
[routes.breaks]
targets = ["first/cut:after=3", "second/ok"]
"""


class Done(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


def run(*arguments):
    return Done(*process.run(*arguments))


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A configuration whose ledger has six exchanges, and the ids of them by route."""
    folder = tmp_path_factory.mktemp("ledger")
    file = folder / "understudy.toml"
    file.write_text(f'[ledger]\nurl = "{folder}/l.sqlite"\n')
    kept = recording.opened(Ledger(), (f"sqlite:///{folder}/l.sqlite", folder))
    ids = {}
    with Running(TWO + ROUTES) as gateway:
        gateway.call(lambda: setattr(gateway.gateway, "recorder", recording.Recorder(kept, Ledger())))
        for name in ("moves", "fails", "hides", "breaks"):
            response = gateway.chat(name, stream=name == "breaks", headers={"x-understudy-task": "greet"})
            ids[name] = response.headers["x-understudy-exchange"]
        ids["keeps"] = gateway.chat("keeps").headers["x-understudy-exchange"]
        less = gateway.chat("keeps", headers={"x-understudy-store": "metadata", "x-understudy-tags": "one, two"})
        ids["less"] = less.headers["x-understudy-exchange"]
        feedback = {"exchange": ids["keeps"], "score": 0.5, "comment": "Fair enough."}
        assert gateway.http.post("/understudy/feedback", json=feedback).json()["id"]
        assert gateway.http.post("/understudy/feedback", json={"exchange": "x", "score": 7}).status_code == 400
    state = kept.stop()
    assert (state.lost, state.error) == ({}, None)
    return file, ids


def facts(*arguments):
    done = run(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


def one(file, identity):
    done = run("log", identity, "-c", file, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_what_may_be_kept_is_listed_newest_last(written):
    file, ids = written
    assert [line["id"] for line in facts("log", "-c", file)] == [
        ids[name] for name in ("moves", "fails", "breaks", "keeps", "less")
    ]


def test_the_list_can_be_narrowed(written):
    file, ids = written
    assert [line["id"] for line in facts("log", "-c", file, "--failed")] == [ids["fails"]]
    assert [line["id"] for line in facts("log", "-c", file, "--route", "keeps", "--limit", "1")] == [ids["less"]]
    assert [line["id"] for line in facts("log", "-c", file, "--tag", "two")] == [ids["less"]]
    assert len(facts("log", "-c", file, "--task", "greet", "--since", "1h")) == 3


def test_an_exchange_has_its_attempts_faults_and_tokens(written):
    file, ids = written
    found = one(file, ids["moves"])
    first, second = found["attempts"]
    assert "internal" in first
    assert "answered" in second
    assert found["exchange"]["tokens"][0] > 0
    assert found["exchange"]["status"] == 200
    assert one(file, ids["fails"])["exchange"]["status"] == 500


def test_an_answer_that_was_gone_on_with_has_its_seam(written):
    file, ids = written
    found = one(file, ids["breaks"])
    assert [seam[2] for seam in found["exchange"]["seams"]] == ["replay"]
    assert "stream_cut" in found["attempts"][0]


def test_bodies_are_kept_where_route_and_client_agree_and_feedback_beside_them(written):
    file, ids = written
    found = one(file, ids["keeps"])
    assert any("Hello there" in str(body) for body in found["bodies"])
    assert any("This is a simulated answer" in str(body) for body in found["bodies"])
    assert "Fair enough." in str(found["feedback"])
    assert one(file, ids["less"])["bodies"] == []


def test_people_see_a_time_line(written):
    file, ids = written
    done = run("log", ids["moves"], "-c", file)
    assert done.returncode == 0, done.stderr
    assert "internal (HTTP 500), fail over" in done.stdout
    assert "cost unknown" in done.stdout


def test_usage_sums_by_what_is_asked(written):
    file, _ = written
    done = run("usage", "-c", file, "--by", "route", "--json")
    rows = {row["group"]["route"]: row for row in json.loads(done.stdout)}
    assert set(rows) == {"moves", "fails", "breaks", "keeps"}
    assert (rows["keeps"]["exchanges"], rows["fails"]["answered"]) == (2, 0)
    assert rows["keeps"]["cost_usd"] is None
    table = list(csv.DictReader(io.StringIO(run("usage", "-c", file, "--by", "task", "--csv").stdout)))
    assert {row["task"]: row["exchanges"] for row in table} == {"greet": "3", "": "2"}
    assert "exchanges" in run("usage", "-c", file).stdout


def test_what_is_not_there_is_said(written, tmp_path):
    file, _ = written
    assert run("log", "ex_nothing", "-c", file).returncode == 1
    assert run("log", "-c", file, "--since", "yesterday-ish").returncode == 2
    off = tmp_path / "off.toml"
    off.write_text('[ledger]\nurl = "off"\n')
    assert run("usage", "-c", off).returncode == 2
    none = tmp_path / "none.toml"
    none.write_text(f'[ledger]\nurl = "{tmp_path}/none.sqlite"\n')
    done = run("log", "-c", none)
    assert done.returncode == 2
    assert "no ledger" in done.stderr


def test_everything_can_be_taken_away(written, tmp_path):
    file, ids = written
    out = tmp_path / "all.jsonl"
    done = run("export", out, "-c", file)
    assert done.returncode == 0, done.stderr
    header, *lines, end = [json.loads(line) for line in out.read_text().splitlines()]
    exchanges = {line["id"] for line in lines if line["type"] == "exchange"}
    assert exchanges == {ids[name] for name in ids if name != "hides"}
    assert [line["comment"] for line in lines if line["type"] == "feedback"] == ["Fair enough."]
    assert "Hello there" in out.read_text()
    assert f"sha256 of the records: {end['sha256']}" in done.stderr
    assert header["version"] == 1
    (tmp_path / "no").write_text("a file where a folder should be")
    assert run("export", tmp_path / "no" / "folder", "-c", file).returncode == 1


def test_what_is_purged_is_gone_and_counted(written):
    file, ids = written
    assert run("purge", "-c", file).returncode == 2
    done = run("purge", "-c", file, "--before", "1s", "--bodies", "--yes", "--json")
    assert json.loads(done.stdout)["deleted"] == {"bodies": 2}
    assert one(file, ids["keeps"])["bodies"] == []
    done = run("purge", "-c", file, "--before", "1s", "--yes", "--json")
    told = json.loads(done.stdout)
    assert told["left"] == 0
    assert told["deleted"]["exchanges"] == 5
    assert told["deleted"]["attempts"] == 7
    assert facts("log", "-c", file) == []
    assert json.loads(run("usage", "-c", file, "--json").stdout), "sums stay"


KEY = "k" * 32
SAID = 'jo@example.org says "hi"'


@pytest.fixture
def hidden(tmp_path):
    """A configuration with a key for pseudonyms, and the id of an exchange that has some."""
    place = f"sqlite:///{tmp_path}/l.sqlite"
    file = tmp_path / "understudy.toml"
    file.write_text(f'[ledger]\nurl = "{tmp_path}/l.sqlite"\n[redaction]\npseudonym_key = "env:PSEUDONYMS"\n')
    kept = ledger.Ledger(ledger.Settings(place, str(tmp_path / "spool"), redaction=ledger.Redaction(key=KEY)))
    kept.start()
    attempt = ledger.Attempt("a/b", 0.0, fault="overloaded", reaction="surface", fault_message=f"no {SAID}")
    bodies = (
        ledger.Body("request", json.dumps({"content": f"my password is x, {SAID}"}).encode(), "application/json"),
        ledger.Body("answer", f"Dear {SAID}".encode(), "text/plain"),
    )
    kept.put(
        ledger.Exchange("ex_1", time.time(), "r", "openai-chat", "r", "failed", attempts=(attempt,), bodies=bodies)
    )
    kept.put(ledger.Feedback("fb_1", "ex_1", time.time(), comment=SAID))
    assert kept.stop().lost == {}
    return file, tmp_path / "l.sqlite"


def revealed(file, *arguments, key=KEY):
    return Done(*process.run("log", *arguments, "-c", file, environ={} if key is None else {"PSEUDONYMS": key}))


def audited(database):
    with contextlib.closing(sqlite3.connect(database)) as connection:
        return connection.execute("select actor, action, subject, detail from audit").fetchall()


def test_who_has_the_key_sees_real_values_and_it_is_audited(hidden):
    file, database = hidden
    plain = revealed(file, "ex_1", "--json")
    assert "jo@example.org" not in plain.stdout
    assert "[email:~" in plain.stdout
    assert audited(database) == []
    found = json.loads(revealed(file, "ex_1", "--reveal", "--json").stdout)
    request, answer = (body[1] for body in found["bodies"])
    assert json.loads(request) == {"content": f"my password is x, {SAID}"}
    assert answer == f"Dear {SAID}"
    assert f"no {SAID}" in str(found["attempts"])
    assert found["feedback"][0][-2] == SAID
    ((actor, action, subject, detail),) = audited(database)
    assert (actor, action, subject) == ("command line", "reveal", "ex_1")
    assert json.loads(detail)["user"]
    shown = revealed(file, "ex_1", "--reveal").stdout
    assert f"Dear {SAID}" in shown
    assert len(audited(database)) == 2


def test_nobody_else_does(hidden):
    file, database = hidden
    wrong = revealed(file, "ex_1", "--reveal", "--json", key="w" * 32)
    assert wrong.returncode == 0
    assert "jo@example.org" not in wrong.stdout
    assert revealed(file, "ex_1", "--reveal", key=None).returncode == 2
    assert revealed(file, "--reveal").returncode == 2
    assert revealed(file, "ex_2", "--reveal").returncode == 1
    file.write_text(f'[ledger]\nurl = "{database}"\n')
    done = revealed(file, "ex_1", "--reveal")
    assert done.returncode == 2
    assert "redaction.pseudonym_key" in done.stderr
    file.write_text(f'[ledger]\nurl = "{database}"\n[redaction]\non = false\npseudonym_key = "short"\n')
    assert "openssl" in revealed(file, "ex_1", "--reveal").stderr
    assert len(audited(database)) == 1, "only the one that had a key"
