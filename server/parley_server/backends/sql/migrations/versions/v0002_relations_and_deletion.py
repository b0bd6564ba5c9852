"""Contacts, blocks, and users who deleted their account."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision: str | None = "0001"
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Add two tables and the mark."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.add_column("users", sa.Column("delete_time_ms", sa.BigInteger))
    op.create_table(
        "relations",
        sa.Column("user_id", text, nullable=False),
        sa.Column("relation", sa.Text, nullable=False),
        sa.Column("other_id", text, nullable=False),
        sa.Column("create_time_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("user_id", "relation", "other_id", name="pk_relations"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_relations_user_id"),
        sa.ForeignKeyConstraint(["other_id"], ["users.user_id"], name="fk_relations_other_id"),
    )
    op.create_index("ix_relations_other_id", "relations", ["other_id", "relation"])
    op.create_table(
        "deletions",
        sa.Column("user_id", text, nullable=False),
        sa.Column("delete_time_ms", sa.BigInteger, nullable=False),
        sa.Column("finished", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.PrimaryKeyConstraint("user_id", name="pk_deletions"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_deletions_user_id"),
    )
