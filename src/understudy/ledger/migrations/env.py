"""What Alembic runs to migrate. `database.migrate` hands over the connection, and its transaction, it is to use."""

from alembic import context

from understudy.ledger.schema import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
