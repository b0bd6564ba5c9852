"""One channel, as a handle to send to, read and manage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from parley._channel_info import ChannelInfo, Member, ReadPosition, channel_info_of, member_of
from parley._events import Event, MessageEvent, event_of, message_of
from parley._uuid7 import new_id
from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2, message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from parley._directory import Directory
    from parley._link import Link
    from parley._user import User

_LARGEST_PAGE = 200


@dataclass(frozen=True, slots=True)
class Sent:
    """A message that is durable and in its final place.

    `create_time_ms` is in milliseconds since 1970-01-01 UTC. `duplicate` is true when an earlier attempt
    with the same `client_message_id`, also one within the same `send`, had written it.
    """

    seq: int
    message_no: int
    create_time_ms: int
    client_message_id: str
    duplicate: bool


class Channel:
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
        client_message_id: str | None = None,
        timeout_seconds: float | None = None,
    ) -> Sent:
        """Write a message, at most 100,000 code points, and wait until it is durable.

        A call that times out or is cut is repeated with the same id until the server answers or
        `timeout_seconds` are over (None: those of `connect`), so the message is written at most once.
        Limits are waited for within the same time. After `Unreachable`, `TimedOut` and `StoreUnavailable`
        the outcome is unknown: to go on later, make the id beforehand (`parley.new_id()`), keep it, and
        call again with it, within 7 days.

        Messages that are sent one after the other stand in that order. Raises `InvalidField` for a text or
        attributes that the server refuses, `ClientIdReused` when the id was used for another message.
        """
        message_id = client_message_id or new_id()
        request = message_requests_pb2.SendMessageRequest(
            channel_id=self.id, client_message_id=message_id, text=text, attributes=attributes or {}
        )
        response = await self._link.send_message(request, timeout_seconds)
        return Sent(
            seq=response.seq,
            message_no=response.message_no,
            create_time_ms=response.create_time_ms,
            client_message_id=message_id,
            duplicate=response.duplicate,
        )

    async def history(self, limit: int | None = 100, before_seq: int = 0) -> AsyncIterator[MessageEvent]:
        """Messages, newest first: at most `limit` (None: all), only those before `before_seq` (0: all)."""
        if limit is not None and limit <= 0:
            return
        left = limit
        request = chat_service_pb2.ListMessagesRequest(
            channel_id=self.id,
            before_seq=before_seq,
            page_size=_LARGEST_PAGE if limit is None else min(limit, _LARGEST_PAGE),
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
            channel_id=self.id, from_seq=from_seq, to_seq=to_seq, page_size=_LARGEST_PAGE
        )
        async for event in self._link.pages(self._link.chat.ListEvents, request, lambda page: page.events):
            yield event_of(event)

    async def message(self, seq: int) -> MessageEvent:
        """The message at `seq`. Raises `MessageNotFound` when there is none that the user may see."""
        request = chat_service_pb2.GetMessageRequest(channel_id=self.id, seq=seq)
        return message_of((await self._link.call(self._link.chat.GetMessage, request)).event)

    async def info(self) -> ChannelInfo:
        """The channel's title, settings and head as they are now."""
        request = channel_service_pb2.GetChannelRequest(channel_id=self.id)
        return channel_info_of((await self._link.call(self._link.channels.GetChannel, request)).channel)

    async def members(self) -> AsyncIterator[Member]:
        """The members by user id, with how far each has read."""
        request = channel_service_pb2.ListMembersRequest(channel_id=self.id, page_size=_LARGEST_PAGE)
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

    async def mark_read(self, seq: int) -> ReadPosition:
        """Say that the user has read up to `seq`. Returns what holds: the largest of all devices."""
        request = message_requests_pb2.MarkReadRequest(channel_id=self.id, seq=seq)
        response = await self._link.mark_read(request)
        return ReadPosition(response.read_seq, response.read_message_no)
