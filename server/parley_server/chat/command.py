"""What can be asked of a channel, and what comes of it, as values. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley_runtime.refusal import Refusal

if TYPE_CHECKING:
    from parley_server.chat.event import ChannelKind, HistoryVisibility


@dataclass(frozen=True, slots=True)
class CreateChannel:
    """Make the channel with `members` (the actor among them, each once). A group's actor becomes its owner.

    `client_channel_id` and `digest` are empty for direct channels, which need none: the pair is the identity.
    """

    actor_id: str
    kind: ChannelKind
    title: str
    member_ids: tuple[str, ...]
    history_visibility: HistoryVisibility
    member_limit: int
    client_channel_id: str
    digest: bytes


@dataclass(frozen=True, slots=True)
class PostMessage:
    """Write a message. Its content has been checked and `digest` identifies it."""

    actor_id: str
    client_message_id: str
    digest: bytes
    text: str
    attributes: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class AddMembers:
    """Add users who exist; those already in the channel stay as they are."""

    actor_id: str
    user_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RemoveMember:
    """Remove one member; nobody to remove is fine."""

    actor_id: str
    user_id: str


@dataclass(frozen=True, slots=True)
class LeaveChannel:
    """Take the actor out."""

    actor_id: str


Command = CreateChannel | PostMessage | AddMembers | RemoveMember | LeaveChannel


@dataclass(frozen=True, slots=True)
class Done:
    """The command holds, at the latest since `seq`: by events of its own, or by earlier ones when
    `duplicate`.

    For a message: its place in the log. For other commands: the head at which the command's outcome holds.
    """

    seq: int
    message_no: int
    create_time_ms: int
    duplicate: bool


Outcome = Done | Refusal


def client_id_of(command: Command) -> str:
    """The client-made id that makes the command's repeat harmless; empty where the command needs none."""
    match command:
        case PostMessage(client_message_id=client_id) | CreateChannel(client_channel_id=client_id):
            return client_id
        case _:
            return ""
