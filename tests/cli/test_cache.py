"""`understudy cache clear`: what was kept is gone, whatever the gateway does meanwhile."""

import contextlib
import json
import sqlite3

import pytest

from tests.cli.process import Process, run
from tests.gateway.redis_server import RedisServer
from tests.gateway.sockets import Provider
from tests.running import Running

ROUTES = """
[providers.p]
dialect = "openai-chat"
base_url = "{url}"
[routes.one]
targets = ["p/m"]
cache = "always"
[routes.two]
targets = ["p/m"]
cache = "always"
[ledger]
url = "off"
"""


def configured(tmp_path, text, url):
    file = tmp_path / "understudy.toml"
    file.write_text(text + ROUTES.replace("{url}", url))
    return file


def asked(gateway, *models):
    states = []
    for model in models:
        states.append(gateway.chat(model).headers["x-understudy-cache"])
        assert gateway.until(lambda: not gateway.gateway.cache._waiting)
    return states


@pytest.mark.parametrize("where", ["file", "redis"])
def test_answers_are_gone_under_a_running_gateway(tmp_path, where):
    server = RedisServer(tmp_path)
    text = f'[cache]\npatience = 5\nwhere = "{tmp_path}/c.sqlite"\n'
    if where == "redis":
        text = f'[server]\nredis = "{server.start().url}"\n[cache]\npatience = 5\nwhere = "redis"\n'
    provider = Provider()
    file = configured(tmp_path, text, provider.url)
    try:
        with provider, Running(file.read_text()) as gateway:
            assert asked(gateway, "one", "two", "one", "two") == ["miss", "miss", "hit", "hit"]
            code, out, errors = run("cache", "clear", "--route", "one", "--json", "-c", file)
            assert (code, json.loads(out)["deleted"]) == (0, 1), errors
            assert asked(gateway, "two", "one", "one") == ["hit", "miss", "hit"]
            code, out, _ = run("cache", "clear", "-c", file)
            assert (code, out.startswith("2 answers deleted from ")) == (0, True)
            code, out, _ = run("cache", "clear", "--key", "nobody", "--json", "-c", file)
            assert (code, json.loads(out)["deleted"]) == (0, 0)
            assert asked(gateway, "two") == ["miss"]
    finally:
        server.kill()


def test_what_cannot_be_done_is_told(tmp_path):
    file = configured(tmp_path, '[cache]\nwhere = "memory"\n', "http://127.0.0.1:9/v1")
    code, _, errors = run("cache", "clear", "-c", file)
    assert (code, "started anew" in errors) == (2, True)
    file = configured(tmp_path, f'[cache]\nwhere = "{tmp_path}/c.sqlite"\n', "http://127.0.0.1:9/v1")
    assert run("cache", "clear", "-c", file)[0] == 0
    (tmp_path / "c.sqlite").write_bytes(b"no database " * 1000)
    code, _, errors = run("cache", "clear", "-c", file)
    assert (code, "not a database" in errors) == (1, True)


def test_serve_keeps_answers_in_the_users_data_folder_and_deletes_what_expired(tmp_path):
    provider = Provider()
    file = configured(tmp_path, "[cache]\npatience = 5\n[defaults]\ncache_ttl = 0.2\n", provider.url)
    environ = {"XDG_DATA_HOME": str(tmp_path / "data")}
    kept = tmp_path / "data/understudy/cache.sqlite"
    with provider:
        for _ in range(2):
            with Process("serve", "-c", file, "--port", "0", environ=environ) as served:
                assert _ask(served.url, "one") == "miss"
                served.stop()
                assert served.finish()[0] == 0
            with contextlib.closing(sqlite3.connect(kept)) as db:
                assert db.execute("SELECT COUNT(*) FROM answers").fetchone() == (1,)  # that of the start before is gone
    assert oct(kept.stat().st_mode & 0o777) == "0o600"


def _ask(url, model):
    import httpx2

    body = {"model": model, "messages": [{"role": "user", "content": "Hello"}]}
    response = httpx2.post(url + "/v1/chat/completions", json=body, timeout=30, trust_env=False)
    return response.headers["x-understudy-cache"]
