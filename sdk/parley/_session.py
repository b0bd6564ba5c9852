"""One stream, decided without an event loop: what to send, what to make of what comes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from grpc import StatusCode

from parley._advice import Advice
from parley._errors import Disconnected, ParleyError
from parley._reasons import CLASSES, class_name
from parley.chat.v1 import stream_pb2

if TYPE_CHECKING:
    from parley.chat.v1 import message_requests_pb2

_IN_FLIGHT_WHEN_UNSAID = 16
_HEARTBEAT_SECONDS_WHEN_UNSAID = 25.0
_LARGEST_REQUEST_ID = (1 << 32) - 1
_LASTING = ("DEVICE_REVOKED", "ACCOUNT_SUSPENDED")
# Parley's own failures have a reason. Without one these codes are how gRPC tells of a broken connection.
_OF_THE_CONNECTION = (StatusCode.UNAVAILABLE, StatusCode.INTERNAL, StatusCode.UNKNOWN, StatusCode.CANCELLED)


@dataclass(frozen=True, slots=True)
class ChannelHead:
    """Where a channel's log ends and how far the user has read.

    The number of unread messages is head_message_no - read_message_no.
    """

    channel_id: str
    head_seq: int
    head_message_no: int
    read_seq: int
    read_message_no: int


class Session:
    """The state of one stream. It knows no clock: `now_seconds` is any clock that never goes back.

    `heads` are kept up to date; they may be those of an earlier stream.
    """

    def __init__(self, heads: dict[str, ChannelHead] | None = None) -> None:
        self.heads: dict[str, ChannelHead] = {} if heads is None else heads
        self.session_id = ""
        self.welcomed = False
        self.caught_up = False
        self.lagging = False
        self.token_expiring = False
        self.pings = 0
        self.missing = False
        self.go_away: stream_pb2.GoAway | None = None
        self.leaving = False
        self.heartbeat_seconds = _HEARTBEAT_SECONDS_WHEN_UNSAID
        self._in_flight_limit = 0
        self._in_flight: set[int] = set()
        self._last_request_id = 0
        self._cursor = ""
        self._cursor_at_ping = ""
        self._heartbeat_id = 0
        self._heartbeat_sent_seconds = 0.0

    @property
    def in_flight(self) -> int:
        """How many requests wait for their reply, heartbeats not counted."""
        return len(self._in_flight)

    @property
    def has_room(self) -> bool:
        """Whether one more request may be sent now."""
        return self.welcomed and not self.leaving and len(self._in_flight) < self._in_flight_limit

    def goodbye(self) -> stream_pb2.ConnectRequest:
        """The last frame. After it there is room for nothing."""
        self.leaving = True
        return stream_pb2.ConnectRequest(goodbye=stream_pb2.Goodbye())

    def request(
        self,
        *,
        send_message: message_requests_pb2.SendMessageRequest | None = None,
        mark_read: message_requests_pb2.MarkReadRequest | None = None,
        reauthenticate: stream_pb2.Reauthenticate | None = None,
    ) -> stream_pb2.ConnectRequest:
        """The frame for one request, under an id of its own. Only when there is room."""
        assert self.has_room
        request_id = self._next_request_id()
        self._in_flight.add(request_id)
        return stream_pb2.ConnectRequest(
            request_id=request_id,
            send_message=send_message,
            mark_read=mark_read,
            reauthenticate=reauthenticate,
        )

    def heartbeat(
        self, now_seconds: float, foreground: bool, *, answered: bool
    ) -> stream_pb2.ConnectRequest | None:
        """The next heartbeat, its answer wanted or not; None while the last answer is still awaited."""
        if self._heartbeat_id:
            return None
        if answered:
            self._heartbeat_id = self._next_request_id()
            self._heartbeat_sent_seconds = now_seconds
        return stream_pb2.ConnectRequest(
            request_id=self._heartbeat_id, heartbeat=stream_pb2.HeartbeatRequest(foreground=foreground)
        )

    def forget_heartbeat(self) -> None:
        """Await no answer to the last heartbeat any more."""
        self._heartbeat_id = 0

    def overdue(self, now_seconds: float) -> bool:
        """Whether a heartbeat has gone unanswered for longer than the interval: the server is gone."""
        waited_seconds = now_seconds - self._heartbeat_sent_seconds
        return bool(self._heartbeat_id) and waited_seconds > self.heartbeat_seconds

    def received(self, frame: stream_pb2.ConnectResponse) -> list[stream_pb2.Reply]:
        """Take one frame. Returns the replies to hand out; events are for `Sync`."""
        self._cursor = frame.cursor or self._cursor
        # Heads first: an event of the same frame is newer than any head that is told with it.
        for control in frame.controls:
            self._take_control(control)
        for raw in frame.events:
            self._raise_head(raw.channel_id, raw.seq, raw.message_no, 0, 0)
        replies: list[stream_pb2.Reply] = []
        for reply in frame.replies:
            if reply.request_id == self._heartbeat_id:
                self._heartbeat_id = 0
            elif reply.request_id in self._in_flight:
                self._in_flight.remove(reply.request_id)
                replies.append(reply)
        return replies

    def _take_ping(self, ping: stream_pb2.Ping) -> None:
        self.pings += 1
        # One ping may overtake what it tells of. Two, and nothing came in between: something was missed.
        behind = bool(ping.cursor) and ping.cursor != self._cursor
        self.missing = behind and not self.lagging and self._cursor_at_ping == (self._cursor or "-")
        self._cursor_at_ping = (self._cursor or "-") if behind else ""

    def ended(self, failure: ParleyError | None) -> ParleyError:
        """The error for a stream that ended with `failure` (None: with OK) without this client leaving.

        `Disconnected` where another stream helps, and the class of the reason where the user has to act.
        """
        if self.go_away is not None:
            reason = _go_away_reason(self.go_away)
            after = self.go_away.reconnect_after
            message = failure.message if failure and failure.message else "The server ended the stream."
            out = CLASSES[class_name(reason)] if reason in _LASTING else None
            return (out or Disconnected)(
                message,
                code=StatusCode.UNAUTHENTICATED if out else StatusCode.UNAVAILABLE,
                reason=reason,
                retry_after_seconds=after.seconds + after.nanos / 1e9,
            )
        if failure is None:
            return Disconnected(
                "The server ended the stream without saying why.",
                code=StatusCode.UNAVAILABLE,
                reason="STREAM_ENDED",
            )
        reason = failure.reason
        if not reason and failure.code in _OF_THE_CONNECTION:
            return Disconnected(failure.message, code=StatusCode.UNAVAILABLE, reason="CONNECTION_LOST")
        if failure.advice in (Advice.REAUTHENTICATE, Advice.GIVE_UP) and reason != "TOKEN_EXPIRED":
            return failure
        return Disconnected(
            failure.message,
            # With a renewed token the next stream is as good as this one.
            code=StatusCode.UNAVAILABLE if reason == "TOKEN_EXPIRED" else failure.code,
            reason=reason or failure.code.name,
            violations=failure.violations,
            retry_after_seconds=failure.retry_after_seconds,
            metadata=failure.metadata,
        )

    def _next_request_id(self) -> int:
        while True:
            self._last_request_id = self._last_request_id % _LARGEST_REQUEST_ID + 1
            if self._last_request_id not in self._in_flight:
                return self._last_request_id

    def _take_control(self, control: stream_pb2.Control) -> None:
        match control.WhichOneof("control"):
            case "welcome":
                welcome = control.welcome
                self.welcomed = True
                self._cursor = self._cursor or welcome.cursor
                self.session_id = welcome.session_id
                # One place stays free for the heartbeat, one for a server that counts more strictly.
                limit = welcome.limits.requests_in_flight
                self._in_flight_limit = max(1, limit - 2) if limit > 0 else _IN_FLIGHT_WHEN_UNSAID
                interval = welcome.heartbeat_interval
                seconds = interval.seconds + interval.nanos / 1e9
                self.heartbeat_seconds = seconds if seconds > 0 else _HEARTBEAT_SECONDS_WHEN_UNSAID
            case "digest":
                for head in control.digest.heads:
                    self._raise_head(
                        head.channel_id,
                        head.head_seq,
                        head.head_message_no,
                        head.read_seq,
                        head.read_message_no,
                    )
            case "caught_up":
                self.caught_up = True
                self.lagging = False
            case "lagging":
                self.lagging = True
            case "ping":
                self._take_ping(control.ping)
            case "auth_expiring":
                self.token_expiring = True
            case "read_position":
                position = control.read_position
                self._raise_head(position.channel_id, 0, 0, position.read_seq, position.read_message_no)
            case "go_away":
                self.go_away = control.go_away
                self.leaving = True

    def _raise_head(
        self, channel_id: str, head_seq: int, head_message_no: int, read_seq: int, read_message_no: int
    ) -> None:
        known = self.heads.get(channel_id, ChannelHead(channel_id, 0, 0, 0, 0))
        self.heads[channel_id] = ChannelHead(
            channel_id,
            *max((known.head_seq, known.head_message_no), (head_seq, head_message_no)),
            *max((known.read_seq, known.read_message_no), (read_seq, read_message_no)),
        )


def _go_away_reason(go_away: stream_pb2.GoAway) -> str:
    names = stream_pb2.GoAwayReason.DESCRIPTOR.values_by_number
    known = names.get(go_away.reason)
    return known.name.removeprefix("GO_AWAY_REASON_") if known else f"GO_AWAY_{go_away.reason}"
