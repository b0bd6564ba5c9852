"""The start screen: one line per channel."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley._channel_info import ChannelInfo, channel_info_of
from parley._events import MessageEvent, message_of

if TYPE_CHECKING:
    from parley.chat.v1 import chat_service_pb2


@dataclass(frozen=True, slots=True)
class InboxEntry:
    """One channel of the caller. `peer_user_id` is the other user of a direct channel, "" for groups.

    `unread_count` counts the messages after `read_seq`. `last_message` has at most 256 code points of its
    text; None when there is no message yet. `mute_until_ms` is when the user's mute ends; None: not muted.
    """

    channel: ChannelInfo
    peer_user_id: str
    read_seq: int
    unread_count: int
    last_message: MessageEvent | None
    mute_until_ms: int | None = None


def inbox_entry_of(entry: chat_service_pb2.InboxEntry) -> InboxEntry:
    """The line that a message of the contract carries."""
    return InboxEntry(
        channel=channel_info_of(entry.channel),
        peer_user_id=entry.peer_user_id,
        read_seq=entry.read_seq,
        unread_count=entry.unread_count,
        last_message=message_of(entry.last_message) if entry.HasField("last_message") else None,
        mute_until_ms=entry.mute_until.ToMilliseconds() if entry.HasField("mute_until") else None,
    )
