"""ChatService, the unary calls: converts, calls, converts back.

Calls that a stream can carry too are methods over (caller, request), so that both doors lead to the same
code.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from parley.chat.v1 import (
    chat_service_pb2,
    chat_service_pb2_grpc,
    event_pb2,
    message_requests_pb2,
    stream_pb2,
)
from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_server.api import convert, frames
from parley_server.api.call_context import current_caller
from parley_server.api.paging import page_size_of, page_token_for, place_of
from parley_server.chat.cursor import cursor_of
from parley_server.chat.message_rules import Content

if TYPE_CHECKING:
    import asyncio

    import grpc.aio

    from parley_runtime.clock import Clock
    from parley_server.accounts.caller import Caller
    from parley_server.api.sessions import Sessions
    from parley_server.chat.command import Done
    from parley_server.chat.history import History, HistoryPage
    from parley_server.chat.hub import Hub
    from parley_server.chat.inbox import Inbox, InboxEntry
    from parley_server.chat.messages import Messages
    from parley_server.ports.feed import Feed
    from parley_server.ports.positions import FeedCursor, Positions


ChangeRequest = (
    message_requests_pb2.EditMessageRequest
    | message_requests_pb2.DeleteMessageRequest
    | message_requests_pb2.AddReactionRequest
    | message_requests_pb2.RemoveReactionRequest
    | message_requests_pb2.PinMessageRequest
    | message_requests_pb2.UnpinMessageRequest
)
"""What changes one message."""


class ChatCalls:
    """Requests that come by unary call and on streams alike. All raise Refusal."""

    def __init__(self, messages: Messages, positions: Positions, feed: Feed, hub: Hub, clock: Clock) -> None:
        self._messages = messages
        self._positions = positions
        self._feed = feed
        self._hub = hub
        self._clock = clock

    async def post(
        self, caller: Caller, request: message_requests_pb2.SendMessageRequest
    ) -> asyncio.Future[Done]:
        """Queue the message; the order in which these calls return is the order in the channel."""
        return await self._messages.post(
            caller.user_id,
            request.channel_id,
            request.client_message_id,
            _content(request),
            reply_to_seq=request.reply_to_seq,
            thread_root_seq=request.thread_root_seq,
        )

    def posts_at_once(self, caller: Caller, request: message_requests_pb2.SendMessageRequest) -> bool:
        """Whether `post` of this message waits for nothing."""
        if request.reply_to_seq or request.thread_root_seq:
            return False
        return self._messages.posts_at_once(caller.user_id, request.channel_id)

    async def change(self, caller: Caller, request: ChangeRequest) -> asyncio.Future[Done]:
        """Queue a change of a message, in order with what is posted."""
        where = caller.user_id, request.channel_id, request.client_message_id, request.seq
        match request:
            case message_requests_pb2.EditMessageRequest():
                return await self._messages.edit(*where, _content(request))
            case message_requests_pb2.DeleteMessageRequest():
                return await self._messages.delete(*where)
            case message_requests_pb2.AddReactionRequest():
                return await self._messages.react(*where, request.emoji, added=True)
            case message_requests_pb2.RemoveReactionRequest():
                return await self._messages.react(*where, request.emoji, added=False)
            case message_requests_pb2.PinMessageRequest():
                return await self._messages.pin(*where, pinned=True)
            case _:
                return await self._messages.pin(*where, pinned=False)

    async def mark_read(
        self, caller: Caller, request: message_requests_pb2.MarkReadRequest
    ) -> message_requests_pb2.MarkReadResponse:
        """Raise the read position and tell the user's open sessions."""
        mark = await self._messages.mark_read(caller.user_id, request.channel_id, request.seq)
        position = await self._feed.announce(caller.user_id, request.channel_id, read_seq=mark.seq)
        if position is not None:
            # Otherwise the devices were told this or a later one already.
            self._hub.control(caller.user_id, frames.read_position(request.channel_id, mark), position)
        return message_requests_pb2.MarkReadResponse(read_seq=mark.seq, read_message_no=mark.message_no)

    def check_cursor(self, caller: Caller, request: message_requests_pb2.AckEventsRequest) -> FeedCursor:
        """What the cursor means. Raises Refusal when it is not one of the user's."""
        cursor = cursor_of(caller.user_id, request.cursor)
        if cursor is None:
            raise invalid_field("cursor", "is not a cursor of this user: pass it as it came on the stream")
        return cursor

    async def acknowledge(self, caller: Caller, cursor: str) -> None:
        """Store how far the device has everything. The cursor was checked. A cursor of a lost feed has no
        effect.
        """
        kept = cursor_of(caller.user_id, cursor)
        newest = await self._feed.cursor(caller.user_id)
        if kept is not None and kept.epoch == newest.epoch and kept.position <= newest.position:
            await self._positions.acknowledge(caller.user_id, caller.device_id, kept)

    def now_ms(self) -> int:
        """The server's clock."""
        return self._clock.now_ms()

    def heartbeat(self) -> stream_pb2.HeartbeatResponse:
        """The answer to a heartbeat, whoever's lease it renewed."""
        response = stream_pb2.HeartbeatResponse()
        response.server_time.FromMilliseconds(self._clock.now_ms())
        return response


def sent_message(done: Done) -> message_requests_pb2.SendMessageResponse:
    """The answer to a send."""
    return message_requests_pb2.SendMessageResponse(
        seq=done.seq, message_no=done.message_no, create_time_ms=done.create_time_ms, duplicate=done.duplicate
    )


def change_made(done: Done) -> message_requests_pb2.Change:
    """Where a change of a message stands."""
    return message_requests_pb2.Change(
        seq=done.seq, create_time_ms=done.create_time_ms, duplicate=done.duplicate
    )


def _content(
    request: message_requests_pb2.SendMessageRequest | message_requests_pb2.EditMessageRequest,
) -> Content:
    # Plain containers: those of a message answer through several calls in Python.
    attributes, mentions = request.attributes, request.mentions
    return Content(
        request.text,
        dict(attributes) if attributes else {},
        tuple(mentions) if mentions else (),
        request.mention_all,
    )


class ChatServicer(chat_service_pb2_grpc.ChatServiceServicer):
    """Serves the unary calls of parley.chat.v1.ChatService. The two streams are registered beside it, bytes
    both ways.
    """

    def __init__(self, calls: ChatCalls, history: History, inbox: Inbox, sessions: Sessions) -> None:
        self._calls = calls
        self._history = history
        self._inbox = inbox
        self._sessions = sessions

    def Connect(self, request_iterator: object, context: object) -> Any:
        raise NotImplementedError("streams are served through the seam")

    def Subscribe(self, request: object, context: object) -> Any:
        raise NotImplementedError("streams are served through the seam")

    async def Heartbeat(
        self, request: stream_pb2.HeartbeatRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> stream_pb2.HeartbeatResponse:
        if not self._sessions.heartbeat(current_caller(), request.session_id, foreground=request.foreground):
            raise Refusal(Reason.SESSION_NOT_FOUND, "No such open stream of this device. Connect again.")
        return self._calls.heartbeat()

    async def SendMessage(
        self, request: message_requests_pb2.SendMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.SendMessageResponse:
        return sent_message(await (await self._calls.post(current_caller(), request)))

    async def EditMessage(
        self, request: message_requests_pb2.EditMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.EditMessageResponse:
        return message_requests_pb2.EditMessageResponse(change=await self._change(request))

    async def DeleteMessage(
        self, request: message_requests_pb2.DeleteMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.DeleteMessageResponse:
        return message_requests_pb2.DeleteMessageResponse(change=await self._change(request))

    async def AddReaction(
        self, request: message_requests_pb2.AddReactionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.AddReactionResponse:
        return message_requests_pb2.AddReactionResponse(change=await self._change(request))

    async def RemoveReaction(
        self, request: message_requests_pb2.RemoveReactionRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.RemoveReactionResponse:
        return message_requests_pb2.RemoveReactionResponse(change=await self._change(request))

    async def PinMessage(
        self, request: message_requests_pb2.PinMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.PinMessageResponse:
        return message_requests_pb2.PinMessageResponse(change=await self._change(request))

    async def UnpinMessage(
        self, request: message_requests_pb2.UnpinMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.UnpinMessageResponse:
        return message_requests_pb2.UnpinMessageResponse(change=await self._change(request))

    async def _change(self, request: ChangeRequest) -> message_requests_pb2.Change:
        return change_made(await (await self._calls.change(current_caller(), request)))

    async def AckEvents(
        self, request: message_requests_pb2.AckEventsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.AckEventsResponse:
        caller = current_caller()
        self._calls.check_cursor(caller, request)
        await self._calls.acknowledge(caller, request.cursor)
        return message_requests_pb2.AckEventsResponse()

    async def MarkRead(
        self, request: message_requests_pb2.MarkReadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> message_requests_pb2.MarkReadResponse:
        return await self._calls.mark_read(current_caller(), request)

    async def GetMessage(
        self, request: chat_service_pb2.GetMessageRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> chat_service_pb2.GetMessageResponse:
        encoded = await self._history.message(current_caller().user_id, request.channel_id, request.seq)
        return chat_service_pb2.GetMessageResponse(event=event_pb2.Event.FromString(encoded))

    async def ListMessages(
        self, request: chat_service_pb2.ListMessagesRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> chat_service_pb2.ListMessagesResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, int)
        page = await self._history.messages(
            current_caller().user_id,
            request.channel_id,
            before_seq=int(place[0]) + 1 if place else request.before_seq,
            limit=limit,
        )
        response = chat_service_pb2.ListMessagesResponse(
            next_page_token=_next_token(page), head_seq=page.head
        )
        for row in page.rows:
            response.events.add().MergeFromString(row.event)
        return response

    async def ListThread(
        self, request: chat_service_pb2.ListThreadRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> chat_service_pb2.ListThreadResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, int)
        page = await self._history.thread(
            current_caller().user_id,
            request.channel_id,
            request.thread_root_seq,
            before_seq=int(place[0]) + 1 if place else request.before_seq,
            limit=limit,
        )
        response = chat_service_pb2.ListThreadResponse(next_page_token=_next_token(page))
        for row in page.rows:
            response.events.add().MergeFromString(row.event)
        return response

    async def ListEvents(
        self, request: chat_service_pb2.ListEventsRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> chat_service_pb2.ListEventsResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, int)
        page = await self._history.events(
            current_caller().user_id,
            request.channel_id,
            from_seq=int(place[0]) if place else request.from_seq,
            to_seq=request.to_seq,
            limit=limit,
        )
        response = chat_service_pb2.ListEventsResponse(next_page_token=_next_token(page), head_seq=page.head)
        for row in page.rows:
            response.events.add().MergeFromString(row.event)
        return response

    async def GetInbox(
        self, request: chat_service_pb2.GetInboxRequest, context: grpc.aio.ServicerContext[Any, Any]
    ) -> chat_service_pb2.GetInboxResponse:
        limit = page_size_of(request.page_size)
        place = place_of(request.page_token, int, str)
        before = (int(place[0]), str(place[1])) if place else None
        now_ms = self._calls.now_ms()
        entries = await self._inbox.page(current_caller().user_id, before=before, limit=limit + 1)
        page, more = entries[:limit], len(entries) > limit
        last = page[-1].row.channel if more else None
        return chat_service_pb2.GetInboxResponse(
            entries=[_inbox_message(entry, now_ms) for entry in page],
            next_page_token=page_token_for(last.last_activity_ms, last.channel_id) if last else "",
        )


def _next_token(page: HistoryPage) -> str:
    return "" if page.next_seq is None else page_token_for(page.next_seq)


def _inbox_message(entry: InboxEntry, now_ms: int) -> chat_service_pb2.InboxEntry:
    message = chat_service_pb2.InboxEntry(
        channel=convert.channel_message(entry.row.channel),
        peer_user_id=entry.row.peer_user_id,
        read_seq=entry.read.seq,
        unread_count=convert.unread_count(entry.row, entry.read),
    )
    if entry.mute_until_ms > now_ms:
        message.mute_until.FromMilliseconds(entry.mute_until_ms)
    if entry.last_message is not None:
        message.last_message.MergeFromString(entry.last_message)
    return message
