"""Both databases, as the ledger's own tests have them."""

from tests.ledger.conftest import url

__all__ = ["url"]
