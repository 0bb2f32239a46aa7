"""`understudy feedback` to a gateway with a ledger."""

import json

import pytest

from tests.cli.process import run
from tests.gateway.administration.filled import ADMIN, filled


@pytest.fixture(scope="module")
def gateway(tmp_path_factory):
    with filled(tmp_path_factory.mktemp("feedback")) as running:
        yield running


def feedback(gateway, *arguments, key="boss"):
    return run("feedback", *arguments, "--url", gateway.url, environ={"UNDERSTUDY_ADMIN_KEY": key})


def test_what_is_said_is_in_the_ledger(gateway, tmp_path):
    (tmp_path / "better.txt").write_text("Paris, in France.")
    code, out, errors = feedback(
        gateway, "ex_00000000", "--score", "0.9", "--label", "right", "--comment", "Short.",
        "--corrected", tmp_path / "better.txt", "--json",
    )  # fmt: skip
    assert code == 0, errors
    identity = json.loads(out)["id"]
    assert gateway.written()
    found = gateway.http.get("/admin/feedback", headers=ADMIN).json()["feedback"]
    (kept,) = [one for one in found if one["id"] == identity]
    assert {name: kept[name] for name in ("exchange", "score", "label", "comment", "corrected")} == {
        "exchange": "ex_00000000", "score": 0.9, "label": "right", "comment": "Short.",
        "corrected": "Paris, in France.",
    }  # fmt: skip


def test_people_are_told_where_it_shows(gateway):
    code, out, _ = feedback(gateway, "ex_00000000", "--label", "good")
    assert code == 0
    assert "understudy log ex_00000000" in out


def test_what_cannot_be_said_is_exit_code_2_with_the_reason(gateway, tmp_path):
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "long").write_text("a" * 1_000_001)
    for arguments, word in [
        ((), "--score"),
        (("--score", "7"), "score"),
        (("--corrected", tmp_path / "none"), "cannot be read"),
        (("--corrected", tmp_path / "bytes"), "UTF-8"),
        (("--corrected", tmp_path / "long"), "more than"),
    ]:
        code, _, errors = feedback(gateway, "ex_00000000", *arguments)
        assert code == 2
        assert word in errors
    code, out, errors = feedback(gateway, "ex_00000000", "--label", "good", key="wrong-key")
    assert code == 2
    assert "UNDERSTUDY_ADMIN_KEY" in errors
    assert "wrong-key" not in out + errors
