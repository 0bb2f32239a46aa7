"""A configuration that changes under a running gateway: taken whole or not at all, and no call notices."""

import asyncio
import concurrent.futures
import logging

import pytest

from tests.running import TWO, Running
from understudy.access import Limit
from understudy.access.store import Store
from understudy.gateway import reloading

ROUTE = '[routes.r]\ntargets = ["{}/ok"]\n'


@pytest.fixture
def gateway(tmp_path):
    with Running(TWO + ROUTE.format("first")) as running:
        running.file = tmp_path / "understudy.toml"
        yield running


def written(gateway, text):
    gateway.file.write_text(text.replace("{a}", gateway.a.url).replace("{b}", gateway.b.url))


def reload(gateway):
    job = reloading.reload(gateway.gateway, gateway.file, {})
    return asyncio.run_coroutine_threadsafe(job, gateway.loop).result(10)


def target(gateway, model="r"):
    return gateway.chat(model).headers.get("x-understudy-target")


def test_a_changed_configuration_takes_effect(gateway):
    assert target(gateway) == "first/ok"
    written(gateway, TWO + ROUTE.format("second") + '[routes.new]\ntargets = ["first/ok"]\n')
    assert reload(gateway)
    assert target(gateway) == "second/ok"
    assert target(gateway, "new") == "first/ok"


def test_keys_change_with_it(gateway):
    written(gateway, TWO + '[server]\nkeys = ["only-this"]\n' + ROUTE.format("first"))
    assert reload(gateway)
    assert gateway.chat("r").status_code == 401
    assert gateway.chat("r", headers={"authorization": "Bearer only-this"}).status_code == 200


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (TWO + '[routes.r]\ntargets = ["nobody/ok"]\n', "nobody"),
        ("[routes.r\n", "not valid TOML"),
        (TWO + "[defaults2]\n", "defaults2"),
    ],
)
def test_a_wrong_one_changes_nothing_and_says_where(gateway, caplog, text, says):
    written(gateway, text)
    with caplog.at_level(logging.WARNING, "understudy"):
        assert not reload(gateway)
    assert says in caplog.text
    assert "understudy.toml:" in caplog.text
    assert target(gateway) == "first/ok"


def test_what_only_a_start_can_change_is_named(gateway, caplog):
    written(gateway, TWO + "[server]\nport = 4999\n" + ROUTE.format("first"))
    with caplog.at_level(logging.WARNING, "understudy"):
        assert reload(gateway)
    assert "server.port takes effect at the next start" in caplog.text


def test_no_call_under_way_notices(gateway):
    written(gateway, TWO + ROUTE.format("second"))
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(gateway.chat, "r", stream=bool(i % 2)) for i in range(200)]
        for _ in range(10):
            assert reload(gateway)
        answers = [call.result() for call in calls]
    assert {answer.status_code for answer in answers} == {200}
    assert all(answer.text.endswith("data: [DONE]\n\n") for answer in answers[1::2])


def test_a_file_that_changes_is_seen(gateway, monkeypatch):
    monkeypatch.setattr(reloading, "EVERY", 0.01)
    written(gateway, TWO + ROUTE.format("first"))

    async def begin():
        return asyncio.ensure_future(reloading.watch(gateway.gateway, gateway.file, {}, asyncio.Event()))

    watcher = asyncio.run_coroutine_threadsafe(begin(), gateway.loop).result(10)
    gateway.file.unlink()
    written(gateway, TWO + ROUTE.format("second"))
    routing = gateway.gateway
    assert gateway.until(lambda: routing.routing.routes["r"].targets[0].name == "second/ok")
    gateway.call(watcher.cancel)


def test_nothing_of_a_changed_file_is_passed_over_in_silence(gateway, caplog):
    more = '[server]\nredis_gone = "closed"\nlog_exchanges = true\n[ledger]\nsample = 0.5\n'
    more += '[cache]\nwhere = "memory"\n[redaction]\non = false\n'
    written(gateway, TWO + more + ROUTE.format("first"))
    with caplog.at_level(logging.WARNING, "understudy"):
        assert reload(gateway)
    for name in ("server.redis_gone", "server.log_exchanges", "[ledger]", "[cache]", "[redaction]"):
        assert f"{name} takes effect at the next start" in caplog.text


def test_another_key_store_takes_effect_and_one_that_cannot_be_read_changes_nothing(gateway, caplog, tmp_path):
    def keyed(name):
        store = Store(tmp_path / name)
        secret = store.create(name, limits=(Limit("parallel", 5),))[1].reveal()
        store.close()
        return {"authorization": f"Bearer {secret}"}

    def named(name):
        written(gateway, TWO + f'[server]\nkey_store = "{tmp_path / name}"\n' + ROUTE.format("first"))
        with caplog.at_level(logging.WARNING, "understudy"):
            return reload(gateway)

    def opens(headers):
        return gateway.chat("r", headers=headers).status_code == 200

    first, second = keyed("first"), keyed("second")
    assert opens({}), "no key is asked for"
    assert named("first")
    assert [opens(headers) for headers in (first, second, {})] == [True, False, False]
    assert named("second")
    assert [opens(headers) for headers in (first, second, {})] == [False, True, False]
    assert not named("none/such")
    assert "server.key_store: Cannot open the key store" in caplog.text
    assert [opens(headers) for headers in (first, second)] == [False, True]
    written(gateway, TWO + ROUTE.format("first"))
    with caplog.at_level(logging.WARNING, "understudy"):
        assert reload(gateway)
    assert "its keys go on opening until the next start" in caplog.text
    assert [opens(headers) for headers in (second, {})] == [True, False]
