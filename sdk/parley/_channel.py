"""One channel, as a handle to send to, read and manage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from google.protobuf.timestamp_pb2 import Timestamp

from parley._channel_info import ChannelInfo, Member, ReadPosition, channel_info_of, member_of
from parley._events import Event, MessageEvent, event_of, message_of
from parley._group_calls import GroupCalls
from parley._message_calls import LARGEST_PAGE, MessageCalls, Placed, seq_of
from parley._uuid7 import new_id
from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2, message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from parley._directory import Directory
    from parley._link import Link
    from parley._sent import Sent
    from parley._user import User


_FOR_EVER_SECONDS = 253_402_300_799
"""The last second that a Timestamp can hold."""


class Channel(MessageCalls, GroupCalls):
    """A channel of the user; `id` names it. Making one asks the server nothing.

    All methods raise ParleyError when a call fails: `ChannelNotFound` when there is no such channel, or
    none that the user may see.
    """

    def __init__(self, link: Link, directory: Directory, channel_id: str) -> None:
        self._link = link
        self._directory = directory
        self.id = channel_id

    def __repr__(self) -> str:
        return f"Channel({self.id!r})"

    async def send(
        self,
        text: str,
        *,
        attributes: Mapping[str, str] | None = None,
        mentions: Iterable[User | str] = (),
        mention_all: bool = False,
        reply_to: int | Placed = 0,
        thread: int | Placed = 0,
        client_message_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Sent:
        """Write a message, at most 100,000 code points, and wait until it is durable on the server.

        `mentions` (at most 50 profiles, ids or "@name") are called, as far as they are members; with
        `mention_all` everybody is, which in a group needs the role admin. `reply_to` is the message that this
        one answers, `thread` the one in whose thread it stands: given by seq, or as what holds it.

        The message goes to the outbox first: it is in the state store before it is sent. There it stays
        until the server answers, and is tried again with the same id, so it is written at most once.
        Messages to one channel are sent one after the other, in the order of the calls.

        When `timeout_seconds` are over (None: those of `connect`) the last error is raised, or `TimedOut`.
        The message goes on all the same, in the background, and after a restart with the same state store;
        `client.result(client_message_id)` tells what came of it. A call with the id of a message that waits
        joins it.

        Raises `InvalidField` for a text or attributes that the server refuses, `ClientIdReused` when the id
        was used for another message, `OutboxFull`, `MessageNotFound`, `MessageDeleted` and `NestedThread` for
        `reply_to` and `thread`, and other errors as the server gives them; the outbox has then forgotten the
        message. What the user has to see to (log in again) leaves it there.
        """
        request = message_requests_pb2.SendMessageRequest(
            channel_id=self.id,
            client_message_id=client_message_id or new_id(),
            text=text,
            attributes=attributes or {},
            mentions=await self._mentions(mentions),
            mention_all=mention_all,
            reply_to_seq=seq_of(reply_to),
            thread_root_seq=seq_of(thread),
        )
        letter = await self._link.outbox.add(request)
        return await self._link.outbox.answer(letter, self._link.seconds(timeout_seconds))

    async def post(
        self,
        text: str,
        *,
        attributes: Mapping[str, str] | None = None,
        mentions: Iterable[User | str] = (),
        mention_all: bool = False,
        reply_to: int | Placed = 0,
        thread: int | Placed = 0,
        client_message_id: str | None = None,
    ) -> str:
        """Put a message into the outbox and return its id at once, also without a connection.

        It is in the state store when this returns, and sent as `send` does. Only mentions written "@name" are
        looked up at the server before. `client.result(id)`, and
        `on_outcome` of `connect`, tell what came of it. Raises `OutboxFull`, `ClientIdReused`.
        """
        request = message_requests_pb2.SendMessageRequest(
            channel_id=self.id,
            client_message_id=client_message_id or new_id(),
            text=text,
            attributes=attributes or {},
            mentions=await self._mentions(mentions),
            mention_all=mention_all,
            reply_to_seq=seq_of(reply_to),
            thread_root_seq=seq_of(thread),
        )
        return (await self._link.outbox.add(request)).message_id

    async def history(self, limit: int | None = 100, before_seq: int = 0) -> AsyncIterator[MessageEvent]:
        """Messages, newest first: at most `limit` (None: all), only those before `before_seq` (0: all)."""
        if limit is not None and limit <= 0:
            return
        left = limit
        request = chat_service_pb2.ListMessagesRequest(
            channel_id=self.id,
            before_seq=before_seq,
            page_size=LARGEST_PAGE if limit is None else min(limit, LARGEST_PAGE),
        )
        pages = self._link.pages(self._link.chat.ListMessages, request, lambda page: page.events)
        async for event in pages:
            yield message_of(event)
            if left is not None:
                left -= 1
                if not left:
                    return

    async def event_range(self, from_seq: int = 0, to_seq: int = 0) -> AsyncIterator[Event]:
        """Events from `from_seq` (0: the first) to `to_seq` (0: the newest), oldest first."""
        request = chat_service_pb2.ListEventsRequest(
            channel_id=self.id, from_seq=from_seq, to_seq=to_seq, page_size=LARGEST_PAGE
        )
        async for event in self._link.pages(self._link.chat.ListEvents, request, lambda page: page.events):
            yield event_of(event)

    async def info(self) -> ChannelInfo:
        """The channel's title, settings and head as they are now."""
        request = channel_service_pb2.GetChannelRequest(channel_id=self.id)
        return channel_info_of((await self._link.call(self._link.channels.GetChannel, request)).channel)

    async def members(self) -> AsyncIterator[Member]:
        """The members by user id, with how far each has read."""
        request = channel_service_pb2.ListMembersRequest(channel_id=self.id, page_size=LARGEST_PAGE)
        pages = self._link.pages(self._link.channels.ListMembers, request, lambda page: page.members)
        async for member in pages:
            yield member_of(member)

    async def add(self, users: Iterable[User | str]) -> ChannelInfo:
        """Add 1 to 100 users (profiles, names or ids) to a group, all or none; members stay as they are.

        Returns the channel after it. Raises `RoleRequired`, `UserNotFound`, `ChannelFull`, `DirectChannel`.
        """
        request = channel_service_pb2.AddMembersRequest(
            channel_id=self.id, user_ids=await self._directory.user_ids(users)
        )
        return channel_info_of((await self._link.call(self._link.channels.AddMembers, request)).channel)

    async def remove(self, user: User | str) -> ChannelInfo:
        """Take a user (profile, name or id) out of a group. Returns the channel after it.

        Changes nothing when the user is not in it. Raises `RoleRequired`, `UserNotFound`, `DirectChannel`.
        """
        request = channel_service_pb2.RemoveMemberRequest(
            channel_id=self.id, user_id=await self._directory.user_id(user)
        )
        return channel_info_of((await self._link.call(self._link.channels.RemoveMember, request)).channel)

    async def leave(self) -> None:
        """Leave a group. Raises `LastOwner` for the last owner while others stay, `DirectChannel`."""
        request = channel_service_pb2.LeaveChannelRequest(channel_id=self.id)
        await self._link.call(self._link.channels.LeaveChannel, request)

    async def mute(self, until_ms: int | None = None) -> None:
        """Want no notices of this channel until `until_ms` (milliseconds since 1970-01-01 UTC; None: for
        ever). It concerns the user alone, on all devices; `inbox()` tells it.
        """
        end = Timestamp(seconds=_FOR_EVER_SECONDS) if until_ms is None else Timestamp()
        if until_ms is not None:
            end.FromMilliseconds(until_ms)
        request = channel_service_pb2.SetMuteRequest(channel_id=self.id, mute_until=end)
        await self._link.call(self._link.channels.SetMute, request)

    async def unmute(self) -> None:
        """Want notices of this channel again."""
        request = channel_service_pb2.SetMuteRequest(channel_id=self.id)
        await self._link.call(self._link.channels.SetMute, request)

    async def mark_read(self, seq: int) -> ReadPosition:
        """Say that the user has read up to `seq`. Returns what holds: the largest of all devices."""
        request = message_requests_pb2.MarkReadRequest(channel_id=self.id, seq=seq)
        response = await self._link.mark_read(request)
        return ReadPosition(response.read_seq, response.read_message_no)
