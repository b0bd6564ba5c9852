"""A channel as the contract says that its events make it. Pure.

Written from the contract alone (proto/parley/chat/v1/event.proto), for the checker: it shares no code with
the server's projections, nor with the SDK's timeline, so that a fault there cannot hide here.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from parley.chat.v1 import event_pb2


class ReactionView(msgspec.Struct, frozen=True, array_like=True):
    """One emoji on a message. `user_ids` are those who put it there, the first of them first."""

    emoji: str
    count: int
    user_ids: tuple[str, ...]
    own: bool


class MessageView(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A message as it is now. Seqs and times are 0 for what never happened."""

    seq: int
    message_no: int
    create_time_ms: int
    author_id: str
    client_message_id: str
    text: str
    attributes: tuple[tuple[str, str], ...] = ()
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reactions: tuple[ReactionView, ...] = ()
    reply_count: int = 0
    last_reply_seq: int = 0


class ChannelView(msgspec.Struct, kw_only=True):
    """A channel as it is now. `pins` are seqs, the newest pin first."""

    roles: dict[str, int] = msgspec.field(default_factory=dict)
    banned: list[str] = msgspec.field(default_factory=list)
    pins: list[int] = msgspec.field(default_factory=list)
    title: str = ""


@dataclass(slots=True)
class _Kept:
    """A message, and `version`: the event up to which all that became of it is in here."""

    event: event_pb2.Event
    version: int
    text: str
    attributes: tuple[tuple[str, str], ...]
    mentions: tuple[str, ...]
    mention_all: bool
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    users: dict[str, list[str]] = field(default_factory=dict)
    reply_count: int = 0
    last_reply_seq: int = 0

    def bury(self, seq: int) -> None:
        self.delete_seq = self.delete_seq or seq
        self.text, self.attributes, self.mentions, self.mention_all = "", (), (), False
        self.pin_seq = 0
        self.users.clear()


class ReferenceFold:
    """One channel, as one user's device folds what it is given. `problems` says what cannot be."""

    def __init__(self, viewer_id: str) -> None:
        self.problems: list[str] = []
        self._viewer_id = viewer_id
        self._kept: dict[int, _Kept] = {}
        self._roles: dict[str, int] = {}
        self._banned: set[str] = set()
        self._title = ""
        self._channel_seq = 0
        self._ended = False

    def take(self, event: event_pb2.Event) -> None:
        """Take an event of the log, delivered or listed. Events must come in the order of their seqs, though
        any may come again.
        """
        kind = event.WhichOneof("kind")
        if self._ended:
            return
        if kind == "channel_deleted":
            self._end()
        elif kind == "message":
            self.place(event)
            root = self._kept.get(event.message.thread_root_seq)
            if root is not None and event.seq > root.version:
                root.version = root.last_reply_seq = event.seq
                root.reply_count += 1
        elif kind == "author_erased":
            for kept in self._kept.values():
                if kept.event.actor_id == event.author_erased.user_id and event.seq > kept.version:
                    kept.version = event.seq
                    kept.bury(event.seq)
        elif kind in ("message_edited", "message_deleted", "reaction_changed", "pin_changed"):
            changed = self._kept.get(getattr(event, kind).target_seq)
            if changed is not None and event.seq > changed.version:
                changed.version = event.seq
                self._change(changed, event)
        elif event.seq > self._channel_seq:
            self._channel_seq = event.seq
            self._administer(event)

    def begin_again(self) -> None:
        """The log follows once more, from the first event on: what is not about messages is told anew."""
        self._roles.clear()
        self._banned.clear()
        self._title = ""
        self._channel_seq = 0

    def place(self, event: event_pb2.Event) -> None:
        """Take a message of a page, which says of it all that there is to say up to the page's reading."""
        if self._ended:
            return
        before = self._kept.get(event.seq)
        message = event.message
        if not message.HasField("state"):
            if before is None:
                self._kept[event.seq] = _kept(event, event.seq)
            return
        state = message.state
        if before is not None and state.as_of_seq < before.version:
            return
        kept = _kept(event, state.as_of_seq)
        kept.edit_seq, kept.edit_time_ms = state.edit_seq, state.edit_time_ms
        kept.delete_seq, kept.pin_seq = state.delete_seq, state.pin_seq
        kept.reply_count, kept.last_reply_seq = state.reply_count, state.last_reply_seq
        for reaction in state.reactions:
            kept.users[reaction.emoji] = list(reaction.user_ids)
            if reaction.count != len(reaction.user_ids):
                self.problems.append(
                    f"message {event.seq} as of {state.as_of_seq}: {reaction.emoji} is counted "
                    f"{reaction.count} times, of {len(reaction.user_ids)} users"
                )
            if reaction.own != (self._viewer_id in reaction.user_ids):
                self.problems.append(
                    f"message {event.seq} as of {state.as_of_seq}: {reaction.emoji} is own: {reaction.own}"
                )
        if state.delete_seq and (message.text or message.attributes or state.reactions or state.pin_seq):
            self.problems.append(f"message {event.seq} as of {state.as_of_seq}: a tombstone that says more")
        self._kept[event.seq] = kept

    def messages(self) -> dict[int, MessageView]:
        """All messages by seq."""
        return {seq: self._view(kept) for seq, kept in sorted(self._kept.items())}

    def channel(self) -> ChannelView:
        """What is not about single messages: right for who was given every event from the first on."""
        pins = sorted(((kept.pin_seq, seq) for seq, kept in self._kept.items() if kept.pin_seq), reverse=True)
        return ChannelView(
            roles=dict(sorted(self._roles.items())),
            banned=sorted(self._banned),
            pins=[seq for _, seq in pins],
            title=self._title,
        )

    def _end(self) -> None:
        self._ended = True
        self._kept.clear()
        self._roles.clear()
        self._banned.clear()
        self._title = ""

    def _change(self, kept: _Kept, event: event_pb2.Event) -> None:
        kind = event.WhichOneof("kind")
        if kind == "message_edited":
            edited = event.message_edited
            kept.edit_seq, kept.edit_time_ms = event.seq, event.create_time_ms
            if edited.superseded or kept.delete_seq:
                return
            kept.text = edited.text
            kept.attributes = tuple(sorted(edited.attributes.items()))
            kept.mentions, kept.mention_all = tuple(edited.mentions), edited.mention_all
        elif kind == "message_deleted":
            kept.bury(event.seq)
        elif kind == "pin_changed":
            kept.pin_seq = event.seq if event.pin_changed.pinned else 0
        else:
            reaction = event.reaction_changed
            users = kept.users.setdefault(reaction.emoji, [])
            if reaction.added is not (event.actor_id in users):
                (users.append if reaction.added else users.remove)(event.actor_id)
            else:
                self.problems.append(f"seq {event.seq}: {reaction.emoji} again, added: {reaction.added}")
            if reaction.count != len(users):
                self.problems.append(
                    f"seq {event.seq}: {reaction.emoji} is counted {reaction.count} times, "
                    f"of {len(users)} users"
                )
            if not users:
                del kept.users[reaction.emoji]

    def _administer(self, event: event_pb2.Event) -> None:
        kind = event.WhichOneof("kind")
        if kind == "channel_changed":
            self._title = event.channel_changed.title
        elif kind == "member_changed":
            change = event.member_changed
            self._roles.pop(change.user_id, None)
            if change.role:
                self._roles[change.user_id] = change.role
        elif kind == "ban_changed":
            ban = event.ban_changed
            (self._banned.add if ban.banned else self._banned.discard)(ban.user_id)

    def _view(self, kept: _Kept) -> MessageView:
        event = kept.event
        return MessageView(
            seq=event.seq,
            message_no=event.message_no,
            create_time_ms=event.create_time_ms,
            author_id=event.actor_id,
            client_message_id=event.client_message_id,
            text=kept.text,
            attributes=kept.attributes,
            mentions=kept.mentions,
            mention_all=kept.mention_all,
            reply_to_seq=event.message.reply_to_seq,
            thread_root_seq=event.message.thread_root_seq,
            edit_seq=kept.edit_seq,
            edit_time_ms=kept.edit_time_ms,
            delete_seq=kept.delete_seq,
            pin_seq=kept.pin_seq,
            reactions=tuple(
                ReactionView(emoji, len(users), tuple(users), self._viewer_id in users)
                for emoji, users in kept.users.items()
            ),
            reply_count=kept.reply_count,
            last_reply_seq=kept.last_reply_seq,
        )


def views_of(viewer_id: str, page: list[event_pb2.Event], problems: list[str]) -> dict[int, MessageView]:
    """Messages as one reading served them."""
    fold = ReferenceFold(viewer_id)
    for event in page:
        fold.place(event)
    problems += fold.problems
    return fold.messages()


def _kept(event: event_pb2.Event, version: int) -> _Kept:
    message = event.message
    return _Kept(
        event,
        version,
        message.text,
        tuple(sorted(message.attributes.items())),
        tuple(message.mentions),
        message.mention_all,
    )
