"""The controls of a stream, encoded as fields of its frames."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley.chat.v1 import stream_pb2
from parley_server.chat.cursor import cursor_text
from parley_server.chat.framing import control_field
from parley_server.chat.resume import Continued, Digested, Replayed, Reset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from parley_runtime.settings import Limits
    from parley_runtime.settings import Sessions as SessionSettings
    from parley_server.chat.farewell import Farewell
    from parley_server.chat.heads import Head
    from parley_server.chat.joining import Joining
    from parley_server.chat.session import Lag
    from parley_server.ports.positions import ReadMark

# A head takes about 60 to 110 bytes; a page of this many stays well below a frame.
HEADS_PER_DIGEST = 400
LAGGING_CHANNELS_NAMED = 100


def _field(control: stream_pb2.Control) -> bytes:
    return control_field(control.SerializeToString())


def welcome(
    user_id: str,
    session_id: str,
    node_id: str,
    joining: Joining,
    limits: Limits,
    settings: SessionSettings,
    now_ms: int,
) -> bytes:
    """Welcome, with how the client's past connects. The cursor comes with it only where nothing else must be
    sent before.
    """
    message = stream_pb2.Welcome(
        session_id=session_id,
        node_id=node_id,
        limits=stream_pb2.Limits(
            text_code_points=limits.text_code_points,
            request_bytes=limits.request_bytes,
            requests_in_flight=limits.requests_in_flight,
        ),
    )
    message.heartbeat_interval.FromNanoseconds(int(settings.heartbeat_seconds * 1e9))
    message.server_time.FromMilliseconds(now_ms)
    match joining.resume:
        case Reset(cause=cause):
            message.reset.reason = cause.value  # type: ignore[assignment]
        case Continued():
            message.continued.SetInParent()
            message.cursor = cursor_text(user_id, joining.cursor)
        case Replayed():
            message.replayed.SetInParent()
        case Digested():
            message.digested.SetInParent()
    return _field(stream_pb2.Control(welcome=message))


def digests(heads: Sequence[Head]) -> Iterator[bytes]:
    """The heads in pages."""
    for start in range(0, len(heads), HEADS_PER_DIGEST):
        yield digest(heads[start : start + HEADS_PER_DIGEST])


def digest(heads: Sequence[Head]) -> bytes:
    """One page of heads."""
    return _field(stream_pb2.Control(digest=stream_pb2.Digest(heads=[_head(head) for head in heads])))


def _head(head: Head) -> stream_pb2.ChannelHead:
    return stream_pb2.ChannelHead(
        channel_id=head.channel_id,
        head_seq=head.head_seq,
        head_message_no=head.head_message_no,
        read_seq=head.read.seq,
        read_message_no=head.read.message_no,
        joined_seq=head.joined_seq,
    )


def caught_up() -> bytes:
    """CaughtUp."""
    return _field(stream_pb2.Control(caught_up=stream_pb2.CaughtUp()))


def read_position(channel_id: str, mark: ReadMark) -> bytes:
    """ReadPosition."""
    position = stream_pb2.ReadPosition(
        channel_id=channel_id, read_seq=mark.seq, read_message_no=mark.message_no
    )
    return _field(stream_pb2.Control(read_position=position))


def mute_changed(channel_id: str, mute_until_ms: int) -> bytes:
    """MuteChanged; 0 stands for no mute."""
    changed = stream_pb2.MuteChanged(channel_id=channel_id)
    if mute_until_ms:
        changed.mute_until.FromMilliseconds(mute_until_ms)
    return _field(stream_pb2.Control(mute_changed=changed))


def lagging(lag: Lag) -> bytes:
    """Lagging."""
    message = stream_pb2.Lagging(
        channel_ids=lag.channel_ids[:LAGGING_CHANNELS_NAMED], dropped_events=lag.events
    )
    return _field(stream_pb2.Control(lagging=message))


def ping(cursor: str) -> bytes:
    """Ping."""
    return _field(stream_pb2.Control(ping=stream_pb2.Ping(cursor=cursor)))


def auth_expiring(expire_time_ms: int) -> bytes:
    """AuthExpiring."""
    message = stream_pb2.AuthExpiring()
    message.expire_time.FromMilliseconds(expire_time_ms)
    return _field(stream_pb2.Control(auth_expiring=message))


def go_away(
    farewell: Farewell, reconnect_after_seconds: float, endpoints: Sequence[str], *, resumable: bool
) -> bytes:
    """GoAway."""
    message = stream_pb2.GoAway(
        reason=farewell.value,  # type: ignore[arg-type]
        endpoints=endpoints,
        resumable=resumable,
    )
    message.reconnect_after.FromNanoseconds(int(reconnect_after_seconds * 1e9))
    return _field(stream_pb2.Control(go_away=message))
