"""Learning a channel's state from the stores, and bringing what is derived up to the log."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley_server.chat import codec
from parley_server.chat.channel_state import ChannelLimits, ChannelState, Invite
from parley_server.chat.client_id import AHEAD_LIMIT_MS
from parley_server.chat.event import MemberChange, MemberChanged, MessagePosted
from parley_server.chat.known_ids import KnownIds, Sent
from parley_server.ports.message_log import LARGEST_SEQ, MessageLog, Row, StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from parley_server.chat.event import Event, Role
    from parley_server.ports.projections import Projections

MEMBERS_PAGE = 1000
CONSISTENT_READ_TRIES = 20


@dataclass(frozen=True, slots=True)
class ActivationLimits:
    """How many client ids an owner keeps of a channel, how many of the newest rows it reads to begin with,
    how much of a log it reads at once, and the bounds that the channel's rules go by.
    """

    known_ids: int = 1024
    newest_rows: int = 256
    page_rows: int = 256
    page_bytes: int = 1024 * 1024
    channel: ChannelLimits = field(default_factory=ChannelLimits)


@dataclass(frozen=True, slots=True)
class CommittedPage:
    """Events that are in the log, dense, with their rows and the members after the last of them."""

    members_after: Collection[str]
    events: Sequence[Event]
    rows: Sequence[Row]


async def activate(
    channel_id: str, log: MessageLog, projections: Projections, limits: ActivationLimits
) -> ChannelState:
    """The channel's state at a head of its log, with projections applied at least up to that head.

    Others may append meanwhile; then the state is that of an earlier head, and the next append from it
    conflicts. Raises StoreUnavailable.
    """
    head = await catch_up(channel_id, log, projections, limits)
    state = await _state_at_watermark(channel_id, projections, limits)
    if state.head < head:
        raise StoreUnavailable(f"projections of {channel_id} went back from {head} to {state.head}")
    await _learn_ids(state, log, limits)
    return state


async def catch_up(
    channel_id: str, log: MessageLog, projections: Projections, limits: ActivationLimits
) -> int:
    """Apply to the projections what the log holds beyond them. Returns the head that was reached."""
    watermark = await projections.watermark(channel_id)
    while True:
        page = await log.read(
            channel_id, watermark + 1, LARGEST_SEQ, limit=limits.page_rows, limit_bytes=limits.page_bytes
        )
        if page.rows:
            await projections.apply(channel_id, [codec.event_of(row) for row in page.rows])
            watermark = page.rows[-1].seq
        if not page.more:
            return watermark


async def events_after(
    state: ChannelState, log: MessageLog, after_seq: int, limits: ActivationLimits
) -> AsyncIterator[CommittedPage]:
    """The committed events with after_seq < seq <= state.head, in pages, oldest first. `state` must not
    change meanwhile. Raises StoreUnavailable.
    """
    changes: list[tuple[int, MemberChanged]] | None = None
    while after_seq < state.head:
        events, rows = await _read_events(state, log, after_seq, limits)
        after_seq = events[-1].seq
        if changes is None:
            changes = await _member_changes(state, log, after_seq, limits)
        yield CommittedPage(_members_at(after_seq, state, changes), events, rows)


async def _member_changes(
    state: ChannelState, log: MessageLog, after_seq: int, limits: ActivationLimits
) -> list[tuple[int, MemberChanged]]:
    changes = []
    while after_seq < state.head:
        events, _ = await _read_events(state, log, after_seq, limits)
        after_seq = events[-1].seq
        changes += [(event.seq, event.body) for event in events if isinstance(event.body, MemberChanged)]
    return changes


def _members_at(
    seq: int, state: ChannelState, changes: Sequence[tuple[int, MemberChanged]]
) -> Collection[str]:
    # A user's first change after `seq` tells what he was at `seq`: only ADDED makes a member.
    later: dict[str, bool] = {}
    for change_seq, change in changes:
        if change_seq > seq:
            later.setdefault(change.user_id, change.change is not MemberChange.ADDED)
    if not later:
        return state.roles
    members = set(state.roles)
    for user_id, was_member in later.items():
        (members.add if was_member else members.discard)(user_id)
    return members


async def _read_events(
    state: ChannelState, log: MessageLog, after_seq: int, limits: ActivationLimits
) -> tuple[list[Event], tuple[Row, ...]]:
    page = await log.read(
        state.channel_id, after_seq + 1, state.head, limit=limits.page_rows, limit_bytes=limits.page_bytes
    )
    return [codec.event_of(row) for row in page.rows], page.rows


async def _state_at_watermark(
    channel_id: str, projections: Projections, limits: ActivationLimits
) -> ChannelState:
    # The channel and what belongs to it are several reads: they belong together only if the watermark stood
    # still meanwhile.
    for _ in range(CONSISTENT_READ_TRIES):
        known_ids = KnownIds(limits.known_ids)
        channel = await projections.channel(channel_id)
        if channel is None:
            return ChannelState(channel_id, known_ids, limits.channel)
        state = ChannelState(
            channel_id=channel_id,
            known_ids=known_ids,
            limits=limits.channel,
            head=channel.watermark,
            message_no=channel.message_no,
            last_time_ms=channel.last_activity_ms,
            deleted=channel.deleted,
            kind=channel.kind,
            title=channel.title,
            description=channel.description,
            history_visibility=channel.history_visibility,
            slow_mode_seconds=channel.slow_mode_seconds,
            member_limit=channel.member_limit,
            roles=await _roles(channel_id, projections),
        )
        await _read_administration(state, projections)
        if await projections.watermark(channel_id) == channel.watermark:
            return state
    raise StoreUnavailable(f"{channel_id} changed {CONSISTENT_READ_TRIES} times while its members were read")


async def _roles(channel_id: str, projections: Projections) -> dict[str, Role]:
    joined: list[tuple[int, str, Role]] = []
    after_user_id = ""
    while True:
        page = await projections.members(channel_id, after_user_id=after_user_id, limit=MEMBERS_PAGE)
        joined.extend((row.joined_seq, row.user_id, row.role) for row in page if row.role is not None)
        if len(page) < MEMBERS_PAGE:
            return {user_id: role for _, user_id, role in sorted(joined)}
        after_user_id = page[-1].user_id


async def _read_administration(state: ChannelState, projections: Projections) -> None:
    channel_id = state.channel_id
    after_user_id = ""
    while page := await projections.bans(channel_id, after_user_id=after_user_id, limit=MEMBERS_PAGE):
        state.banned.update(row.user_id for row in page)
        after_user_id = page[-1].user_id
    state.invites = {
        row.invite_id: Invite(row.expire_time_ms, row.use_limit, row.uses)
        for row in await projections.invites(channel_id)
    }
    state.pins = dict(await projections.pins(channel_id))
    states = await projections.message_states(channel_id, (), viewer_id="")
    state.erased_authors = set(states.erased_authors)


async def _learn_ids(state: ChannelState, log: MessageLog, limits: ActivationLimits) -> None:
    page = await log.read(
        state.channel_id,
        1,
        state.head,
        limit=limits.newest_rows,
        limit_bytes=limits.page_bytes,
        newest_first=True,
    )
    events = [codec.event_of(row) for row in reversed(page.rows)]
    if events and page.more:
        # What is older was taken before the oldest event read here, so its ids are dated at most an hour
        # after that.
        state.known_ids.older_until_ms = events[0].create_time_ms + AHEAD_LIMIT_MS
    for event in events:
        if event.client_message_id:
            sent = Sent(event.seq, event.message_no, event.create_time_ms, event.digest)
            state.known_ids.add(event.actor_id, event.client_message_id, sent)
    if state.slow_mode_seconds and events:
        await _learn_posts(state, log, limits)


async def _learn_posts(state: ChannelState, log: MessageLog, limits: ActivationLimits) -> None:
    """Who wrote within the last period of slow mode. Ends where the log is older than that."""
    since_ms = state.last_time_ms - 1000 * state.slow_mode_seconds
    to_seq = state.head
    while to_seq:
        page = await log.read(
            state.channel_id,
            1,
            to_seq,
            limit=limits.page_rows,
            limit_bytes=limits.page_bytes,
            newest_first=True,
        )
        for event in map(codec.event_of, page.rows):
            if event.create_time_ms < since_ms:
                return
            if isinstance(event.body, MessagePosted):
                state.last_post_ms.setdefault(event.actor_id, event.create_time_ms)
        to_seq = page.rows[-1].seq - 1 if page.more else 0
