"""Reading everything back at the end of a run with changes: by calls, and from the stopped folder."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

import grpc.aio

from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2, event_pb2
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.folder import DataFolder
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.rebuild import rebuild
from parley_server.ports.message_log import LARGEST_SEQ
from parley_server.ports.projections import MessageState
from parley_server.testing.robustness.changes_cast import OWNER, STAYERS
from parley_server.testing.robustness.changes_fold import ChannelView, MessageView, views_of
from parley_server.testing.robustness.changes_history import (
    ChangeKind,
    ChangesHistory,
    Projected,
    Served,
    StoredEvent,
    Witness,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path
    from random import Random

    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.changes_cast import ChangesCast
    from parley_server.testing.robustness.recorder import Recorder

PAGE_SIZE = 200
_SINGLE_READS = 25
_THREADS_READ = 10
_ALL = 1_000_000


class ServedReader:
    """What every user is served of every channel, by each call that serves messages."""

    def __init__(
        self, client: RawClient, recorder: Recorder, witness: Witness, history: ChangesHistory, random: Random
    ) -> None:
        self._client = client
        self._recorder = recorder
        self._witness = witness
        self._history = history
        self._random = random

    async def read(self, cast: ChangesCast) -> None:
        """Read all. Raises grpc.aio.AioRpcError."""
        owner_id = cast.users[OWNER].user_id
        for person in cast.users:
            await self._inbox(person)
            for channel_id in cast.channels_of(person):
                served = await self._channel(person, channel_id)
                if person.user_id == owner_id:
                    served.channel.banned = await self._bans(person, channel_id)
                self._history.served.append(served)
        for person in cast.users[:STAYERS]:
            await self._ended_channel(person, cast.doomed)

    async def _ended_channel(self, person: Person, channel_id: str) -> None:
        """Ask for what a deleted channel held. Whatever is served, is kept."""
        some = [asked for asked in self._history.asked if asked.channel_id == channel_id and asked.target_seq]
        seqs = {asked.target_seq for asked in self._random.sample(some, min(_SINGLE_READS, len(some)))}
        calls = [self._messages(person, channel_id), self._events(person, channel_id)]
        calls += [self._single(person, channel_id, seq) for seq in sorted(seqs)]
        for call in calls:
            with contextlib.suppress(grpc.aio.AioRpcError):
                for event in await call:
                    if event.WhichOneof("kind") != "channel_deleted":
                        self._witness.problem(
                            ChangeKind.TAKEN_BACK_SERVED, channel_id, f"seq {event.seq} of an ended channel"
                        )

    async def _events(self, person: Person, channel_id: str) -> list[event_pb2.Event]:
        request = chat_service_pb2.ListEventsRequest(channel_id=channel_id, page_size=PAGE_SIZE)
        return list((await self._client.chat.ListEvents(request, metadata=person.metadata)).events)

    async def _single(self, person: Person, channel_id: str, seq: int) -> list[event_pb2.Event]:
        request = chat_service_pb2.GetMessageRequest(channel_id=channel_id, seq=seq)
        return [(await self._client.chat.GetMessage(request, metadata=person.metadata)).event]

    async def _channel(self, person: Person, channel_id: str) -> Served:
        events = await self._messages(person, channel_id)
        messages = self._views(person, channel_id, events)
        some = self._random.sample(sorted(messages), min(_SINGLE_READS, len(messages)))
        roots = [seq for seq, message in messages.items() if message.reply_count][-_THREADS_READ:]
        return Served(
            user_id=person.user_id,
            channel_id=channel_id,
            messages=messages,
            by_get={seq: await self._get(person, channel_id, seq) for seq in some},
            threads={seq: await self._thread(person, channel_id, seq) for seq in roots},
            channel=await self._info(person, channel_id),
        )

    async def _messages(self, person: Person, channel_id: str) -> list[event_pb2.Event]:
        found: list[event_pb2.Event] = []
        token = ""
        while True:
            start_ns = self._recorder.now_ns()
            page = await self._client.chat.ListMessages(
                chat_service_pb2.ListMessagesRequest(
                    channel_id=channel_id, page_size=PAGE_SIZE, page_token=token
                ),
                metadata=person.metadata,
            )
            found += self._saw(page.events, start_ns, f"ListMessages of {person.username}")
            token = page.next_page_token
            if not token:
                return found

    async def _get(self, person: Person, channel_id: str, seq: int) -> MessageView:
        start_ns = self._recorder.now_ns()
        request = chat_service_pb2.GetMessageRequest(channel_id=channel_id, seq=seq)
        answer = await self._client.chat.GetMessage(request, metadata=person.metadata)
        self._saw([answer.event], start_ns, f"GetMessage of {person.username}")
        return self._views(person, channel_id, [answer.event])[seq]

    async def _thread(self, person: Person, channel_id: str, root_seq: int) -> list[MessageView]:
        start_ns = self._recorder.now_ns()
        request = chat_service_pb2.ListThreadRequest(
            channel_id=channel_id, thread_root_seq=root_seq, page_size=PAGE_SIZE
        )
        page = await self._client.chat.ListThread(request, metadata=person.metadata)
        events = self._saw(page.events, start_ns, f"ListThread of {person.username}")
        return list(self._views(person, channel_id, events).values())

    async def _info(self, person: Person, channel_id: str) -> ChannelView:
        request = channel_service_pb2.GetChannelRequest(channel_id=channel_id)
        channel = (await self._client.channels.GetChannel(request, metadata=person.metadata)).channel
        asked = channel_service_pb2.ListMembersRequest(channel_id=channel_id, page_size=PAGE_SIZE)
        members = await self._client.channels.ListMembers(asked, metadata=person.metadata)
        return ChannelView(
            roles={member.user_id: member.role for member in members.members},
            pins=list(channel.pinned_seqs),
            title=channel.title,
        )

    async def _bans(self, person: Person, channel_id: str) -> list[str]:
        request = channel_service_pb2.ListBansRequest(channel_id=channel_id, page_size=PAGE_SIZE)
        answer = await self._client.channels.ListBans(request, metadata=person.metadata)
        return [ban.user_id for ban in answer.bans]

    async def _inbox(self, person: Person) -> None:
        start_ns = self._recorder.now_ns()
        inbox = await self._client.chat.GetInbox(
            chat_service_pb2.GetInboxRequest(page_size=PAGE_SIZE), metadata=person.metadata
        )
        # Texts are cut there, the short ones not.
        self._saw((entry.last_message for entry in inbox.entries), start_ns, f"GetInbox of {person.username}")

    def _saw(self, events: Iterable[event_pb2.Event], start_ns: int, who: str) -> list[event_pb2.Event]:
        kept = list(events)
        for event in kept:
            self._witness.saw(event.message.text, start_ns, f"{who}, seq {event.seq}")
        return kept

    def _views(
        self, person: Person, channel_id: str, events: list[event_pb2.Event]
    ) -> dict[int, MessageView]:
        problems: list[str] = []
        views = views_of(person.user_id, events, problems)
        for problem in problems:
            self._witness.problem(ChangeKind.MISCOUNTED, channel_id, f"{person.username}: {problem}")
        return views


async def read_folder(data: Path, cast: ChangesCast, history: ChangesHistory) -> None:
    """Put the stored logs and the projections of a stopped folder into the history; derive the projections
    anew, and put those there too.
    """
    channel_ids = cast.all_channels
    with DataFolder(data) as folder:
        database = await ChatDatabase.open(folder.chat_database)
        try:
            log, projections = SqliteMessageLog(database), SqliteProjections(database)
            for channel_id in channel_ids:
                page = await log.read(channel_id, 1, LARGEST_SEQ, limit=_ALL, limit_bytes=1 << 40)
                history.logs[channel_id] = [StoredEvent(row.seq, row.event) for row in page.rows]
                history.projected[channel_id] = await _projected(projections, cast, history, channel_id)
                history.due += [
                    (channel_id, seq)
                    for found, seq in await projections.erasures_due(after=("", 0), limit=_ALL)
                    if found == channel_id
                ]
            await rebuild(log, projections, progress=lambda _done, _total: None)
            for channel_id in channel_ids:
                history.rebuilt[channel_id] = await _projected(projections, cast, history, channel_id)
        finally:
            await database.close()


async def _projected(
    projections: SqliteProjections, cast: ChangesCast, history: ChangesHistory, channel_id: str
) -> Projected:
    seqs = [stored.seq for stored in history.logs[channel_id]]
    rows = [repr(await projections.channel(channel_id))]
    rows += [repr(await projections.member(channel_id, user.user_id)) for user in cast.users]
    rows += [repr(row) for row in await projections.pins(channel_id)]
    rows += [repr(row) for row in await projections.invites(channel_id)]
    rows += [repr(row) for row in await projections.bans(channel_id, after_user_id="", limit=_ALL)]
    becomes: dict[int, list[str]] = {}
    for user in cast.users:
        states = await projections.message_states(channel_id, seqs, viewer_id=user.user_id)
        for seq, state in sorted(states.states.items()):
            rows.append(f"{user.username}: {state!r}")
            becomes[seq] = _became(state, 0)
        rows.append(f"erased: {sorted(states.erased_authors.items())}")
        for stored in history.logs[channel_id]:
            event = event_pb2.Event.FromString(stored.encoded)
            erased_seq = states.erased_authors.get(event.actor_id, 0)
            if event.HasField("message") and event.seq <= erased_seq:
                state = states.states.get(event.seq) or MessageState(event.seq)
                becomes[event.seq] = _became(state, erased_seq)
    for seq in becomes:
        rows.append(f"edits of {seq}: {await projections.edits_of(channel_id, seq)}")
        thread = await projections.thread(channel_id, seq, before_seq=LARGEST_SEQ, limit=_ALL)
        rows.append(f"thread of {seq}: {thread}")
    for seq in seqs:
        event = event_pb2.Event.FromString(history.logs[channel_id][seq - 1].encoded)
        if event.client_message_id:
            found = await projections.seqs_of(channel_id, event.actor_id, event.client_message_id)
            rows.append(f"id of {seq}: {seq in found}")
    return Projected(rows=rows, becomes=becomes)


def _became(state: MessageState, erased_seq: int) -> list[str]:
    """`erased_seq`: the event that made all of the author's messages tombstones, 0 for none."""
    reactions: list[tuple[str | int, ...]] = [
        (reaction.emoji, reaction.count, *reaction.user_ids) for reaction in state.reactions
    ]
    return becomes_of(
        state.edit_seq,
        state.edit_time_ms,
        state.delete_seq or erased_seq,
        state.pin_seq,
        state.reply_count,
        state.last_reply_seq,
        [] if erased_seq else reactions,
    )


def becomes_of(
    edit_seq: int,
    edit_time_ms: int,
    delete_seq: int,
    pin_seq: int,
    reply_count: int,
    last_reply_seq: int,
    reactions: list[tuple[str | int, ...]],
) -> list[str]:
    """What became of a message, in one form for projections and folds."""
    numbers = (edit_seq, edit_time_ms, delete_seq, pin_seq, reply_count, last_reply_seq)
    return [*map(str, numbers), *(" ".join(map(str, reaction)) for reaction in reactions)]
