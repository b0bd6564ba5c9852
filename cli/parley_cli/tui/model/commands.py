"""What the model asks of the session with the server."""

from __future__ import annotations

from dataclasses import dataclass

from parley_cli.tui.model.conversation import ConversationKey
from parley_cli.tui.model.message import Pending


@dataclass(frozen=True, slots=True)
class LoadPage:
    """Fetch items of a conversation before `before_seq` (0: the newest). PageCame or PageFailed answers."""

    key: ConversationKey
    before_seq: int


@dataclass(frozen=True, slots=True)
class LoadMembers:
    """Fetch the members of a channel. Answered by MembersCame."""

    channel_id: str


@dataclass(frozen=True, slots=True)
class Post:
    """Put a message into the outbox. Answered by PendingSettled."""

    channel_id: str
    pending: Pending


@dataclass(frozen=True, slots=True)
class Edit:
    """Replace the text of a message."""

    channel_id: str
    seq: int
    text: str
    mentions: tuple[str, ...]
    mention_all: bool


@dataclass(frozen=True, slots=True)
class Erase:
    """Delete a message."""

    channel_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class PutReaction:
    """Put an emoji on a message, or take it off."""

    channel_id: str
    seq: int
    emoji: str
    on: bool


@dataclass(frozen=True, slots=True)
class PutPin:
    """Pin a message, or take the pin away."""

    channel_id: str
    seq: int
    on: bool


@dataclass(frozen=True, slots=True)
class MarkRead:
    """Say that the user has read up to `seq`."""

    channel_id: str
    seq: int


@dataclass(frozen=True, slots=True)
class Forget:
    """A conversation's items before `before_seq` are held no more; 0: none of it is."""

    key: ConversationKey
    before_seq: int


Command = LoadPage | LoadMembers | Forget | Post | Edit | Erase | PutReaction | PutPin | MarkRead
