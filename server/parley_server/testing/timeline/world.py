"""A channel as it stands after some events: the reference that the SDK's timeline is held against. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field

import parley


@dataclass
class WorldMessage:
    """A message as of some moment. `touched`: whether anything happened to it, also what was undone since;
    then it is served with a state.
    """

    event: parley.MessageEvent
    text: str
    edit_seq: int = 0
    edit_time_ms: int = 0
    delete_seq: int = 0
    pin_seq: int = 0
    reactions: dict[str, list[str]] = field(default_factory=dict)
    replies: list[int] = field(default_factory=list)
    touched: bool = False

    def reactions_for(self, user_id: str) -> tuple[parley.Reaction, ...]:
        """Its reactions as this user is served them, in the order in which they came first."""
        return tuple(
            parley.Reaction(emoji, len(users), user_id in users, tuple(users[:10]))
            for emoji, users in self.reactions.items()
        )


@dataclass
class World:
    """What a channel holds at some moment: everything up to it was applied, in order."""

    messages: dict[int, WorldMessage] = field(default_factory=dict)
    members: dict[str, parley.Role] = field(default_factory=dict)
    title: str = ""
    deleted: bool = False

    def apply(self, event: parley.Event) -> None:
        """The next event happens. Raises AssertionError for a kind that it does not know."""
        target = getattr(event, "target_seq", 0) or getattr(event, "thread_root_seq", 0)
        if target:
            self.messages[target].touched = True
        match event:
            case parley.MessageEvent():
                self.messages[event.seq] = WorldMessage(event, event.text)
                if event.thread_root_seq:
                    self.messages[event.thread_root_seq].replies.append(event.seq)
            case parley.EditEvent():
                message = self.messages[event.target_seq]
                message.text, message.edit_seq = event.text, event.seq
                message.edit_time_ms = event.create_time_ms
            case parley.DeleteEvent():
                self._bury(self.messages[event.target_seq], event.seq)
            case parley.ReactionEvent(emoji=emoji, added=added, actor_id=user):
                users = self.messages[event.target_seq].reactions.setdefault(emoji, [])
                (users.append if added else users.remove)(user)
                if not users:
                    del self.messages[event.target_seq].reactions[emoji]
            case parley.PinEvent():
                self.messages[event.target_seq].pin_seq = event.seq if event.pinned else 0
            case parley.AuthorErasedEvent():
                for message in self.messages.values():
                    if message.event.actor_id == event.user_id and not message.delete_seq:
                        self._bury(message, event.seq)
            case parley.MemberEvent():
                self.members.pop(event.user_id, None)
                if event.role is not parley.Role.UNSPECIFIED:
                    self.members[event.user_id] = event.role
            case parley.ChannelEvent():
                self.title = event.title
            case parley.ChannelDeletedEvent():
                self.deleted = True
            case _:
                raise AssertionError(event)

    @staticmethod
    def _bury(message: WorldMessage, seq: int) -> None:
        message.delete_seq, message.text, message.pin_seq = seq, "", 0
        message.touched = True
        message.reactions.clear()

    def pins(self) -> tuple[int, ...]:
        """The seqs of pinned messages, the newest pin first."""
        pinned = [message for message in self.messages.values() if message.pin_seq]
        return tuple(
            message.event.seq for message in sorted(pinned, key=lambda message: message.pin_seq, reverse=True)
        )
