"""The events of a client, as a program reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley._events import Event
    from parley._session import ChannelHead
    from parley._stream import Stream


class EventStream:
    """Events of all the user's channels, as they happen: an async iterator.

    Events come in order per channel, each at most once. The iterator ends when the client closes it or is
    closed; it raises `Disconnected` when the stream ended otherwise, and another ParleyError when it could
    not be opened, after all events that came before. Several readers share one stream: each event goes to
    one of them.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    @property
    def ended(self) -> bool:
        """Whether the stream is over. Events that came before may still wait to be read."""
        return self._stream.ended

    @property
    def heads(self) -> Mapping[str, ChannelHead]:
        """By channel id, where each channel ends and how far the user has read, kept up to date.

        Complete once `ready` has returned. It may name channels that the user has left since.
        """
        return self._stream.heads

    async def ready(self) -> None:
        """Wait until the server has said all about the past: what happens from here on will be delivered.

        Raises ParleyError when the stream could not be opened or ended first.
        """
        await self._stream.ready()

    def __aiter__(self) -> EventStream:
        return self

    async def __anext__(self) -> Event:
        event = await self._stream.next_event()
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """Leave the stream in good order, or by force when the server does not answer within 2 s."""
        await self._stream.aclose()
