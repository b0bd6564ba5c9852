"""A device by the book that also shows what it was given: messages with what became of them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec

from parley import Timeline
from parley._events import event_of
from parley.chat.v1 import chat_service_pb2, event_pb2
from parley_server.testing.robustness.changes_fold import ChannelView, ReferenceFold
from parley_server.testing.robustness.changes_history import ChangeKind, Ended, Witness
from parley_server.testing.robustness.device import PAGE_SIZE, BookDevice, Habits

if TYPE_CHECKING:
    from random import Random

    from parley.chat.v1 import stream_pb2
    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.history import DeviceStream
    from parley_server.testing.robustness.line import Line
    from parley_server.testing.robustness.recorder import Recorder


ONLINE = Habits(for_good=1.0, forgets=0.0, garbles=0.0, names_no_channels=0.0, stalls=0.0, marks=0.0)
"""A device that is there all the time, but for what networks and kills do to it."""

AWAY = Habits(
    for_good=0.0,
    politely=0.3,
    stay_seconds=(0.05, 0.4),
    sleep_seconds=(0.5, 3.0),
    forgets=0.15,
    garbles=0.1,
    names_no_channels=0.2,
    stalls=0.1,
    stall_seconds=(0.2, 0.8),
    marks=0.02,
)
"""A device that sleeps through most of what happens, and sometimes loses its state."""

SLOW = replace(
    AWAY,
    stay_seconds=(1.0, 4.0),
    sleep_seconds=(0.2, 1.5),
    stalls=0.8,
    stall_seconds=(0.5, 2.0),
    forgets=0.05,
)
"""The same, and it stops reading for a while, so that its streams lag."""


@dataclass(slots=True)
class _Shown:
    """What a device shows of one channel, folded twice: for the checker, and by the SDK."""

    fold: ReferenceFold
    timeline: Timeline
    whole: bool = False


class ChangesDevice(BookDevice):
    """A device by the book that keeps what it was given. What it does not know of a channel it reads: by
    ListEvents from the first event on if `by_events`, else by ListMessages. So it does when it meets a
    channel, and when its user is a member again, for nobody tells what changed in between.
    """

    def __init__(
        self,
        name: str,
        line: Line,
        person: Person,
        recorder: Recorder,
        random: Random,
        habits: Habits,
        witness: Witness,
        *,
        by_events: bool,
    ) -> None:
        super().__init__(name, line, person, recorder, random, habits)
        self._witness = witness
        self._by_events = by_events
        self._shown: dict[str, _Shown] = {}
        self._to_load: dict[str, None] = {}
        self._left: set[str] = set()

    async def loaded(self) -> None:
        """Return when nothing is left to be read. Call it while the device stays."""
        while self._to_load:
            await self.come_again()

    def ended(self) -> list[Ended]:
        """What the device shows now, by channel."""
        return [
            Ended(
                device=self._name,
                user_id=self._person.user_id,
                channel_id=channel_id,
                messages=shown.fold.messages(),
                channel=shown.fold.channel(),
                whole=shown.whole,
                finished=self._finished,
                timeline_differs=_difference(shown),
                timeline_channel=_channel_of(shown.timeline),
            )
            for channel_id, shown in sorted(self._shown.items())
        ]

    def _forget(self) -> None:
        super()._forget()
        self._shown.clear()
        self._to_load.clear()
        self._left.clear()

    async def _take(
        self, client: RawClient, frame: stream_pb2.ConnectResponse, stream: DeviceStream, *, fresh: bool
    ) -> None:
        await super()._take(client, frame, stream, fresh=fresh)
        # Not before the resume is known: a reset's pages come first.
        if self._told:
            for channel_id in list(self._to_load):
                await self._load(client, channel_id)
                self._to_load.pop(channel_id, None)

    async def _head(
        self, client: RawClient, head: stream_pb2.ChannelHead, stream: DeviceStream, *, fresh: bool
    ) -> None:
        if head.channel_id not in self._shown:
            self._to_load[head.channel_id] = None
        await super()._head(client, head, stream, fresh=fresh)

    def _given(self, what: str, event: event_pb2.Event, stream: DeviceStream, since_ns: int) -> None:
        channel_id = event.channel_id
        change = event.member_changed
        if change.user_id == self._person.user_id and change.change == event_pb2.MEMBER_CHANGE_ADDED:
            self._to_load[channel_id] = None
            self._left.discard(channel_id)
        elif change.user_id == self._person.user_id and not change.role:
            self._left.add(channel_id)
        self._saw(event, since_ns, f"{self._name}, stream {stream.number}, {what} seq {event.seq}")
        shown = self._show(channel_id)
        # What a stream brings may have been read before what the device has asked for since.
        self._check_age(event, 0)
        shown.fold.take(event)
        shown.timeline.take(event_of(event))
        self._tell_problems(channel_id, shown)
        super()._given(what, event, stream, since_ns)

    async def _load(self, client: RawClient, channel_id: str) -> None:
        shown = self._show(channel_id)
        if self._by_events:
            shown.fold.begin_again()
        token = ""
        while True:
            start_ns, known_seq = self._recorder.now_ns(), self._seqs.get(channel_id, 0)
            events, token = await self._page(client, channel_id, token)
            self._heard_at = asyncio.get_running_loop().time()
            for event in events:
                self._saw(event, start_ns, f"{self._name}, a page, seq {event.seq}")
                self._check_age(event, known_seq)
                if self._by_events:
                    shown.fold.take(event)
                else:
                    shown.fold.place(event)
                shown.timeline.take(event_of(event))
            self._tell_problems(channel_id, shown)
            if not token:
                shown.whole = shown.whole or self._by_events
                return

    async def _page(
        self, client: RawClient, channel_id: str, token: str
    ) -> tuple[list[event_pb2.Event], str]:
        metadata, seconds = self._person.metadata, self._habits.call_seconds
        if self._by_events:
            request = chat_service_pb2.ListEventsRequest(
                channel_id=channel_id, page_size=PAGE_SIZE, page_token=token
            )
            events = await client.chat.ListEvents(request, metadata=metadata, timeout=seconds)
            return list(events.events), events.next_page_token
        asked = chat_service_pb2.ListMessagesRequest(
            channel_id=channel_id, page_size=PAGE_SIZE, page_token=token
        )
        messages = await client.chat.ListMessages(asked, metadata=metadata, timeout=seconds)
        return list(messages.events), messages.next_page_token

    def _show(self, channel_id: str) -> _Shown:
        user_id = self._person.user_id
        if channel_id not in self._shown:
            self._shown[channel_id] = _Shown(ReferenceFold(user_id), Timeline(channel_id, user_id))
        return self._shown[channel_id]

    def _saw(self, event: event_pb2.Event, since_ns: int, who: str) -> None:
        self._witness.saw(event.message.text, since_ns, who)
        self._witness.saw(event.message_edited.text, since_ns, who)
        if _lacks_text(event):
            self._witness.problem(ChangeKind.ERASED_WRONGLY, event.channel_id, f"no text: {who}")

    def _check_age(self, event: event_pb2.Event, known_seq: int) -> None:
        """What is served now must say at least what its reader had been given before."""
        if event.message.HasField("state"):
            as_of_seq = event.message.state.as_of_seq
            if as_of_seq < max(known_seq, event.seq):
                self._witness.problem(
                    ChangeKind.STALE,
                    event.channel_id,
                    f"{self._name}: seq {event.seq} as of {as_of_seq}, the device had {known_seq}",
                )

    def _tell_problems(self, channel_id: str, shown: _Shown) -> None:
        # A former member is not told everything: what is missing is known once all was read again.
        told_all = channel_id not in self._to_load and channel_id not in self._left
        for problem in shown.fold.problems if told_all else ():
            self._witness.problem(ChangeKind.MISCOUNTED, channel_id, f"{self._name}: {problem}")
        shown.fold.problems.clear()


def _lacks_text(event: event_pb2.Event) -> bool:
    """Whether a message or an edit came empty that nobody had taken back. Of an edited message this cannot be
    told: its deletion may come between the reading of its state and that of its text.
    """
    kind = event.WhichOneof("kind")
    if kind == "message":
        state = event.message.state
        return not event.message.text and not state.delete_seq and not state.edit_seq
    return kind == "message_edited" and not event.message_edited.text and not event.message_edited.superseded


def _channel_of(timeline: Timeline) -> ChannelView:
    settings = timeline.settings
    return ChannelView(
        roles=dict(sorted((user_id, int(role.value)) for user_id, role in timeline.members.items())),
        pins=list(timeline.pins),
        title=settings.title if settings is not None else "",
    )


def _difference(shown: _Shown) -> str:
    """How the SDK's timeline differs from the fold; empty when it does not."""
    ours, theirs = shown.fold.messages(), {each.seq: each for each in shown.timeline.messages()}
    if ours.keys() != theirs.keys():
        return f"seqs {sorted(ours.keys() ^ theirs.keys())[:10]} are on one side only"
    for seq, message in ours.items():
        other = theirs[seq]
        for name in msgspec.structs.fields(type(message)):
            one, two = getattr(message, name.name), getattr(other, name.name)
            if name.name == "reactions":
                two = tuple((each.emoji, each.count, tuple(each.user_ids), each.own) for each in two)
                one = tuple((each.emoji, each.count, each.user_ids, each.own) for each in one)
            elif name.name == "attributes":
                two = tuple(sorted(two.items()))
            if one != two:
                return f"message {seq}: {name.name} is {two}, folded {one}"
    return ""
