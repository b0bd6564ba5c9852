"""Users and devices."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision: str | None = None
branch_labels: str | None = None
depends_on: str | None = None


def upgrade() -> None:
    """Make the first tables."""
    text = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
    op.create_table(
        "users",
        sa.Column("user_id", text, nullable=False),
        sa.Column("username", sa.Text, nullable=False),
        sa.Column("folded_username", text, nullable=False),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("folded_display_name", text, nullable=False),
        sa.Column("about", sa.Text, nullable=False),
        sa.Column("avatar_url", sa.Text, nullable=False),
        sa.Column("operator", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("create_time_ms", sa.BigInteger, nullable=False),
        sa.Column("suspend_time_ms", sa.BigInteger),
        sa.Column("password_hash", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("user_id", name="pk_users"),
        sa.UniqueConstraint("folded_username", name="uq_users_folded_username"),
    )
    op.create_index("ix_users_folded_display_name", "users", ["folded_display_name"])
    op.create_index("ix_users_suspend_time_ms", "users", ["suspend_time_ms"])
    op.create_table(
        "devices",
        sa.Column("device_id", text, nullable=False),
        sa.Column("user_id", text, nullable=False),
        sa.Column("device_name", sa.Text, nullable=False),
        sa.Column("create_time_ms", sa.BigInteger, nullable=False),
        sa.Column("refresh_time_ms", sa.BigInteger, nullable=False),
        sa.Column("access_expire_time_ms", sa.BigInteger, nullable=False),
        sa.Column("refresh_expire_time_ms", sa.BigInteger, nullable=False),
        sa.Column("refresh_state", sa.LargeBinary, nullable=False),
        sa.Column("version", sa.Integer, nullable=False),
        sa.Column("revoke_time_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("device_id", name="pk_devices"),
        sa.ForeignKeyConstraint(["user_id"], ["users.user_id"], name="fk_devices_user_id"),
    )
    op.create_index("ix_devices_user_id", "devices", ["user_id", "create_time_ms"])
    op.create_index("ix_devices_revoke_time_ms", "devices", ["revoke_time_ms"])
