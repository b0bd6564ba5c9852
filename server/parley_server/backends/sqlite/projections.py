"""Projections in `chat.db`, beside the logs that they are derived from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_server.backends.sqlite import channel_rows, message_rows
from parley_server.backends.sqlite.applying import ApplyWrite, client_id_key
from parley_server.backends.sqlite.dropping import ClearWrite, ErasureDoneWrite

if TYPE_CHECKING:
    from collections.abc import Sequence

    from parley_server.backends.sqlite.database import ChatDatabase
    from parley_server.chat.event import Event
    from parley_server.ports.projections import (
        BanRow,
        ChannelRow,
        InboxRow,
        InviteRow,
        MemberRow,
        MessageStates,
    )


class SqliteProjections:
    """Projections in one file. No row is written per member and message: a channel's head stands in one
    row, and an inbox joins and sorts when it is read.

    `apply` joins the transaction of whatever else is being written. Alone it does not wait for the disk:
    what a power cut takes can be rebuilt from the logs, and `behind` names the channels.
    """

    def __init__(self, database: ChatDatabase) -> None:
        self._database = database
        self.apply_write = ApplyWrite()
        self._erasure_done = ErasureDoneWrite()
        self._clear = ClearWrite(self.apply_write)

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """See Projections. Raises ValueError for events that no log can hold in this order, and
        StoreUnavailable.
        """
        await self._database.write(self.apply_write, (channel_id, events), rows=len(events))

    async def watermark(self, channel_id: str) -> int:
        """See Projections."""
        return await self._database.read(channel_rows.watermark, channel_id)

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """See Projections."""
        return await self._database.read(channel_rows.channel, channel_id)

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """See Projections."""
        return await self._database.read(channel_rows.member, channel_id, user_id)

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.members, channel_id, after_user_id, limit)

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.channels_of, user_id, after_channel_id, limit)

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.inbox, user_id, before, limit)

    async def message_states(self, channel_id: str, seqs: Sequence[int], *, viewer_id: str) -> MessageStates:
        """See Projections."""
        return await self._database.read(message_rows.message_states, channel_id, seqs, viewer_id)

    async def edits_of(self, channel_id: str, seq: int) -> tuple[int, ...]:
        """See Projections."""
        return await self._database.read(message_rows.edits_of, channel_id, seq)

    async def own_reactions(self, channel_id: str, seq: int, user_id: str) -> frozenset[str]:
        """See Projections."""
        return await self._database.read(message_rows.own_reactions, channel_id, seq, user_id)

    async def thread(self, channel_id: str, root_seq: int, *, before_seq: int, limit: int) -> tuple[int, ...]:
        """See Projections."""
        return await self._database.read(message_rows.thread, channel_id, root_seq, before_seq, limit)

    async def pins(self, channel_id: str) -> tuple[tuple[int, str], ...]:
        """See Projections."""
        return await self._database.read(message_rows.pins, channel_id)

    async def invites(self, channel_id: str) -> tuple[InviteRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.invites, channel_id)

    async def bans(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[BanRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.bans, channel_id, after_user_id, limit)

    async def memberships_of(
        self, user_id: str, *, after_channel_id: str, limit: int
    ) -> tuple[MemberRow, ...]:
        """See Projections."""
        return await self._database.read(channel_rows.memberships_of, user_id, after_channel_id, limit)

    async def erasures_due(self, *, after: tuple[str, int], limit: int) -> tuple[tuple[str, int], ...]:
        """See Projections."""
        return await self._database.read(channel_rows.erasures_due, after, limit)

    async def erasure_done(self, channel_id: str, seq: int) -> None:
        """See Projections. The rows of a deleted channel's messages go here, a bounded number per
        transaction.
        """
        while not await self._database.write(self._erasure_done, (channel_id, seq)):
            pass

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """See Projections."""
        key = client_id_key(channel_id, actor_id, client_message_id)
        return await self._database.read(channel_rows.seqs_of, key)

    async def behind(self, *, limit: int) -> tuple[str, ...]:
        """Channels whose log goes on after their watermark, at most `limit`.

        After a crash these are to be activated, which applies what is missing. Reads one small row per
        channel: meant for the start of a node.
        """
        return await self._database.read(channel_rows.behind, limit)

    async def clear(self) -> None:
        """Drop everything that was derived, all at once: every channel that has a log is behind then."""
        await self._database.write(self._clear, None)
