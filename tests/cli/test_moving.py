"""`understudy export`, `import` and `purge`, as processes of their own."""

import json

import pytest

from tests.cli.test_log import run
from tests.ledger.making import NOW, ids, whole
from understudy.ledger import Audit, Event, Feedback, end_users
from understudy.ledger.frames import encode
from understudy.ledger.spool import Spool
from understudy.ledger.store import Store

KEY = "0123456789abcdef" * 2


@pytest.fixture
def here(tmp_path):
    """A folder with a configuration, and the URL of its ledger: three exchanges and what belongs to them."""
    (tmp_path / "understudy.toml").write_text(
        f'[ledger]\nurl = "{tmp_path}/l.sqlite"\nend_users = "hashed"\nend_user_key = "{KEY}"\n'
    )
    url = f"sqlite:///{tmp_path}/l.sqlite"
    store = Store(url)
    hashed = end_users.kept("ann", "hashed", KEY)
    store.write([whole(id="a", wall=NOW, end_user=hashed), whole(id="b", wall=NOW + 1, end_user="ann", route="r"),
                 whole(id="c", wall=NOW + 2, end_user="bob"), Feedback("f", "a", NOW, comment="Good."),
                 Event("e", NOW, "cooldown"), Audit("au", NOW, "me", "keys.create")])  # fmt: skip
    store.close()
    return tmp_path, url


def call(here, *arguments, code=0):
    done = run(*arguments, "-c", here[0] / "understudy.toml")
    assert done.returncode == code, done
    return done


def facts(here, *arguments, code=0):
    return [json.loads(line) for line in call(here, *arguments, "--json", code=code).stdout.splitlines()]


@pytest.mark.parametrize("name", ["x.jsonl", "x.jsonl.zst", "x.parquet"])
def test_a_ledger_goes_away_and_comes_back(here, tmp_path, name):
    (taken,) = facts(here, "export", tmp_path / name)
    assert taken["kinds"] == {"exchange": 3, "feedback": 1, "event": 1, "audit": 1}
    assert taken["bytes"] > 500
    other = (tmp_path / "other", None)
    other[0].mkdir()
    (other[0] / "understudy.toml").write_text(f'[ledger]\nurl = "{other[0]}/deep/l.sqlite"\n')
    (told,) = facts(other, "import", tmp_path / name, "--dry-run")
    assert (told["new"], told["complete"]) == (6, True)
    assert not (other[0] / "deep").exists()
    assert "6 new, 0 known already, 0 refused" in call(other, "import", tmp_path / name).stdout
    (told,) = facts(other, "import", tmp_path / name, tmp_path / name)
    assert (told["new"], told["known"]) == (0, 12)
    (told,) = facts(other, "import", tmp_path / name, "--dry-run")
    assert told["known"] == 6
    assert facts(other, "export", tmp_path / "again.jsonl")[0]["sha256"] == taken["sha256"]


def test_standard_output_takes_lines(here):
    done = call(here, "export", "-", "--route", "r")
    assert [json.loads(line).get("id") for line in done.stdout.splitlines()] == [None, "b", None]
    assert json.loads(call(here, "export", "-", "--json").stderr)["records"] == 6
    assert "lines of JSON only" in call(here, "export", "-", "--format", "parquet", code=2).stderr


def test_a_user_is_named_as_the_application_names_them(here, tmp_path):
    assert facts(here, "export", tmp_path / "x", "--user", "ann")[0]["kinds"]["exchange"] == 1
    assert [line["id"] for line in facts(here, "log", "--user", "ann")] == ["a"]
    assert [line["id"] for line in facts(here, "log", "--user", end_users.kept("ann", "hashed", KEY))] == ["a"]
    (here[0] / "understudy.toml").write_text(f'[ledger]\nurl = "{tmp_path}/l.sqlite"\nend_users = "none"\n')
    assert "keeps no end users" in call(here, "log", "--user", "ann", code=2).stderr


def test_what_is_refused_is_told_with_its_place(here, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"type": "event", "id": "new", "wall": 1, "kind": "x"}\n{"type": "event"}\n')
    done = call(here, "import", tmp_path / "bad.jsonl", code=1)
    assert "1 new, 0 known already, 1 refused" in done.stdout
    assert "line 2: Object missing required field `id`" in done.stderr
    done = call(here, "import", tmp_path / "bad.jsonl", tmp_path / "bad.jsonl", code=1)
    assert "bad.jsonl, line 2" in done.stderr


def test_a_file_that_is_not_there_is_said_before_anything_is_done(here, tmp_path):
    (tmp_path / "x.jsonl").write_text('{"type": "event", "id": "new", "wall": 1, "kind": "x"}\n')
    done = call(here, "import", tmp_path / "x.jsonl", tmp_path / "nothing.jsonl", code=2)
    assert "no file" in done.stderr
    assert facts(here, "import", tmp_path / "x.jsonl")[0]["new"] == 1


def test_an_export_that_is_cut_short_is_told(here, tmp_path):
    call(here, "export", tmp_path / "x.jsonl")
    (tmp_path / "y.jsonl").write_bytes(b"".join((tmp_path / "x.jsonl").read_bytes().splitlines(keepends=True)[:-2]))
    assert "cut short, or was changed" in call(here, "import", tmp_path / "y.jsonl", code=1).stderr


def test_many_refusals_are_counted(here, tmp_path):
    (tmp_path / "bad.jsonl").write_text('{"type": "event"}\n' * 150)
    assert "and 50 more" in call(here, "import", tmp_path / "bad.jsonl", code=1).stderr


def test_a_log_of_others_comes_along(here, tmp_path):
    answer = {"id": "x", "object": "chat.completion", "created": 5, "model": "m", "choices": []}
    (tmp_path / "log.jsonl").write_text(json.dumps({"request": {"model": "m", "user": "ann"}, "response": answer}))
    assert facts(here, "import", tmp_path / "log.jsonl", "--no-bodies")[0]["new"] == 1
    assert len(facts(here, "log", "--user", "ann")) == 2


def test_a_purge_finds_a_user_in_every_form_and_leaves_a_proof(here, tmp_path):
    (dry,) = facts(here, "purge", "--user", "ann", "--dry-run")
    assert dry["exchanges"] == 2
    assert "2 exchanges would be deleted" in call(here, "purge", "--user", "ann", "--dry-run").stdout
    assert ids(here[1]) == ["a", "b", "c"]
    (done,) = facts(here, "purge", "--user", "ann", "--yes")
    assert (done["sha256"], done["exchanges"], done["left"], done["erased"]) == (dry["sha256"], 2, 0, True)
    assert ids(here[1]) == ["c"]
    (proof,) = facts(here, "purge", "--proof", "all")
    assert proof == {name: done[name] for name in proof}
    assert "SQLite's file was rewritten" in call(here, "purge", "--proof", done["id"]).stdout
    assert "no proof 'x'" in call(here, "purge", "--proof", "x", code=1).stderr
    for file in tmp_path.iterdir():
        assert b"ann" not in file.read_bytes(), file


def test_what_waits_in_the_spool_is_purged_too(here, tmp_path):
    spool = Spool(tmp_path / "ledger-spool", 10**6)
    spool.append(encode([whole(id="waits", end_user="zoe-canary"), whole(id="stays")]))
    spool.close()
    (done,) = facts(here, "purge", "--user", "zoe-canary", "--yes")
    assert (done["exchanges"], done["waiting"], done["damaged"]) == (1, 0, [])
    assert ids(here[1]) == ["a", "b", "c", "stays"]
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or b"zoe-canary" not in file.read_bytes(), file


def test_what_may_be_left_in_the_spool_is_told(here, tmp_path):
    spool = Spool(tmp_path / "ledger-spool", 10**6)
    spool.append(encode([whole(id="waits")]))  # and stays open, as in a gateway whose database does not work
    (tmp_path / "ledger-spool" / "0.damaged").write_bytes(b"?")
    assert "wait in the spool of a running gateway" in call(here, "purge", "--exchange", "a", "-y", code=1).stderr
    spool.close()
    done = call(here, "purge", "--exchange", "b", "-y", code=1)
    assert "0.damaged" in done.stderr
    assert ids(here[1]) == ["c", "waits"]


def test_a_file_that_cannot_be_rewritten_is_told(here):
    assert facts(here, "purge", "--exchange", "a", "-y", "--no-rewrite")[0]["erased"] is False
    assert "Traces may be left" in call(here, "purge", "--exchange", "b", "-y", "--no-rewrite").stdout


def test_nothing_is_deleted_unless_something_says_what(here):
    assert "Say what to delete" in call(here, "purge", code=2).stderr
    assert ids(here[1]) == ["a", "b", "c"]
