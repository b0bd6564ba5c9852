"""From what happened to numbered events, and the answers that every command can get. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from parley_runtime.refusal import Reason, Refusal, invalid_field
from parley_server.chat.client_id import AHEAD_LIMIT_MS, time_of
from parley_server.chat.command import Done
from parley_server.chat.event import Event, MessagePosted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from parley_server.chat.channel_state import ChannelState
    from parley_server.chat.event import EventBody
    from parley_server.chat.known_ids import Sent


def numbered(
    state: ChannelState,
    bodies: Iterable[EventBody],
    actor_id: str,
    now_ms: int,
    *,
    client_id: str = "",
    digest: bytes = b"",
) -> tuple[Event, ...]:
    """The events of these bodies after the head. The first carries the client's id; times never go back."""
    events: list[Event] = []
    message_no = state.message_no
    for seq, body in enumerate(bodies, start=state.head + 1):
        message_no += isinstance(body, MessagePosted)
        events.append(
            Event(
                channel_id=state.channel_id,
                seq=seq,
                message_no=message_no,
                create_time_ms=max(now_ms, state.last_time_ms),
                actor_id=actor_id,
                client_message_id="" if events else client_id,
                digest=b"" if events else digest,
                body=body,
            )
        )
    return tuple(events)


def holds_already(state: ChannelState) -> Done:
    """The answer to a command that changes nothing: what was asked for holds at the head."""
    return Done(state.head, state.message_no, state.last_time_ms, duplicate=True)


def answer_again(sent: Sent, digest: bytes) -> Done | Refusal:
    """The answer to a client id that was used before: the first one's, or that its content was another."""
    if sent.digest != digest:
        return id_reused(sent)
    return Done(sent.seq, sent.message_no, sent.create_time_ms, duplicate=True)


def id_reused(sent: Sent) -> Refusal:
    """The refusal for a client id that stands for something else."""
    return Refusal(
        Reason.CLIENT_ID_REUSED,
        f"This client-made id was used at seq {sent.seq} with other content. "
        "Make a new id for each new message.",
        metadata={"seq": str(sent.seq)},
    )


def dated_ahead(field_name: str, client_id: str, create_time_ms: int) -> Refusal | None:
    """The refusal for an id dated too far after the event's time, None when it may be used.

    Checked where the event's time is fixed, not only where the request came in: the search for older ids
    rests on it, and the clock may have been set back between the two.
    """
    if time_of(client_id) > create_time_ms + AHEAD_LIMIT_MS:
        return invalid_field(
            field_name, "is dated more than one hour ahead of the server: set the client's clock"
        )
    return None
