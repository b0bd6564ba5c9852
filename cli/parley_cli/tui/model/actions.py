"""What happens to the terminal client: what its user wants, and what the session with the server tells."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.conversation import ConversationKey
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Key, Logged, Pending

# --- what the session tells


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The session speaks as this user now. Everything of an earlier one is forgotten."""

    me_id: str
    me_name: str
    server: str


@dataclass(frozen=True, slots=True)
class NamesLearned:
    """User names by id. It comes before the items that need them."""

    names: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class InboxCame:
    """All of the user's channels."""

    lines: tuple[InboxLine, ...]


@dataclass(frozen=True, slots=True)
class LineCame:
    """One channel is new, or its label changed."""

    line: InboxLine


@dataclass(frozen=True, slots=True)
class ChannelGone:
    """The user is in that channel no more."""

    channel_id: str
    why: str


@dataclass(frozen=True, slots=True)
class HeadMoved:
    """A channel's end or the user's read position in it moved."""

    channel_id: str
    head_seq: int
    unread: int


@dataclass(frozen=True, slots=True)
class NewsCame:
    """Items happened in a conversation, or messages of it changed."""

    key: ConversationKey
    items: tuple[Logged, ...]


@dataclass(frozen=True, slots=True)
class MessageCame:
    """Somebody wrote into a channel just now."""

    channel_id: str
    seq: int
    author_id: str
    text: str
    time_ms: int
    calls_me: bool


@dataclass(frozen=True, slots=True)
class TextChanged:
    """A message's text is another one now; "": it was deleted. `author_id` is asked only of a new text."""

    channel_id: str
    seq: int
    author_id: str
    text: str


@dataclass(frozen=True, slots=True)
class PageCame:
    """Older items of a conversation. `complete`: there are none before them."""

    key: ConversationKey
    items: tuple[Logged, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class PageFailed:
    """Older items could not be fetched."""

    key: ConversationKey
    why: str


@dataclass(frozen=True, slots=True)
class MembersCame:
    """All members of a channel."""

    channel_id: str
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class PendingFound:
    """A message from an earlier run is on its way."""

    channel_id: str
    pending: Pending


@dataclass(frozen=True, slots=True)
class PendingSettled:
    """The server took a message (`sent_seq`), or it was refused (`trouble`)."""

    channel_id: str
    client_message_id: str
    sent_seq: int = 0
    trouble: str = ""


@dataclass(frozen=True, slots=True)
class ConnectionMoved:
    """The connection's state."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class Told:
    """A sentence for the user; `bad` when something did not work."""

    text: str
    bad: bool = False


# --- what the user wants


@dataclass(frozen=True, slots=True)
class Open:
    """Show a channel."""

    channel_id: str


@dataclass(frozen=True, slots=True)
class OpenThread:
    """Show the thread of the selected message."""


@dataclass(frozen=True, slots=True)
class CloseThread:
    """Go back to the channel."""


@dataclass(frozen=True, slots=True)
class Step:
    """Move the selection by so many messages."""

    by: int


@dataclass(frozen=True, slots=True)
class Select:
    """Select this message; None: none."""

    key: Key | None


@dataclass(frozen=True, slots=True)
class Unfold:
    """Show a long message whole, or fold it again."""

    key: Key


@dataclass(frozen=True, slots=True)
class TopNear:
    """The oldest item held is about to be seen."""


@dataclass(frozen=True, slots=True)
class Looking:
    """Whether the end of the conversation is in the window, of a terminal that somebody looks at."""

    at_end: bool
    focused: bool


@dataclass(frozen=True, slots=True)
class BeginEdit:
    """Edit the selected message, or with `newest` the user's newest one."""

    newest: bool = False


@dataclass(frozen=True, slots=True)
class BeginReply:
    """Answer the selected message."""


@dataclass(frozen=True, slots=True)
class StopComposing:
    """Neither edit nor answer: write a new message."""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is written in the composer now."""

    draft: str


@dataclass(frozen=True, slots=True)
class Submit:
    """What is written is to be sent, under this id if it is a new message."""

    text: str
    client_message_id: str
    now_ms: int


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete the selected message; the user has confirmed it. One that was not sent is dropped."""


@dataclass(frozen=True, slots=True)
class React:
    """Put an emoji on the selected message, or take the user's own off. "": the one used last."""

    emoji: str = ""


@dataclass(frozen=True, slots=True)
class Pin:
    """Pin the selected message, or take the pin away."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Send a refused message again, under a new id."""

    client_message_id: str
    new_id: str
    now_ms: int


FromSession = (
    SignedIn
    | NamesLearned
    | InboxCame
    | LineCame
    | ChannelGone
    | HeadMoved
    | NewsCame
    | PageCame
    | PageFailed
    | MembersCame
    | MessageCame
    | TextChanged
    | PendingFound
    | PendingSettled
    | ConnectionMoved
    | Told
)

FromUser = (
    Open
    | OpenThread
    | CloseThread
    | Step
    | Select
    | Unfold
    | TopNear
    | Looking
    | BeginEdit
    | BeginReply
    | StopComposing
    | Keep
    | Submit
    | Delete
    | React
    | Pin
    | Retry
)

Action = FromSession | FromUser
