"""Who knows and who blocked whom, in a SQL database."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, select

from parley_server.backends.sql.accounts_users import PRESENT, USER_COLUMNS
from parley_server.backends.sql.schema import relations, users
from parley_server.backends.sql.store import IDS_PER_STATEMENT, SqlStore, transaction
from parley_server.ports.accounts import RelatedRow, Relation, RelationAdded, UserRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection


class SqlRelations(SqlStore):
    """The part of `Accounts` about contacts and blocks."""

    @transaction
    def add_relation(
        self,
        connection: Connection,
        user_id: str,
        relation: Relation,
        other_id: str,
        *,
        limit: int,
        now_ms: int,
    ) -> RelationAdded:
        # Both rows stay locked: neither user goes meanwhile, and nobody else counts the same relations.
        both = (
            select(users.c.user_id)
            .where(users.c.user_id.in_((user_id, other_id)), PRESENT)
            .order_by(users.c.user_id)
            .with_for_update()
        )
        if len(connection.execute(both).all()) < 2:
            return RelationAdded.USER_NOT_FOUND
        between = select(relations.c.relation).where(
            relations.c.user_id == user_id, relations.c.other_id == other_id
        )
        there = set(connection.execute(between).scalars())
        if relation.value in there:
            return RelationAdded.THERE_ALREADY
        if relation is Relation.CONTACT and Relation.BLOCK.value in there:
            return RelationAdded.BLOCKED
        counted = select(func.count()).select_from(relations).where(_of(user_id, relation))
        if connection.execute(counted).scalar_one() >= limit:
            return RelationAdded.TOO_MANY
        if relation is Relation.BLOCK:
            contact = and_(_of(user_id, Relation.CONTACT), relations.c.other_id == other_id)
            connection.execute(delete(relations).where(contact))
        connection.execute(
            insert(relations).values(
                user_id=user_id, relation=relation.value, other_id=other_id, create_time_ms=now_ms
            )
        )
        return RelationAdded.ADDED

    @transaction
    def remove_relation(
        self, connection: Connection, user_id: str, relation: Relation, other_id: str
    ) -> bool:
        chosen = and_(_of(user_id, relation), relations.c.other_id == other_id)
        return connection.execute(delete(relations).where(chosen)).rowcount == 1

    async def relations(
        self, user_id: str, relation: Relation, *, after: str, limit: int
    ) -> tuple[RelatedRow, ...]:
        query = (
            select(*USER_COLUMNS, relations.c.create_time_ms.label("since_ms"))
            .join(relations, relations.c.other_id == users.c.user_id)
            .where(_of(user_id, relation), users.c.folded_username > after)
            .order_by(users.c.folded_username)
            .limit(limit)
        )
        found = []
        for row in await self._rows(query):
            values = dict(row._mapping)
            since_ms: int = values.pop("since_ms")
            found.append(RelatedRow(UserRow(**values), since_ms))
        return tuple(found)

    async def related_ids(self, user_id: str, relation: Relation) -> frozenset[str]:
        query = select(relations.c.other_id).where(_of(user_id, relation))
        return frozenset(row.other_id for row in await self._rows(query))

    async def related_to(self, other_id: str, relation: Relation, among: Sequence[str]) -> set[str]:
        wanted = list(dict.fromkeys(among))
        found: set[str] = set()
        for start in range(0, len(wanted), IDS_PER_STATEMENT):
            query = select(relations.c.user_id).where(
                relations.c.other_id == other_id,
                relations.c.relation == relation.value,
                relations.c.user_id.in_(wanted[start : start + IDS_PER_STATEMENT]),
            )
            found.update(row.user_id for row in await self._rows(query))
        return found


def _of(user_id: str, relation: Relation) -> ColumnElement[bool]:
    return and_(relations.c.user_id == user_id, relations.c.relation == relation.value)
