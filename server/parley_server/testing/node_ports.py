"""The stores, the fan-out and the clock as one node of the model reaches them: every call waits to be
resolved by the scheduler.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.at_once import run_at_once
from parley_server.chat.fanout import Fanout
from parley_server.testing.model_history import Appending, Published
from parley_server.testing.model_store import Call

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Collection, Sequence

    from parley_server.chat.event import Event
    from parley_server.ports.message_log import AppendResult, LogPage, Row
    from parley_server.ports.projections import (
        BanRow,
        ChannelRow,
        InboxRow,
        InviteRow,
        MemberRow,
        MessageStates,
    )
    from parley_server.testing.model_store import ModelStore


class NodeClock:
    """A node's wall clock: the world's time and this node's error. `last_ms` is what it showed last."""

    def __init__(self, world_ms: Callable[[], int], skew_ms: int) -> None:
        self._world_ms = world_ms
        self.skew_ms = skew_ms
        self.last_ms = 0

    def now_ms(self) -> int:
        """See Clock."""
        self.last_ms = self._world_ms() + self.skew_ms
        return self.last_ms

    def monotonic(self) -> float:
        """See Clock."""
        return self._world_ms() / 1000


class NodeLog:
    """The log, as one node reaches it."""

    def __init__(self, store: ModelStore, node: int, clock: NodeClock) -> None:
        self._store = store
        self._node = node
        self._clock = clock

    async def append(
        self, channel_id: str, expected_head: int, rows: Sequence[Row], batch_id: bytes
    ) -> AppendResult:
        """See MessageLog."""
        kept = tuple(rows)
        self._store.history.append(
            Appending(self._node, batch_id, expected_head, kept, self._clock.last_ms // 60_000)
        )
        result: AppendResult = await Call(
            "append", lambda: self._store.append(expected_head, kept, batch_id), writes=True
        )
        return result

    async def head(self, channel_id: str) -> int:
        """See MessageLog."""
        head: int = await Call("head", lambda: run_at_once(self._store.log.head(channel_id)))
        return head

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        """See MessageLog."""
        found: bytes | None = await Call(
            "batch_at", lambda: run_at_once(self._store.log.batch_at(channel_id, seq))
        )
        return found

    async def read(
        self,
        channel_id: str,
        from_seq: int,
        to_seq: int,
        *,
        limit: int,
        limit_bytes: int,
        newest_first: bool = False,
        only_messages: bool = False,
    ) -> LogPage:
        """See MessageLog."""
        page: LogPage = await Call(
            "read",
            lambda: self._store.read(
                from_seq,
                to_seq,
                limit=limit,
                limit_bytes=limit_bytes,
                newest_first=newest_first,
                only_messages=only_messages,
            ),
        )
        return page

    async def pick(self, channel_id: str, seqs: Sequence[int]) -> tuple[Row, ...]:
        """See MessageLog."""
        rows: tuple[Row, ...] = await Call(
            "pick", lambda: run_at_once(self._store.log.pick(channel_id, seqs))
        )
        return rows

    async def erase(self, channel_id: str, rows: Sequence[Row]) -> None:
        """See MessageLog."""
        kept = tuple(rows)
        await Call("erase", lambda: self._store.erase(self._node, kept), writes=True)

    async def compact(self) -> None:
        """See MessageLog. No owner asks."""
        raise NotImplementedError

    async def fanned(self, channel_id: str) -> int:
        """See MessageLog."""
        seq: int = await Call("fanned", lambda: run_at_once(self._store.log.fanned(channel_id)))
        return seq

    async def mark_fanned(self, channel_id: str, seq: int) -> None:
        """See MessageLog."""
        await Call("mark_fanned", lambda: self._store.mark_fanned(seq), writes=True)

    async def mark_active(self, slot: int, minute: int, channel_id: str) -> None:
        """See MessageLog."""
        await Call("mark_active", lambda: self._store.mark_active(slot, minute), writes=True)

    async def active(self, slot: int, since_minute: int) -> tuple[str, ...]:
        """See MessageLog."""
        found: tuple[str, ...] = await Call(
            "active", lambda: run_at_once(self._store.log.active(slot, since_minute))
        )
        return found


class NodeProjections:
    """The projections, as one node reaches them. `seqs_of` names wrong candidates too, as it may."""

    def __init__(self, store: ModelStore, node: int, choices: random.Random) -> None:
        self._store = store
        self._node = node
        self._choices = choices

    async def apply(self, channel_id: str, events: Sequence[Event]) -> None:
        """See Projections."""
        kept = tuple(events)
        await Call("apply", lambda: self._store.apply(self._node, kept), writes=True)

    async def watermark(self, channel_id: str) -> int:
        """See Projections."""
        seq: int = await Call("watermark", lambda: run_at_once(self._store.projections.watermark(channel_id)))
        return seq

    async def channel(self, channel_id: str) -> ChannelRow | None:
        """See Projections."""
        row: ChannelRow | None = await Call(
            "channel", lambda: run_at_once(self._store.projections.channel(channel_id))
        )
        return row

    async def member(self, channel_id: str, user_id: str) -> MemberRow | None:
        """See Projections."""
        row: MemberRow | None = await Call(
            "member", lambda: run_at_once(self._store.projections.member(channel_id, user_id))
        )
        return row

    async def members(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[MemberRow, ...]:
        """See Projections."""
        projections = self._store.projections
        rows: tuple[MemberRow, ...] = await Call(
            "members",
            lambda: run_at_once(projections.members(channel_id, after_user_id=after_user_id, limit=limit)),
        )
        return rows

    async def channels_of(self, user_id: str, *, after_channel_id: str, limit: int) -> tuple[InboxRow, ...]:
        """See Projections. No owner asks."""
        raise NotImplementedError

    async def inbox(
        self, user_id: str, *, before: tuple[int, str] | None, limit: int
    ) -> tuple[InboxRow, ...]:
        """See Projections. No owner asks."""
        raise NotImplementedError

    async def message_states(self, channel_id: str, seqs: Sequence[int], *, viewer_id: str) -> MessageStates:
        """See Projections."""
        projections = self._store.projections
        states: MessageStates = await Call(
            "message_states",
            lambda: run_at_once(projections.message_states(channel_id, seqs, viewer_id=viewer_id)),
        )
        return states

    async def edits_of(self, channel_id: str, seq: int) -> tuple[int, ...]:
        """See Projections."""
        projections = self._store.projections
        seqs: tuple[int, ...] = await Call(
            "edits_of", lambda: run_at_once(projections.edits_of(channel_id, seq))
        )
        return seqs

    async def own_reactions(self, channel_id: str, seq: int, user_id: str) -> frozenset[str]:
        """See Projections."""
        projections = self._store.projections
        emojis: frozenset[str] = await Call(
            "own_reactions", lambda: run_at_once(projections.own_reactions(channel_id, seq, user_id))
        )
        return emojis

    async def thread(self, channel_id: str, root_seq: int, *, before_seq: int, limit: int) -> tuple[int, ...]:
        """See Projections. No owner asks."""
        raise NotImplementedError

    async def pins(self, channel_id: str) -> tuple[tuple[int, str], ...]:
        """See Projections."""
        rows: tuple[tuple[int, str], ...] = await Call(
            "pins", lambda: run_at_once(self._store.projections.pins(channel_id))
        )
        return rows

    async def invites(self, channel_id: str) -> tuple[InviteRow, ...]:
        """See Projections."""
        rows: tuple[InviteRow, ...] = await Call(
            "invites", lambda: run_at_once(self._store.projections.invites(channel_id))
        )
        return rows

    async def bans(self, channel_id: str, *, after_user_id: str, limit: int) -> tuple[BanRow, ...]:
        """See Projections."""
        projections = self._store.projections
        rows: tuple[BanRow, ...] = await Call(
            "bans",
            lambda: run_at_once(projections.bans(channel_id, after_user_id=after_user_id, limit=limit)),
        )
        return rows

    async def memberships_of(
        self, user_id: str, *, after_channel_id: str, limit: int
    ) -> tuple[MemberRow, ...]:
        """See Projections. No owner asks."""
        raise NotImplementedError

    async def erasures_due(self, *, after: tuple[str, int], limit: int) -> tuple[tuple[str, int], ...]:
        """See Projections. No owner asks."""
        raise NotImplementedError

    async def erasure_done(self, channel_id: str, seq: int) -> None:
        """See Projections."""
        projections = self._store.projections
        await Call(
            "erasure_done", lambda: run_at_once(projections.erasure_done(channel_id, seq)), writes=True
        )

    async def seqs_of(self, channel_id: str, actor_id: str, client_message_id: str) -> tuple[int, ...]:
        """See Projections."""

        def find() -> tuple[int, ...]:
            found = run_at_once(self._store.projections.seqs_of(channel_id, actor_id, client_message_id))
            head = run_at_once(self._store.log.head(channel_id))
            if head and self._choices.random() < 0.5:
                return (self._choices.randint(1, head + 1), *found)
            return found

        seqs: tuple[int, ...] = await Call("seqs_of", find)
        return seqs


class NodeFanout(Fanout):
    """A node's fan-out that writes down what it was told to announce, and tells nobody."""

    def __init__(self, store: ModelStore, node: int) -> None:
        self._store = store
        self._node = node

    async def publish(
        self,
        channel_id: str,
        members_after: Collection[str],
        events: Sequence[Event],
        encoded: Sequence[bytes],
    ) -> None:
        """See Fanout."""
        published = Published(self._node, frozenset(members_after), tuple(events))
        await Call("publish", lambda: self._store.history.append(published), writes=True)
