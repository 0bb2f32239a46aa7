"""`understudy init` and `understudy keys`: what people read, what programs read, and a key that is shown once."""

import json
import re

import pytest
from typer.testing import CliRunner

from understudy import clock
from understudy.access import Key, Limit, Ring
from understudy.access.store import Store
from understudy.cli import app
from understudy.gateway import config

ENVIRON = {"OPENAI_API_KEY": "sk-test", "ANTHROPIC_API_KEY": "sk-test"}
VERBS = ["create", "list", "show", "change", "rotate", "disable", "enable", "delete"]
SHOWN = re.compile(r"understudy-[0-9A-Za-z]{49}")


@pytest.fixture(autouse=True)
def folder(monkeypatch, tmp_path):
    monkeypatch.delenv("UNDERSTUDY_CONFIG", raising=False)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def understudy(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done


def keys(*arguments):
    return understudy("keys", *arguments)


def opens(folder, secret):
    store = Store(folder / "understudy-keys.sqlite")
    found = Ring(store.records()).find(secret.encode(), clock.wall())
    store.close()
    return found


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_an_example_that_names_it(verb):
    done = keys(verb, "--help")
    assert done.exit_code == 0
    assert f"Example: understudy keys {verb}" in done.output
    assert "Example: understudy init" in understudy("init", "--help").output


def test_a_made_key_opens_and_standard_output_holds_nothing_else(folder):
    done = keys("create", "my-app", "--owner", "anna", "--limit", "requests=5/second", "--tag", "team=x")
    assert done.exit_code == 0
    assert SHOWN.fullmatch(done.stdout.strip())
    assert not SHOWN.search(done.stderr)
    key = opens(folder, done.stdout.strip())
    assert isinstance(key, Key)
    assert (key.name, key.owner, key.limits, key.tags) == (
        "my-app", "anna", (Limit("requests", 5, "second"),), {"team": "x"},
    )  # fmt: skip


def test_no_key_and_no_hash_is_shown_again(folder):
    secret = keys("create", "my-app").stdout.strip()
    again = keys("rotate", "my-app", "--json").stdout
    store = Store(folder / "understudy-keys.sqlite")
    digests = [record.digest.hex() for record in store.records()]
    store.close()
    for arguments in (("list",), ("list", "--json"), ("show", "my-app"), ("show", "my-app", "--json"),
                      ("disable", "my-app", "--json"), ("delete", "my-app", "--json")):  # fmt: skip
        text = keys(*arguments).output
        assert secret not in text
        assert json.loads(again)["secret"] not in text
        assert not any(digest in text for digest in digests)


def test_a_key_typed_in_place_of_a_name_is_not_repeated():
    secret = keys("create", "my-app").stdout.strip()
    done = keys("show", secret)
    assert done.exit_code == 1
    assert secret not in done.output
    assert "no key with this name" in done.stderr


def test_what_json_shows():
    keys(
        "create",
        "b",
        "--role",
        "operator",
        "--route",
        "gpt-*",
        "--budget",
        "usd=20/day,soft",
        "--expires",
        "2999-01-31",
    )
    found = json.loads(keys("show", "b", "--json").stdout)
    assert found["role"] == "operator"
    assert found["routes"] == ["gpt-*"]
    assert found["budgets"] == ["usd=20/day,soft"]
    assert found["expires"] == "2999-01-31T00:00:00Z"
    assert found["former_until"] == []
    listed = json.loads(keys("list", "--json").stdout)
    assert [key["name"] for key in listed] == ["b"]
    text = keys("show", "b").stdout
    assert re.search(r"^budgets +usd=20/day,soft$", text, re.MULTILINE)


def test_the_list_is_a_table():
    keys("create", "one", "--expires", "30d")
    keys("create", "two")
    keys("disable", "two")
    lines = keys("list").stdout.splitlines()
    assert lines[0].split() == ["NAME", "ROLE", "STATE", "OWNER", "ENDS", "IN", "USED", "ID"]
    assert re.match(r"one +user +open +- +30 d +- +key_", lines[1])
    assert re.match(r"two +user +disabled +- +- +- +key_", lines[2])


def test_rotation_with_and_without_overlap(folder):
    first = keys("create", "a").stdout.strip()
    second = keys("rotate", "a", "--overlap", "7d").stdout.strip()
    assert isinstance(opens(folder, first), Key)
    assert isinstance(opens(folder, second), Key)
    third = keys("rotate", "a", "--overlap", "0").stdout.strip()
    assert [isinstance(opens(folder, one), Key) for one in (first, second, third)] == [False, False, True]


def test_disable_enable_change_and_delete(folder):
    secret = keys("create", "a", "--limit", "parallel=3").stdout.strip()
    assert keys("disable", "a").exit_code == 0
    assert not isinstance(opens(folder, secret), Key)
    keys("enable", "a")
    keys("change", "a", "--limit", "none", "--expires", "never", "--owner", "ben")
    assert (opens(folder, secret).limits, opens(folder, secret).owner) == ((), "ben")
    assert keys("delete", "a").exit_code == 0
    assert not isinstance(opens(folder, secret), Key)
    assert keys("delete", "a").exit_code == 1


@pytest.mark.parametrize(("options", "why"), [
    (["--limit", "requests=5"], "requests=100/second"), (["--budget", "eur=5/day"], "usd=20/day"),
    (["--role", "god"], "admin"),
    (["--expires", "soon"], "2027-01-31"), (["--expires", "2001-01-01"], "in the past"), (["--tag", "x"], "NAME=VALUE"),
])  # fmt: skip
def test_a_wrong_option_is_refused_with_2_and_makes_nothing(folder, options, why):
    done = keys("create", "a", *options)
    assert done.exit_code == 2
    assert why in done.stderr
    assert not (folder / "understudy-keys.sqlite").exists()


def test_what_cannot_be_done_ends_with_1():
    assert keys("list").exit_code == 1
    assert "no key store" in keys("list").stderr
    keys("create", "a")
    assert keys("create", "a").exit_code == 1
    assert keys("rotate", "b").exit_code == 1
    assert keys("rotate", "a", "--overlap", "long").exit_code == 2
    assert keys("change", "a").exit_code == 2


def test_the_store_is_beside_the_configuration_or_where_it_is_said_to_be(folder):
    (folder / "etc").mkdir()
    (folder / "etc/mine.toml").write_text("")
    keys("create", "a", "-c", folder / "etc/mine.toml")
    assert (folder / "etc/understudy-keys.sqlite").exists()
    keys("create", "a", "--store", folder / "elsewhere")
    assert (folder / "elsewhere").exists()


def test_init_writes_a_valid_configuration_and_makes_one_admin_key(folder):
    done = understudy("init")
    assert done.exit_code == 0
    assert opens(folder, done.stdout.strip()).role == "admin"
    text = (folder / "understudy.toml").read_text()
    config.parse(text, "understudy.toml", {})
    settings = re.sub(r"^# (?=\[|[a-z_]+ = )", "", text, flags=re.MULTILINE)
    loaded = config.parse(settings, "understudy.toml", ENVIRON).config
    assert loaded.routes["gpt-5"].first_token_timeout == 10, "what is commented out is right as well"
    again = understudy("init")
    assert again.exit_code == 0
    assert again.stdout == ""
    assert "admin key already" in again.stderr


def test_the_store_is_the_one_that_the_configuration_names(folder, monkeypatch):
    (folder / "understudy.toml").write_text('[server]\nkey_store = "named.sqlite"\n[providers.x]\napi_key = "env:NO"\n')
    keys("create", "a")
    assert (folder / "named.sqlite").exists()
    monkeypatch.setenv("PLACE", str(folder / "by-variable.sqlite"))
    (folder / "understudy.toml").write_text('[server]\nkey_store = "env:PLACE"\n')
    keys("create", "a")
    assert (folder / "by-variable.sqlite").exists()
    monkeypatch.delenv("PLACE")
    done = keys("create", "a")
    assert (done.exit_code, "env:PLACE" in done.stderr) == (2, True)
    (folder / "understudy.toml").write_text("[server\n")
    done = keys("create", "a")
    assert (done.exit_code, "understudy check" in done.stderr) == (2, True)


def test_keys_are_kept_in_postgresql_where_that_is_said(folder, monkeypatch, postgres_server):
    monkeypatch.setenv("KEYS", postgres_server.url().replace("test@", "test:hidden@"))
    done = understudy("init", "--store", "env:KEYS", "--json")
    found = json.loads(done.stdout)
    assert found["store"].startswith("PostgreSQL at 127.0.0.1:")
    loaded = config.load(folder / "understudy.toml", {"KEYS": "postgresql://h/n"}).config
    assert loaded.server.key_store == "env:KEYS"
    secret = keys("create", "a", "--limit", "parallel=3").stdout.strip()
    assert SHOWN.fullmatch(secret)
    assert [key["name"] for key in json.loads(keys("list", "--json").stdout)] == ["admin", "a"]
    for verb in VERBS[3:]:
        done = keys(verb, "a", *(["--owner", "ben"] if verb == "change" else []))
        assert done.exit_code == 0, done.output
        assert "hidden" not in done.output
    assert keys("show", "a").exit_code == 1
    assert list(folder.glob("*.sqlite")) == []


def test_init_leaves_a_configuration_alone_and_tells_programs_what_it_did(folder):
    (folder / "understudy.toml").write_text("# mine\n")
    found = json.loads(understudy("init", "--json").stdout)
    assert (folder / "understudy.toml").read_text() == "# mine\n"
    assert found["written"] is False
    assert isinstance(opens(folder, found["key"]["secret"]), Key)
    assert json.loads(understudy("init", "--json").stdout)["key"] is None


def test_init_where_it_cannot_write_ends_with_1(folder):
    done = understudy("init", "-c", folder / "nowhere/understudy.toml")
    assert done.exit_code == 1
    assert "Cannot write" in done.stderr


def test_what_may_be_kept_of_a_key_can_be_set_and_left_to_its_route(folder):
    secret = keys("create", "my-app", "--keep", "metadata").stdout.strip()
    assert opens(folder, secret).store == "metadata"
    assert json.loads(keys("show", "my-app", "--json").stdout)["keep"] == "metadata"
    assert json.loads(keys("change", "my-app", "--keep", "route", "--json").stdout)["keep"] == "route"
    assert opens(folder, secret).store is None
    done = keys("change", "my-app", "--keep", "everything")
    assert done.exit_code == 2
    assert "none, metadata, bodies, route" in done.output
