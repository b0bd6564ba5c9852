"""Alembic migrations of the accounts, oldest first in `versions`."""
