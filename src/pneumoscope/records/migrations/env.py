"""How Alembic runs the steps: on the connection that `Database.migrate` opened."""

from __future__ import annotations

from alembic import context

from pneumoscope.records.tables import Table

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Table.metadata,
    render_as_batch=True,  # SQLite changes a table by copying it
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
