"""What stands in a conversation: messages, notices, and messages on their way."""

from __future__ import annotations

from dataclasses import dataclass

Key = int | str
"""Names an item of a conversation: the seq of what is in the log, the client's id of what is not yet."""


@dataclass(frozen=True, slots=True)
class Reaction:
    """One emoji on a message; `own` says that the user put it there too."""

    emoji: str
    count: int
    own: bool


@dataclass(frozen=True, slots=True)
class Message:
    """A message as it is now. `text` is empty once `deleted`. 0 in a seq means: none. Times are Unix ms."""

    seq: int
    author_id: str
    text: str
    time_ms: int
    client_message_id: str = ""
    edited: bool = False
    deleted: bool = False
    pinned: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0
    reply_count: int = 0
    mentions_me: bool = False
    reactions: tuple[Reaction, ...] = ()

    @property
    def key(self) -> Key:
        """Its name in the conversation."""
        return self.seq


@dataclass(frozen=True, slots=True)
class Notice:
    """Something that happened and is no message, as a finished sentence."""

    seq: int
    time_ms: int
    text: str

    @property
    def key(self) -> Key:
        """Its name in the conversation."""
        return self.seq


@dataclass(frozen=True, slots=True)
class Pending:
    """A message of the user that the server has not taken yet.

    `trouble` is why it was refused; "" while it waits. `sent_seq` is its place once the server said so, and
    the event that carries it has not come yet.
    """

    client_message_id: str
    text: str
    time_ms: int
    reply_to_seq: int = 0
    thread_root_seq: int = 0
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    trouble: str = ""
    sent_seq: int = 0

    @property
    def key(self) -> Key:
        """Its name in the conversation."""
        return self.client_message_id


Logged = Message | Notice
"""What has a place in the log."""

Item = Message | Notice | Pending
"""What stands in a conversation."""
