"""Accounts in a SQL database: a SQLite file, or PostgreSQL."""

from __future__ import annotations

from parley_server.backends.sql.accounts_deletion import SqlDeletion
from parley_server.backends.sql.accounts_devices import SqlDevices
from parley_server.backends.sql.accounts_relations import SqlRelations
from parley_server.backends.sql.accounts_users import SqlUsers


class SqlAccounts(SqlUsers, SqlDevices, SqlRelations, SqlDeletion):
    """Keeps the laws of `Accounts`. Open it with `SqlAccounts.open`."""
