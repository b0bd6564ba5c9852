"""Commits in `chat.db`: a batch's rows and what is projected from them, in one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.backends.sqlite.message_log import AppendWrite, check_dense
from parley_server.backends.sqlite.writer import Write
from parley_server.ports.message_log import AppendResult, Committed

if TYPE_CHECKING:
    from collections.abc import Sequence

    import apsw

    from parley_server.backends.sqlite.applying import ApplyWrite
    from parley_server.backends.sqlite.database import ChatDatabase
    from parley_server.backends.sqlite.message_log import SqliteMessageLog
    from parley_server.backends.sqlite.projections import SqliteProjections
    from parley_server.chat.event import Event
    from parley_server.ports.message_log import Row


class SqliteCommits:
    """Costs one write and one answer per batch, where log and projections apart cost two of each."""

    def __init__(self, database: ChatDatabase, log: SqliteMessageLog, projections: SqliteProjections) -> None:
        """`log` and `projections` are the database's own: their caches must know of every write."""
        self._database = database
        self._write = _CommitWrite(log.append_write, projections.apply_write)

    async def commit(
        self,
        channel_id: str,
        expected_head: int,
        rows: Sequence[Row],
        events: Sequence[Event],
        batch_id: bytes,
    ) -> AppendResult:
        """See Commits, and SqliteMessageLog.append. Never raises StoreUnavailable."""
        return await self._database.write(
            self._write,
            (channel_id, expected_head, rows, events, batch_id),
            rows=len(rows),
            size_bytes=check_dense(expected_head, rows),
            sheddable=True,
        )


class _CommitWrite(Write["tuple[str, int, Sequence[Row], Sequence[Event], bytes]", AppendResult]):
    def __init__(self, append: AppendWrite, apply: ApplyWrite) -> None:
        self._append = append
        self._apply = apply

    def run(
        self,
        connection: apsw.Connection,
        requests: Sequence[tuple[str, int, Sequence[Row], Sequence[Event], bytes]],
    ) -> list[AppendResult | Exception]:
        results = self._append.run(connection, [(*request[:3], request[4]) for request in requests])
        committed = [
            (request[0], request[3])
            for request, result in zip(requests, results, strict=True)
            if isinstance(result, Committed)
        ]
        for refused in self._apply.run(connection, committed):
            if refused is not None:
                # Its rows must not stay either: the writer undoes all, and runs every request by itself.
                raise refused
        return results

    def forget(self) -> None:
        self._append.forget()
        self._apply.forget()

    def failed(
        self,
        request: tuple[str, int, Sequence[Row], Sequence[Event], bytes],
        cause: str,
        *,
        may_be_written: bool,
    ) -> AppendResult:
        return self._append.failed((*request[:3], request[4]), cause, may_be_written=may_be_written)
