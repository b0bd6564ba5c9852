"""One message and everything that is known to have become of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from parley._events import DeleteEvent, EditEvent, MessageEvent, PinEvent, ReactionEvent
from parley._message_state import MessageState, Reaction

if TYPE_CHECKING:
    from collections.abc import Mapping

_USERS_SHOWN = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class TimelineMessage:
    """A message as it is now, as far as its timeline was told.

    `author_id` wrote it; `text`, `attributes`, `mentions` and `mention_all` are those of the newest edit, and
    empty when it was deleted. Seqs and times are 0 for what never happened and for none, as in `MessageEvent`
    and `MessageState`. `client_message_id` is the one that the sender's client gave: by it a program finds
    what it has just sent.
    """

    seq: int
    message_no: int
    create_time_ms: int
    author_id: str
    client_message_id: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict, hash=False)
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reactions: tuple[Reaction, ...] = ()
    reply_count: int = 0
    last_reply_seq: int = 0

    @property
    def edited(self) -> bool:
        """Whether its content is not the first one."""
        return self.edit_seq > 0

    @property
    def deleted(self) -> bool:
        """Whether it is a tombstone."""
        return self.delete_seq > 0

    @property
    def pinned(self) -> bool:
        """Whether it is pinned to the channel."""
        return self.pin_seq > 0


@dataclass(slots=True)
class _Emoji:
    """What events told of one emoji: each field by the newest event that tells of it."""

    seq: int = 0
    count: int = 0
    began_seq: int = 0
    """The newest event by which the first user put it there: since then it was never without."""
    users: dict[str, tuple[int, bool]] = field(default_factory=dict)
    """By user, the newest event and whether it put the emoji there."""

    def take(self, event: ReactionEvent) -> None:
        if event.seq > self.seq:
            self.seq, self.count = event.seq, event.count
        if event.added and event.count == 1:
            self.began_seq = max(self.began_seq, event.seq)
        if event.seq > self.users.get(event.actor_id, (0, False))[0]:
            self.users[event.actor_id] = (event.seq, event.added)


class Record:
    """What is known of the message at one seq, in whatever order it was told.

    It keeps the message with the newest state that was served, and of the events about it the newest of each
    sort; what it shows is the one folded onto the other, so the order of arrival cannot matter.
    """

    __slots__ = ("_content", "_delete_seq", "_edit", "_emojis", "_pin", "_replies", "message")

    def __init__(self) -> None:
        self.message: MessageEvent | None = None
        self._edit = (0, 0)
        self._content: EditEvent | None = None
        self._delete_seq = 0
        self._pin: PinEvent | None = None
        self._emojis: dict[str, _Emoji] = {}
        self._replies: set[int] = set()  # Those that the message's state does not count yet.

    @property
    def as_of_seq(self) -> int:
        """Up to which event `message` tells everything; 0 while it is not known."""
        return 0 if self.message is None else _as_of(self.message)

    def take_message(self, message: MessageEvent) -> None:
        """The message itself, as it was delivered or served."""
        if self.message is None or _as_of(message) > self.as_of_seq:
            self.message = message
            self._replies = {seq for seq in self._replies if seq > self.as_of_seq}

    def take_reply(self, seq: int) -> None:
        """A message at `seq` stands in this one's thread."""
        if seq > self.as_of_seq:
            self._replies.add(seq)

    def take_change(self, event: EditEvent | DeleteEvent | ReactionEvent | PinEvent) -> None:
        """An event about the message."""
        match event:
            case EditEvent():
                self._edit = max(self._edit, (event.seq, event.create_time_ms))
                if not event.superseded and (self._content is None or event.seq > self._content.seq):
                    self._content = event
            case DeleteEvent():
                self._delete_seq = event.seq
            case ReactionEvent():
                self._emojis.setdefault(event.emoji, _Emoji()).take(event)
            case PinEvent():
                if self._pin is None or event.seq > self._pin.seq:
                    self._pin = event

    def delete_seq(self, erased: Mapping[str, int]) -> int:
        """The event that made it a tombstone; 0: it is none. `erased`: by author, up to which seq all is."""
        state = self.message.state if self.message is not None else None
        found = (state.delete_seq if state is not None else 0) or self._delete_seq
        if found:
            return found
        author_id = self.author_id
        erased_seq = erased.get(author_id, 0) if author_id else 0
        return erased_seq if self.message is None or self.message.seq <= erased_seq else 0

    @property
    def author_id(self) -> str:
        """Who wrote it; "" while that is not known."""
        if self.message is not None:
            return self.message.actor_id
        return self._pin.author_id if self._pin is not None else ""

    def pin(self) -> tuple[int, int]:
        """Up to which event it is known whether the message is pinned, and the event that pinned it (0: it
        is not). Tombstones apart.
        """
        state = self.message.state if self.message is not None else None
        if self._pin is not None and self._pin.seq > self.as_of_seq:
            return self._pin.seq, self._pin.seq if self._pin.pinned else 0
        return self.as_of_seq, state.pin_seq if state is not None else 0

    def show(self, me: str, erased: Mapping[str, int]) -> TimelineMessage | None:
        """The message as it is now, for the user `me`; None while the message itself was not told."""
        message = self.message
        if message is None:
            return None
        state = message.state or MessageState(message.seq)
        edit_seq, edit_time_ms = max((state.edit_seq, state.edit_time_ms), self._edit)
        delete_seq = self.delete_seq(erased)
        content: MessageEvent | EditEvent = message
        if self._content is not None and self._content.seq > state.as_of_seq:
            content = self._content
        return TimelineMessage(
            seq=message.seq,
            message_no=message.message_no,
            create_time_ms=message.create_time_ms,
            author_id=message.actor_id,
            client_message_id=message.client_message_id,
            text="" if delete_seq else content.text,
            attributes={} if delete_seq else content.attributes,
            mentions=() if delete_seq else content.mentions,
            mention_all=content.mention_all and not delete_seq,
            reply_to_seq=message.reply_to_seq,
            thread_root_seq=message.thread_root_seq,
            edit_seq=edit_seq,
            edit_time_ms=edit_time_ms,
            delete_seq=delete_seq,
            pin_seq=0 if delete_seq else self.pin()[1],
            reactions=() if delete_seq else self._reactions(state, me),
            reply_count=state.reply_count + len(self._replies),
            last_reply_seq=max([state.last_reply_seq, *self._replies]),
        )

    def _reactions(self, state: MessageState, me: str) -> tuple[Reaction, ...]:
        # An emoji that everybody took off and somebody put there again stands behind the others.
        found = {reaction.emoji: (0, place, reaction) for place, reaction in enumerate(state.reactions)}
        for emoji, told in self._emojis.items():
            if told.seq <= state.as_of_seq:
                continue
            rank, place, before = found.pop(emoji, (1, told.seq, Reaction(emoji, 0, False)))
            if told.began_seq > state.as_of_seq:
                rank, place = 1, told.began_seq
            if told.count:
                found[emoji] = (rank, place, _after(before, told, state.as_of_seq, me))
        return tuple(reaction for _, _, reaction in sorted(found.values(), key=lambda item: item[:2]))


def _as_of(message: MessageEvent) -> int:
    return message.seq if message.state is None else message.state.as_of_seq


def _after(before: Reaction, told: _Emoji, as_of_seq: int, me: str) -> Reaction:
    """A reaction with what events after `as_of_seq` told of it."""
    news = {user_id: news for user_id, news in told.users.items() if news[0] > as_of_seq}
    came = sorted((seq, user_id) for user_id, (seq, added) in news.items() if added)
    user_ids = [user_id for user_id in before.user_ids if user_id not in news]
    user_ids += [user_id for _, user_id in came]
    return Reaction(
        emoji=before.emoji,
        count=told.count,
        own=news[me][1] if me in news else before.own,
        user_ids=tuple(user_ids[:_USERS_SHOWN]),
    )
