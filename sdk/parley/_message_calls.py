"""What a channel's handle does with messages that stand already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from parley._channel_info import channel_info_of
from parley._events import MessageEvent, message_of
from parley._reasons import MessageNotFound
from parley._uuid7 import new_id
from parley.channel.v1 import channel_service_pb2
from parley.chat.v1 import chat_service_pb2, message_requests_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from parley._directory import Directory
    from parley._link import Link
    from parley._user import User

LARGEST_PAGE = 200


class Placed(Protocol):
    """Something with a place in a channel's log: an event, a message of a timeline, a `Sent`."""

    @property
    def seq(self) -> int:
        """Its place."""
        ...


@dataclass(frozen=True, slots=True)
class Change:
    """A change of a message that is durable: the event at `seq` made it, or it held already.

    With `duplicate` an earlier call with this id made it, or somebody else did; where no event had to be
    written, `seq` is the channel's newest. `create_time_ms` is in milliseconds since 1970-01-01 UTC.
    """

    seq: int
    create_time_ms: int
    client_message_id: str
    duplicate: bool


def seq_of(message: int | Placed) -> int:
    """The seq of a message that is given by it or by itself."""
    return message if isinstance(message, int) else message.seq


class MessageCalls:
    """Editing, deleting, reacting, pinning, threads. Messages are given by their seq or as what holds it.

    Calls that change something are repeated with one id until they are answered or the client's time is up.
    Give `client_message_id` (`parley.new_id()`) to go on safely after a failure or a restart: a repetition
    changes nothing more.
    """

    id: str
    _link: Link
    _directory: Directory

    async def edit(
        self,
        message: int | Placed,
        text: str,
        *,
        attributes: Mapping[str, str] | None = None,
        mentions: Iterable[User | str] = (),
        mention_all: bool = False,
        client_message_id: str | None = None,
    ) -> Change:
        """Replace the content of an own message: text, attributes and mentions of before go.

        Raises `NotAuthor`, `EditWindowOver`, `MessageDeleted`, `MessageNotFound`, `InvalidField`.
        """
        request = message_requests_pb2.EditMessageRequest(
            channel_id=self.id,
            seq=seq_of(message),
            client_message_id=client_message_id or new_id(),
            text=text,
            attributes=attributes or {},
            mentions=await self._mentions(mentions),
            mention_all=mention_all,
        )
        response = await self._link.call(self._link.chat.EditMessage, request)
        return _change_of(response.change, request.client_message_id)

    async def delete(self, message: int | Placed, *, client_message_id: str | None = None) -> Change:
        """Make a message a tombstone: one's own, or in a group anybody's with the role admin.

        Its text is served to nobody any more and goes from the server's store. Raises `NotAuthor`,
        `RoleRequired`, `MessageNotFound`.
        """
        request = message_requests_pb2.DeleteMessageRequest(
            channel_id=self.id, seq=seq_of(message), client_message_id=client_message_id or new_id()
        )
        response = await self._link.call(self._link.chat.DeleteMessage, request)
        return _change_of(response.change, request.client_message_id)

    async def react(
        self, message: int | Placed, emoji: str, *, client_message_id: str | None = None
    ) -> Change:
        """Put an emoji on a message. Raises `TooManyReactions`, `MessageDeleted`, `MessageNotFound`,
        `InvalidField`.
        """
        request = message_requests_pb2.AddReactionRequest(
            channel_id=self.id,
            seq=seq_of(message),
            client_message_id=client_message_id or new_id(),
            emoji=emoji,
        )
        response = await self._link.call(self._link.chat.AddReaction, request)
        return _change_of(response.change, request.client_message_id)

    async def unreact(
        self, message: int | Placed, emoji: str, *, client_message_id: str | None = None
    ) -> Change:
        """Take one's own emoji off a message. Raises `MessageDeleted`, `MessageNotFound`, `InvalidField`."""
        request = message_requests_pb2.RemoveReactionRequest(
            channel_id=self.id,
            seq=seq_of(message),
            client_message_id=client_message_id or new_id(),
            emoji=emoji,
        )
        response = await self._link.call(self._link.chat.RemoveReaction, request)
        return _change_of(response.change, request.client_message_id)

    async def pin(self, message: int | Placed, *, client_message_id: str | None = None) -> Change:
        """Pin a message to the channel. Raises `RoleRequired`, `TooManyPins`, `MessageDeleted`,
        `MessageNotFound`.
        """
        request = message_requests_pb2.PinMessageRequest(
            channel_id=self.id, seq=seq_of(message), client_message_id=client_message_id or new_id()
        )
        response = await self._link.call(self._link.chat.PinMessage, request)
        return _change_of(response.change, request.client_message_id)

    async def unpin(self, message: int | Placed, *, client_message_id: str | None = None) -> Change:
        """Take a pin away. Raises `RoleRequired`, `MessageDeleted`, `MessageNotFound`."""
        request = message_requests_pb2.UnpinMessageRequest(
            channel_id=self.id, seq=seq_of(message), client_message_id=client_message_id or new_id()
        )
        response = await self._link.call(self._link.chat.UnpinMessage, request)
        return _change_of(response.change, request.client_message_id)

    async def thread(
        self, root: int | Placed, limit: int | None = 100, before_seq: int = 0
    ) -> AsyncIterator[MessageEvent]:
        """The messages in a message's thread, newest first, without that message; tombstones among them.

        At most `limit` (None: all), only those before `before_seq` (0: all). Raises `MessageNotFound`.
        """
        if limit is not None and limit <= 0:
            return
        left = limit
        request = chat_service_pb2.ListThreadRequest(
            channel_id=self.id,
            thread_root_seq=seq_of(root),
            before_seq=before_seq,
            page_size=LARGEST_PAGE if limit is None else min(limit, LARGEST_PAGE),
        )
        async for event in self._link.pages(self._link.chat.ListThread, request, lambda page: page.events):
            yield message_of(event)
            if left is not None:
                left -= 1
                if not left:
                    return

    async def pinned(self) -> list[MessageEvent]:
        """The pinned messages that the user may see, the newest pin first: at most 50, one call for each."""
        request = channel_service_pb2.GetChannelRequest(channel_id=self.id)
        info = channel_info_of((await self._link.call(self._link.channels.GetChannel, request)).channel)
        found: list[MessageEvent] = []
        for seq in info.pinned_seqs:
            try:
                message = await self.message(seq)
            except MessageNotFound:
                continue  # From before the user's time.
            if not message.deleted:
                found.append(message)
        return found

    async def message(self, seq: int) -> MessageEvent:
        """The message at `seq`. Raises `MessageNotFound` when there is none that the user may see."""
        request = chat_service_pb2.GetMessageRequest(channel_id=self.id, seq=seq)
        return message_of((await self._link.call(self._link.chat.GetMessage, request)).event)

    async def _mentions(self, users: Iterable[User | str]) -> list[str]:
        """Ids for the users to mention. Only names with @ are looked up: ids are sent without a question."""
        if isinstance(users, str):
            raise TypeError("mentions must be a list of users, not one string")
        return [
            user
            if isinstance(user, str) and not user.startswith("@")
            else await self._directory.user_id(user)
            for user in users
        ]


def _change_of(change: message_requests_pb2.Change, client_message_id: str) -> Change:
    return Change(
        seq=change.seq,
        create_time_ms=change.create_time_ms,
        client_message_id=client_message_id,
        duplicate=change.duplicate,
    )
