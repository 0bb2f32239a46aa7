import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from tests.ledger.making import NOW, ask, exchange, whole
from understudy.ledger import Cost, Tokens
from understudy.ledger.database import migrate, open_engine, revision_of
from understudy.ledger.rows import rows_of
from understudy.ledger.schema import DIMENSIONS, SUMS, metadata
from understudy.ledger.store import Store, _insertion


@pytest.fixture
def engine(url):
    engine = open_engine(url, writing=True)
    yield engine
    engine.dispose()


def test_migrations_make_the_very_schema_that_the_code_means(engine):
    migrate(engine)
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
        assert revision_of(connection) == "0002"


def test_migrating_again_changes_nothing(engine, url):
    store = Store(url)
    store.write([whole()])
    store.close()
    before = ask(url, "SELECT * FROM exchanges"), ask(url, "SELECT * FROM hours")
    migrate(engine)
    assert (ask(url, "SELECT * FROM exchanges"), ask(url, "SELECT * FROM hours")) == before


def test_the_previous_version_is_brought_up_with_what_it_holds(engine, url, tmp_path):
    """Sums that the migration works out are those that the writer would have kept."""
    records = [
        whole(wall=NOW + 3599.9),
        whole(wall=NOW + 3600),
        exchange(wall=NOW, tokens=None, cost=None, target=None, outcome="failed"),
        exchange(wall=NOW + 1, tokens=Tokens(3, None), cost=Cost(0.125, "v")),
    ]
    migrate(engine, "0001")
    with engine.begin() as connection:
        rows = rows_of(records)["exchanges"]
        names = [column.name for column in metadata.tables["exchanges"].columns]
        connection.exec_driver_sql(_insertion(connection, "exchanges", names), rows)
    migrate(engine)

    fresh = f"sqlite:///{tmp_path}/fresh.db"
    store = Store(fresh)
    store.write(records)
    store.close()
    for table, key in (("hours", ("hour", *DIMENSIONS)), ("hours_by", ("dimension", "hour", "value"))):
        columns = ", ".join(f'"{name}"' for name in (*key, *SUMS))
        question = f"SELECT {columns} FROM {table} ORDER BY {columns}"
        assert ask(url, question) == ask(fresh, question) != []


def test_a_migration_that_fails_leaves_the_schema_as_it_was(engine, monkeypatch):
    migrate(engine, "0001")
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE exchanges")
    with pytest.raises(Exception, match="exchanges"):
        migrate(engine)
    with engine.connect() as connection:
        assert revision_of(connection) == "0001"
        assert not engine.dialect.has_table(connection, "hours")


def test_every_row_has_a_value_for_each_column():
    for name, rows in rows_of([whole()]).items():
        for row in rows:
            assert len(row) == len(metadata.tables[name].columns), name
