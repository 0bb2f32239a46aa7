"""Both databases, as the ledger's own tests have them."""

from tests.ledger.conftest import postgres_server, url

__all__ = ["postgres_server", "url"]
