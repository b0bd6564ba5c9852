"""The tables of the accounts. What a database really has is the migrations' work; a test holds the two
together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    false,
)

if TYPE_CHECKING:
    from sqlalchemy.types import TypeEngine

metadata = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)


def code_point_text() -> TypeEngine[str]:
    """Text that compares and sorts by code point, as SQLite's does by itself."""
    return Text().with_variant(Text(collation="C"), "postgresql")


users = Table(
    "users",
    metadata,
    Column("user_id", code_point_text(), primary_key=True),
    Column("username", Text, nullable=False),
    Column("folded_username", code_point_text(), nullable=False, unique=True),
    Column("display_name", Text, nullable=False),
    Column("folded_display_name", code_point_text(), nullable=False),
    Column("about", Text, nullable=False),
    Column("avatar_url", Text, nullable=False),
    Column("operator", Boolean, nullable=False, server_default=false()),
    Column("create_time_ms", BigInteger, nullable=False),
    Column("suspend_time_ms", BigInteger),
    Column("password_hash", Text, nullable=False),
    Column("delete_time_ms", BigInteger),
)
Index("ix_users_folded_display_name", users.c.folded_display_name)
Index("ix_users_suspend_time_ms", users.c.suspend_time_ms)

devices = Table(
    "devices",
    metadata,
    Column("device_id", code_point_text(), primary_key=True),
    Column("user_id", code_point_text(), ForeignKey("users.user_id"), nullable=False),
    Column("device_name", Text, nullable=False),
    Column("create_time_ms", BigInteger, nullable=False),
    Column("refresh_time_ms", BigInteger, nullable=False),
    Column("access_expire_time_ms", BigInteger, nullable=False),
    Column("refresh_expire_time_ms", BigInteger, nullable=False),
    Column("refresh_state", LargeBinary, nullable=False),
    Column("version", Integer, nullable=False),
    Column("revoke_time_ms", BigInteger),
)
Index("ix_devices_user_id", devices.c.user_id, devices.c.create_time_ms)
Index("ix_devices_revoke_time_ms", devices.c.revoke_time_ms)

relations = Table(
    "relations",
    metadata,
    Column("user_id", code_point_text(), ForeignKey("users.user_id"), primary_key=True),
    Column("relation", Text, primary_key=True),
    Column("other_id", code_point_text(), ForeignKey("users.user_id"), primary_key=True),
    Column("create_time_ms", BigInteger, nullable=False),
)
Index("ix_relations_other_id", relations.c.other_id, relations.c.relation)

# Deleted users whose messages are still to be erased, or who are to be compacted away (`finished`).
deletions = Table(
    "deletions",
    metadata,
    Column("user_id", code_point_text(), ForeignKey("users.user_id"), primary_key=True),
    Column("delete_time_ms", BigInteger, nullable=False),
    Column("finished", Boolean, nullable=False, server_default=false()),
)
