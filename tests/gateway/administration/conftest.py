"""A real PostgreSQL for the ledger, as the ledger's own tests have it."""

from tests.ledger.conftest import postgres_server

__all__ = ["postgres_server"]
