"""Run by Alembic: takes the connection that `migrate` prepared, inside its transaction."""

from __future__ import annotations

from alembic import context

from parley_server.backends.sql.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
