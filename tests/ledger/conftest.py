"""Both databases for every test that takes `url`."""

import pytest

from understudy.ledger import Settings


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request, tmp_path):
    """An empty database of either kind."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/ledger.db"
    return request.getfixturevalue("postgres_server").url()


@pytest.fixture
def settings(url, tmp_path):
    return Settings(url=url, spool=str(tmp_path / "spool"), patience=0.2, retry=0.05)


@pytest.fixture
def absent(tmp_path):
    """Settings with a database that is not there: its folder `none` would have to be made."""
    return Settings(url=f"sqlite:///{tmp_path}/none/ledger.db", spool=str(tmp_path / "spool"), patience=0.2, retry=0.05)
