"""`understudy openness`, as people and as programs read it."""

import json

import pytest
from typer.testing import CliRunner

from tests.openness.test_hub import hub  # noqa: F401  # a fixture
from understudy.cli import app


def run(*arguments):
    done = CliRunner().invoke(app, ["openness", *(str(one) for one in arguments)])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


@pytest.fixture
def owner(tmp_path):
    path = tmp_path / "understudy.toml"
    path.write_text(
        '[owner]\ncommercial = true\nmonthly_users = 50_000\ndomicile = "DE"\nhosts = true\n'
        "distributes = false\ntrains_on_outputs = false\n"
    )
    return path


def test_a_registered_model_is_told_with_evidence_for_each_fact(owner):
    code, out, _ = run("meta-llama/Llama-3.3-70B-Instruct", "--owner", owner)
    assert code == 0
    assert "Llama 3.3, by Meta" in out
    assert "Open Source AI Definition 1.0: no" in out
    assert "EU AI Act Art. 53(2), guidelines of July 2025: no" in out
    assert "Model parameters (Final): restricted, llama-3.3" in out
    assert "https://github.com/meta-llama/llama-models/blob/main/models/llama3_3/LICENSE (read 2026-11-25)" in out
    assert "Research paper: unknown" in out
    assert "licence llama-3.3: allowed with duties" in out
    assert "show “Built with Llama” on a website" in out


def test_a_label_that_claims_more_than_its_base_is_a_conflict():
    _, out, _ = run("deepseek-ai/DeepSeek-R1-Distill-Llama-8B")
    assert "made from: deepseek-r1-distill-llama-8b <- llama-3.1" in out
    assert "conflict: DeepSeek-R1-Distill-Llama-8B is labelled MIT" in out
    assert "needs a person" in out


def test_what_the_exemption_does_not_lift_is_said():
    _, out, _ = run("openai/gpt-oss-120b")
    assert "documentation duties only" in out
    assert "systemic risk is not known" in out
    assert "at best" in run("EleutherAI/pythia-12b")[1]


def test_programs_read_the_same(owner):
    code, out, _ = run("llama-3.3", "--owner", owner, "--json")
    facts = json.loads(out)
    assert code == 0
    assert facts["family"]["id"] == "llama-3.3"
    assert facts["openness"]["framework"]["rules"] == "Model Openness Framework 1.0 (2024-12-15)"
    assert facts["licence"]["outcome"] == "duties"
    assert facts["owner"]["domicile"] == "DE"


def test_the_list_shows_every_family():
    code, out, _ = run("--list", "--json")
    rows = json.loads(out)
    assert code == 0
    assert len(rows) >= 40
    assert {"id", "maker", "licence", "class", "class_at_best", "open_source", "exempt"} <= set(rows[0])
    table = run("--list")[1]
    assert all(row["id"] in table for row in json.loads(out))
    assert "at" in table.split()  # a class "at best", over two lines of a narrow terminal


def test_an_unknown_model_is_told_with_what_looks_like_it():
    code, _, err = run("someone/llama-3.3x")
    assert code == 1
    assert "does not know 'someone/llama-3.3x'; is it one of llama-3.3" in err
    assert "--list" in err
    code, _, err = run("zzzz")
    assert (code, "is it one of" in err) == (1, False)


def test_a_file_of_the_model_openness_tool_is_printed():
    from understudy.openness import exchange

    name, release = exchange.read(run("pythia", "--mot")[1])
    assert name == "Pythia"
    assert "parameters" in release.components


@pytest.mark.parametrize(
    "arguments", [(), ("llama-3.3", "--list"), ("llama-3.3", "--fetch", "hf:a/b"), ("--fetch", "a/b")]
)
def test_a_command_that_names_none_or_two_is_wrong(arguments):
    code, _, err = run(*arguments)
    assert code == 2
    assert "hf:ORG/NAME" in err


@pytest.mark.parametrize(("text", "says"), [
    ("[owner]\nusers = 3\n", "users"), ("[owner\n", "cannot be read"), ('[owner]\ncommercial = "yes"\n', "commercial"),
])  # fmt: skip
def test_an_owner_that_does_not_hold_is_told(tmp_path, text, says):
    path = tmp_path / "owner.toml"
    path.write_text(text)
    code, _, err = run("llama-3.3", "--owner", path)
    assert code == 2
    assert says in err
    assert run("llama-3.3", "--owner", tmp_path / "none.toml")[0] == 2


def test_a_page_of_the_hub_is_read_and_set_beside_the_register(hub):  # noqa: F811
    hub.add("org/model", {"license": "mit", "base_model": "meta-llama/Llama-3.1-8B"}, gated="auto")
    code, out, _ = run("--fetch", "hf:org/model")
    assert code == 0
    assert "org/model, read at" in out
    assert "in the register: no" in out
    assert "license: mit" in out
    assert "gated: yes" in out
    assert "base: meta-llama/Llama-3.1-8B (llama-3.1)" in out
    assert "files: 2, 1 with a digest" in out
    assert "conflict: it says mit, but its base" in out
    assert json.loads(run("--fetch", "hf:org/model", "--json")[1])["bases"] == {"meta-llama/Llama-3.1-8B": "llama-3.1"}


def test_a_page_with_control_characters_does_not_reach_the_terminal(hub):  # noqa: F811
    hub.add("org/model", {"license": "other", "license_name": "\x1b[31mred\nline"})
    out = run("--fetch", "hf:org/model")[1]
    assert "\x1b" not in out
    assert "problem: nobody has read the licence" in out


def test_a_page_that_is_not_there_is_told(hub):  # noqa: F811
    code, _, err = run("--fetch", "hf:org/none")
    assert code == 1
    assert "has no model org/none" in err


def test_a_folder_and_a_file_are_read(tmp_path):
    (tmp_path / "README.md").write_text("---\nlicense: mit\n---\n")
    code, out, _ = run(tmp_path)
    assert code == 0
    assert "licence: mit" in out
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(b"no")
    code, _, err = run(broken)
    assert code == 1
    assert "ends within" in err
