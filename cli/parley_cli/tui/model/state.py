"""Everything that the terminal client knows, as one value."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.conversation import Conversation, ConversationKey
from parley_cli.tui.model.inbox import Inbox, InboxLine, line_of
from parley_cli.tui.model.member import Member
from parley_cli.tui.model.message import Item

CONVERSATIONS_LIMIT = 30
"""Conversations kept in memory; the one looked at longest ago is fetched again when it is opened."""

NAMES_LIMIT = 20_000
"""User names kept. Beyond, all that no message on the screen needs are learned again."""

DEFAULT_EMOJI = "\U0001f44d"


@dataclass(frozen=True, slots=True)
class Composing:
    """What the composer is for: a new message, an answer (`reply_to_seq`) or an edit (`edit_seq`)."""

    edit_seq: int = 0
    reply_to_seq: int = 0


NEW_MESSAGE = Composing()


@dataclass(frozen=True, slots=True)
class State:
    """The model. `conversations` are in the order in which they were opened, the newest last."""

    server: str
    me_id: str = ""
    me_name: str = ""
    names: Mapping[str, str] = field(default_factory=dict)
    inbox: Inbox = ()
    inbox_loaded: bool = False
    conversations: Mapping[ConversationKey, Conversation] = field(default_factory=dict)
    members: Mapping[str, tuple[Member, ...]] = field(default_factory=dict)
    current: ConversationKey | None = None
    composing: Composing = NEW_MESSAGE
    drafts: Mapping[ConversationKey, str] = field(default_factory=dict)
    last_emoji: str = DEFAULT_EMOJI
    at_end: bool = True
    focused: bool = True
    connection: Connection = field(default_factory=Connection)
    told: str = ""
    told_bad: bool = False

    @property
    def conversation(self) -> Conversation | None:
        """The conversation that is shown."""
        return self.conversations.get(self.current) if self.current is not None else None

    @property
    def channel_id(self) -> str | None:
        """The channel that is shown."""
        return self.current[0] if self.current is not None else None

    @property
    def line(self) -> InboxLine | None:
        """The inbox's line of the channel that is shown."""
        return line_of(self.inbox, self.channel_id) if self.channel_id is not None else None

    @property
    def selected(self) -> Item | None:
        """The message that is selected."""
        return self.conversation.find(self.conversation.selected) if self.conversation else None

    @property
    def draft(self) -> str:
        """What the composer holds when it is shown for this conversation."""
        return self.drafts.get(self.current, "") if self.current is not None else ""

    @property
    def current_members(self) -> tuple[Member, ...]:
        """The members of the channel that is shown, as far as known."""
        return self.members.get(self.channel_id, ()) if self.channel_id is not None else ()

    @property
    def me(self) -> Member | None:
        """The user as a member of the channel that is shown."""
        return next((each for each in self.current_members if each.user_id == self.me_id), None)

    def with_conversation(self, conversation: Conversation) -> State:
        """The state with this one in place of the one before."""
        return replace(self, conversations={**self.conversations, conversation.key: conversation})
