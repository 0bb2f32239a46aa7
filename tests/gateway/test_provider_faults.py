"""Faults as providers send them (`tests/wire/*/*.http`), over a real socket: what client and owner see of them."""

import logging
from pathlib import Path

import pytest

from tests.gateway.sockets import Provider
from tests.running import TWO, Running
from understudy import clock

WIRE = Path(__file__).parents[1] / "wire"
ROUTE = """
[providers.it]
dialect = "{dialect}"
base_url = "{url}"
api_key = "k"
[routes.r]
targets = ["it/m", "second/ok"]
"""


def sent(name):
    """The bytes of a fixture, with a length, as a server sends them."""
    wire, _, _ = (WIRE / f"{name}.http").read_bytes().rpartition(b"-----\n")
    lines = wire.split(b"\n")
    head, _, body = b"\n".join(line for line in lines if not line.startswith(b"#")).partition(b"\n\n")
    return head.replace(b"\n", b"\r\n") + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def behind(name, provider):
    """A gateway whose first target sends that fixture, and whose second answers."""
    return Running(TWO + ROUTE.format(dialect=name.partition("/")[0], url=provider.url))


@pytest.mark.parametrize("name", ["gemini/malformed", "anthropic-messages/malformed", "cohere-chat/malformed"])
def test_a_call_that_is_rejected_only_as_translated_moves_and_the_owner_is_told(name, caplog):
    with Provider(sent(name)) as provider, behind(name, provider) as gateway:
        response = gateway.chat("r")
        assert response.status_code == 200
        first, second = gateway.exchange(response).attempts
        assert (first.fault.kind, second.action) == ("translation_rejected", "answered")
    assert "in the form we translated it to" in caplog.text


@pytest.mark.parametrize("name", ["openai-chat/malformed", "openai-chat/unsupported-parameter"])
def test_a_call_that_its_own_dialect_rejects_is_the_clients_matter(name):
    with Provider(sent(name)) as provider, behind(name, provider) as gateway:
        response = gateway.chat("r")
        moved = "unsupported" in name
        assert response.status_code == (200 if moved else 400)
        assert len(gateway.exchange(response).attempts) == 1 + moved


def test_a_leaked_key_is_a_security_alert_to_the_owner_and_a_secret_to_the_client(caplog):
    with Provider(sent("gemini/leaked-key")) as provider:
        config = TWO + ROUTE.format(dialect="gemini", url=provider.url).replace(', "second/ok"', "")
        with Running(config) as gateway:
            response = gateway.chat("r")
            assert response.status_code == 502
            assert "leaked. Please" not in response.text
    assert "security alert" in caplog.text
    assert {record.levelno for record in caplog.records if "security alert" in record.message} == {logging.WARNING}


def test_a_days_quota_keeps_the_target_out_until_midnight_pacific():
    name = "gemini/several-quotas"
    with Provider(sent(name)) as provider, behind(name, provider) as gateway:
        assert gateway.chat("r").status_code == 200
        assert gateway.chat("r").status_code == 200
        assert len(provider.calls) == 1
        (cooldown,) = gateway.call(lambda: list(gateway.gateway.health.cooldowns.running.values()))
        left = cooldown.until - clock.monotonic()
    assert 0 < left <= 25 * 3600
    assert (clock.wall() + left) % 3600 == pytest.approx(0, abs=60) or left < 60  # a full hour, whatever the season
