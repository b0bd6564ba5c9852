"""What a client shows of a channel, from events in whatever order they come. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley._channel_info import ChannelInfo, ChannelKind, HistoryVisibility, Role
from parley._events import (
    AuthorErasedEvent,
    ChannelDeletedEvent,
    ChannelEvent,
    DeleteEvent,
    EditEvent,
    Event,
    MemberEvent,
    MessageEvent,
    PinEvent,
    ReactionEvent,
)
from parley._timeline_message import Record, TimelineMessage

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley._channel_info import Member


@dataclass(frozen=True, slots=True)
class TimelineSettings:
    """A channel's settings, as in `ChannelInfo`."""

    kind: ChannelKind
    title: str
    description: str
    history_visibility: HistoryVisibility
    member_limit: int
    slow_mode_seconds: int


class Timeline:
    """A channel as the user `me` sees it: messages as they are now, pins, members, settings.

    Feed it with all that is known of the channel: events as they are delivered, pages of `history`, of
    `thread`, `pinned` and `event_range`, single messages. It holds that

    - the order in which they are given does not matter,
    - giving anything again changes nothing,
    - a timeline fed by events as they happened, and one fed by `event_range` over the same events afterwards,
      are equal; their messages also equal those of one fed by pages of `history`.

    While something is missing it shows what follows from what it has. It asks nobody and keeps no clock. It
    holds everything that it was given until `forget_before`. Not fit for it are the shortened messages of the
    inbox, and whatever a former member misses until joining again: take the pages again then.
    """

    def __init__(self, channel_id: str, me: str) -> None:
        self.channel_id = channel_id
        self.me = me
        self.head_seq = 0
        """The newest event that was given."""
        self._records: dict[int, Record] = {}
        self._shown: dict[int, TimelineMessage | None] = {}
        self._erased: dict[str, int] = {}
        self._settings: tuple[int, TimelineSettings | None] = (0, None)
        self._listed_members: tuple[int, dict[str, Role]] = (0, {})
        self._member_news: dict[str, tuple[int, Role | None]] = {}
        self._listed_pins: tuple[int, tuple[int, ...]] = (0, ())
        self._deleted = False

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Timeline):
            return NotImplemented
        return self._view() == other._view()

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"Timeline({self.channel_id!r}, {self.me!r}, head_seq={self.head_seq})"

    def take(self, events: Event | Iterable[Event]) -> set[int]:
        """Take one event or several. Returns the seqs of the messages that may look different now.

        Raises ValueError for an event of another channel.
        """
        touched: set[int] = set()
        for event in (events,) if isinstance(events, Event) else events:
            if event.channel_id != self.channel_id:
                raise ValueError(
                    f"an event of {event.channel_id} is not for the timeline of {self.channel_id}"
                )
            self.head_seq = max(self.head_seq, event.seq)
            touched |= self._take(event)
        for seq in touched:
            self._shown.pop(seq, None)
        return touched

    def take_info(self, info: ChannelInfo) -> None:
        """Take settings and pins as `Channel.info` tells them. From a list of channels, which tells no pins,
        this would take the pins away.
        """
        if info.head_seq > self._settings[0]:
            self._settings = (
                info.head_seq,
                TimelineSettings(
                    info.kind,
                    info.title,
                    info.description,
                    info.history_visibility,
                    info.member_limit,
                    info.slow_mode_seconds,
                ),
            )
        if info.head_seq > self._listed_pins[0]:
            self._listed_pins = (info.head_seq, info.pinned_seqs)

    def take_members(self, members: Iterable[Member], as_of_seq: int) -> None:
        """Take all members, as `Channel.members` lists them: the user may not see all events of joining.

        `as_of_seq` is a head of the channel from before the listing began.
        """
        if as_of_seq > self._listed_members[0]:
            self._listed_members = (as_of_seq, {member.user_id: member.role for member in members})

    def forget_before(self, seq: int) -> None:
        """Forget the messages with a smaller seq. They can be given again, by pages asked for after this."""
        for known in [known for known in self._records if known < seq]:
            del self._records[known]
            self._shown.pop(known, None)

    def messages(self) -> list[TimelineMessage]:
        """The messages in their order, tombstones among them; none once the channel was deleted."""
        return [message for seq in sorted(self._records) if (message := self.message(seq)) is not None]

    def message(self, seq: int) -> TimelineMessage | None:
        """The message at `seq`; None when none was given."""
        if self._deleted:
            return None
        if seq not in self._shown:
            record = self._records.get(seq)
            if record is None:
                return None
            self._shown[seq] = record.show(self.me, self._erased)
        return self._shown[seq]

    def thread(self, root_seq: int) -> list[TimelineMessage]:
        """The messages in the thread of `root_seq`, in their order, without the root."""
        return [message for message in self.messages() if message.thread_root_seq == root_seq]

    @property
    def pins(self) -> tuple[int, ...]:
        """The seqs of the pinned messages, the newest pin first. Not all of them need to have been given."""
        if self._deleted:
            return ()
        as_of_seq, listed = self._listed_pins
        ranks = {seq: (0, -place) for place, seq in enumerate(listed)}
        for seq, record in self._records.items():
            told_seq, pin_seq = record.pin()
            if record.delete_seq(self._erased) or (told_seq > as_of_seq and not pin_seq):
                ranks.pop(seq, None)
            elif pin_seq > as_of_seq:
                ranks[seq] = (1, pin_seq)
        return tuple(sorted(ranks, key=lambda seq: ranks[seq], reverse=True))

    @property
    def members(self) -> dict[str, Role]:
        """The members' roles by user id: those listed, and those whose joining was given."""
        if self._deleted:
            return {}
        as_of_seq, listed = self._listed_members
        members: dict[str, Role] = dict(listed)
        for user_id, (seq, role) in self._member_news.items():
            if seq > as_of_seq:
                members.pop(user_id, None)
                if role is not None:
                    members[user_id] = role
        return members

    @property
    def settings(self) -> TimelineSettings | None:
        """The channel's settings; None while none were given, and once the channel was deleted."""
        return None if self._deleted else self._settings[1]

    @property
    def deleted(self) -> bool:
        """Whether the channel was deleted, for everybody."""
        return self._deleted

    @property
    def gone(self) -> bool:
        """Whether nothing more comes: the channel was deleted, or the user is no member any more."""
        seq, role = self._member_news.get(self.me, (0, Role.MEMBER))
        return self._deleted or (role is None and seq > self._listed_members[0])

    def _take(self, event: Event) -> set[int]:
        match event:
            case MessageEvent():
                self._record(event.seq).take_message(event)
                if not event.thread_root_seq:
                    return {event.seq}
                self._record(event.thread_root_seq).take_reply(event.seq)
                return {event.seq, event.thread_root_seq}
            case EditEvent() | DeleteEvent() | ReactionEvent() | PinEvent():
                self._record(event.target_seq).take_change(event)
                return {event.target_seq}
            case AuthorErasedEvent():
                self._erased[event.user_id] = max(event.seq, self._erased.get(event.user_id, 0))
                return {seq for seq, record in self._records.items() if record.author_id == event.user_id}
            case MemberEvent():
                role = None if event.role is Role.UNSPECIFIED else event.role
                if event.seq > self._member_news.get(event.user_id, (0, None))[0]:
                    self._member_news[event.user_id] = (event.seq, role)
            case ChannelEvent():
                self._take_settings(event)
            case ChannelDeletedEvent():
                self._deleted = True
                return set(self._records)
            case _:
                pass
        return set()

    def _take_settings(self, event: ChannelEvent) -> None:
        if event.seq > self._settings[0]:
            self._settings = (
                event.seq,
                TimelineSettings(
                    event.kind,
                    event.title,
                    event.description,
                    event.history_visibility,
                    event.member_limit,
                    event.slow_mode_seconds,
                ),
            )

    def _record(self, seq: int) -> Record:
        return self._records.setdefault(seq, Record())

    def _view(self) -> tuple[object, ...]:
        return (
            self.channel_id,
            self.me,
            self.messages(),
            self.pins,
            self.members,
            self.settings,
            self.deleted,
            self.gone,
        )
