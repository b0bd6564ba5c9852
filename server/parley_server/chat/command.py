"""What can be asked of a channel, and what comes of it, as values. Pure."""

from __future__ import annotations

import msgspec

from parley_runtime.refusal import Refusal
from parley_server.chat.event import ChannelKind, HistoryVisibility, Role


class CreateChannel(msgspec.Struct, frozen=True):
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


class PostMessage(msgspec.Struct, frozen=True):
    """Write a message. Its content has been checked and `digest` identifies it."""

    actor_id: str
    client_message_id: str
    digest: bytes
    text: str
    attributes: tuple[tuple[str, str], ...] = ()
    mentions: tuple[str, ...] = ()
    mention_all: bool = False
    reply_to_seq: int = 0
    thread_root_seq: int = 0


class EditMessage(msgspec.Struct, frozen=True):
    """Replace the content of one's own message. Its content has been checked, and that one may see it."""

    actor_id: str
    client_message_id: str
    digest: bytes
    target_seq: int
    text: str
    attributes: tuple[tuple[str, str], ...] = ()
    mentions: tuple[str, ...] = ()
    mention_all: bool = False


class DeleteMessage(msgspec.Struct, frozen=True):
    """Make a message a tombstone: one's own, or another's by role. The actor may see it."""

    actor_id: str
    client_message_id: str
    digest: bytes
    target_seq: int


class React(msgspec.Struct, frozen=True):
    """Put an emoji on a message that the actor may see, or take it off."""

    actor_id: str
    client_message_id: str
    digest: bytes
    target_seq: int
    emoji: str
    added: bool


class Pin(msgspec.Struct, frozen=True):
    """Pin a message that the actor may see to the channel, or unpin it."""

    actor_id: str
    client_message_id: str
    digest: bytes
    target_seq: int
    pinned: bool


class Forbidden(msgspec.Struct, frozen=True):
    """A write that must not be made now, for a reason that lies outside of the channel's state. If it was
    made before, its repeat is answered as the first try was, else with `refusal`.
    """

    actor_id: str
    client_message_id: str
    digest: bytes
    refusal: Refusal


class AddMembers(msgspec.Struct, frozen=True):
    """Add users who exist; those already in the channel stay as they are."""

    actor_id: str
    user_ids: tuple[str, ...]


class RemoveMember(msgspec.Struct, frozen=True):
    """Remove one member; nobody to remove is fine."""

    actor_id: str
    user_id: str


class LeaveChannel(msgspec.Struct, frozen=True):
    """Take the actor out."""

    actor_id: str


class JoinByInvite(msgspec.Struct, frozen=True):
    """Make the actor a member by an invite."""

    actor_id: str
    invite_id: str


class SetMemberRole(msgspec.Struct, frozen=True):
    """Give a member another role."""

    actor_id: str
    user_id: str
    role: Role


class SetBan(msgspec.Struct, frozen=True):
    """Ban a user, member or not, or lift the ban."""

    actor_id: str
    user_id: str
    banned: bool


class UpdateChannel(msgspec.Struct, frozen=True):
    """Change settings; None leaves one as it is."""

    actor_id: str
    title: str | None = None
    description: str | None = None
    history_visibility: HistoryVisibility | None = None
    slow_mode_seconds: int | None = None


class DeleteChannel(msgspec.Struct, frozen=True):
    """End the channel for everybody."""

    actor_id: str


class CreateInvite(msgspec.Struct, frozen=True):
    """Make an invite. `use_limit` 0 means: any number of times."""

    actor_id: str
    client_invite_id: str
    digest: bytes
    invite_id: str
    expire_time_ms: int
    use_limit: int


class RevokeInvite(msgspec.Struct, frozen=True):
    """Make an invite useless; none to revoke is fine."""

    actor_id: str
    invite_id: str


class EraseAuthor(msgspec.Struct, frozen=True):
    """The actor's account is being deleted: leave, pass ownership on, and make all one wrote tombstones."""

    actor_id: str


MessageChangeCommand = EditMessage | DeleteMessage | React | Pin

Command = (
    CreateChannel
    | PostMessage
    | EditMessage
    | DeleteMessage
    | React
    | Pin
    | Forbidden
    | AddMembers
    | RemoveMember
    | LeaveChannel
    | JoinByInvite
    | SetMemberRole
    | SetBan
    | UpdateChannel
    | DeleteChannel
    | CreateInvite
    | RevokeInvite
    | EraseAuthor
)


class Done(msgspec.Struct, frozen=True):
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
        case (
            PostMessage(client_message_id=client_id)
            | EditMessage(client_message_id=client_id)
            | DeleteMessage(client_message_id=client_id)
            | React(client_message_id=client_id)
            | Pin(client_message_id=client_id)
            | Forbidden(client_message_id=client_id)
            | CreateChannel(client_channel_id=client_id)
            | CreateInvite(client_invite_id=client_id)
        ):
            return client_id
        case _:
            return ""


def targets_of(command: Command) -> tuple[int, ...]:
    """The seqs of the messages that the command is about, which have to be known to decide it."""
    match command:
        case PostMessage(reply_to_seq=reply_to_seq, thread_root_seq=thread_root_seq):
            if not reply_to_seq and not thread_root_seq:
                return ()
            return tuple(seq for seq in (reply_to_seq, thread_root_seq) if seq)
        case (
            EditMessage(target_seq=seq)
            | DeleteMessage(target_seq=seq)
            | React(target_seq=seq)
            | Pin(target_seq=seq)
        ):
            return (seq,)
        case _:
            return ()
