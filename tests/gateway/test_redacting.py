"""What the gateway has taken out of the ledger and the log: what the configuration says, and the secrets it knows."""

import asyncio
import logging
from typing import get_args

import pytest

from tests.gateway.sockets import Provider, answer
from tests.running import Running
from understudy.canon import Fault
from understudy.gateway import redacting
from understudy.gateway.assemble import assemble
from understudy.gateway.config import parse
from understudy.gateway.record import Failure
from understudy.gateway.routing import NoRouteError
from understudy.gateway.telling import concealed
from understudy.ledger import recognise, settings
from understudy.ledger.redaction import Redactor, UnsearchableError

BOX = '[providers.box]\ndialect = "openai-chat"\nbase_url = "{url}"\n'
ENVIRON = {"CLIENT": "client-key-1", "HEADED": "headed-key-1", "DATABASE": "postgresql://me:database-1@db/x"}
CONFIG = """
[server]
keys = ["env:CLIENT", "short"]
admin_keys = ["admin-key-1"]
redis = "redis://me:redis-pass-1@cache:6379/0"
[ledger]
url = "env:DATABASE"
[redaction]
find = ["secret", "email"]
national = []
patterns = { staff = 'EMP-\\d+' }
pseudonym_key = "kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk"
[providers.box]
dialect = "openai-chat"
base_url = "http://127.0.0.1:9/v1"
api_keys = ["provider-key-1", "provider-key-2"]
headers = { x-tenant = "env:HEADED", x-version = "2026-11-01" }
"""


def routing(text, environ=ENVIRON):
    async def made():
        gateway = await assemble(parse(text, "here.toml", environ), environ)
        await gateway.close()
        return gateway.routing

    return asyncio.run(made())


def test_the_configuration_says_what_is_redacted_and_its_own_secrets_are(tmp_path):
    pytest.importorskip("kingfisher_sdk")
    found = redacting.meant(
        routing(CONFIG).config.redaction, ENVIRON, tmp_path, redacting.secrets(routing(CONFIG), ENVIRON)
    )
    assert (found.find, found.national, found.patterns) == (("secret", "email"), (), {"staff": r"EMP-\d+"})
    assert (found.key, found.scanner, found.cache) == ("k" * 32, True, str(tmp_path))
    assert set(found.literals) == {
        "client-key-1", "admin-key-1", "redis-pass-1", "database-1", "provider-key-1", "provider-key-2", "headed-key-1",
    }  # fmt: skip


def test_switched_off_nothing_is(tmp_path):
    assert redacting.meant(routing("[redaction]\non = false").config.redaction, {}, tmp_path) is None


def test_the_further_detector_is_used_only_where_it_is(tmp_path, monkeypatch):
    made = routing("")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert not redacting.meant(made.config.redaction, {}, tmp_path).scanner


def test_the_settings_know_the_recognisers_that_there_are():
    assert set(get_args(settings.Recogniser)) == {"secret", *recognise.RECOGNISERS}
    assert set(get_args(settings.National)) == set(recognise.NATIONAL)


def test_a_line_of_the_log_loses_secrets_and_keeps_addresses(monkeypatch):
    formatter = redacting.Formatter("%(levelname)s %(message)s", ("client-key-1",))
    said = "no client-key-1, sk-proj-abcdefgh12345678 or jo@example.org at 127.0.0.1:4000"
    record = logging.LogRecord("understudy", logging.ERROR, "f", 1, said, (), None)
    assert formatter.format(record) == "ERROR no [secret:1], [secret:2] or [email:1] at 127.0.0.1:4000"

    def never(*_arguments):
        raise UnsearchableError

    monkeypatch.setattr(Redactor, "text", never)
    assert "cannot be searched" in formatter.format(record)
    assert "jo@" not in formatter.format(record)


def test_a_provider_that_repeats_its_key_is_not_repeated():
    fault = Fault("internal", code="c", message="for provider-key-1: no", request_id="provider-key-1")
    failure = Failure(fault, 500, [(b"x-debug", b"provider-key-1")], b'{"a": "provider-key-1"}', "openai-chat")
    after = concealed(failure, ["provider-key-1"])
    assert "provider-key-1" not in repr(after)
    assert after.fault.message == "for [secret]: no"
    assert after.fault.code == "c"
    assert "headed-key-1" not in repr(concealed(Failure(fault, body=b"headed-key-1"), ["headed-key-1"]))
    assert concealed(failure, ["another-key"]) is failure


def test_a_client_never_sees_the_key_in_an_error():
    body = b'{"error": {"message": "bad: provider-key-1", "type": "t", "code": null, "param": null}}'
    provider = Provider(answer(b"400 Bad Request", b"x-debug: provider-key-1\r\n", body))
    with provider, Running(BOX.format(url=provider.url) + 'api_key = "provider-key-1"\n') as gateway:
        response = gateway.chat("box/m")
        assert response.status_code == 400
        assert response.json()["error"]["message"] == "bad: [secret]"
        assert response.headers["x-debug"] == "[secret]"
        assert gateway.exchange(response).attempts[0].fault.message == "bad: [secret]"


def test_a_key_in_the_place_of_a_model_is_not_served_unless_it_is_the_name_of_one():
    made = routing(BOX.format(url="http://127.0.0.1:9/v1") + 'models = ["sk-model-of-ours-number-2024"]\n')
    with pytest.raises(NoRouteError):
        made.find("box/sk-proj-abcdefgh12345678")
    assert made.find("box/sk-model-of-ours-number-2024").targets
    assert made.find("box/sk-learn").targets
