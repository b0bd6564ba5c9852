"""The events of a client, as a program reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from parley._events import Event
    from parley._follower import Follower
    from parley._ledger import Entry
    from parley._session import ChannelHead


class EventStream:
    """Events of all the user's channels, each once, in order per channel: an async iterator.

    Asking for the next event acknowledges the one that this iterator gave before: its position is stored,
    and it does not come again, also after a restart with the same state store. What was given and not
    acknowledged comes again then. So leave a loop by `break` only after `event.ack()`. After a kill of the
    process the events acknowledged in its last moments may come again, unless `await event.ack()` had
    returned. Set `acknowledges = False` to acknowledge only by `event.ack()`, for example from other tasks;
    10,000 events may be under way then.

    The iterator ends when it or the client is closed, and raises what `Client.events` names, after all events
    that came before. Several readers share one stream: each event goes to one of them.
    """

    def __init__(self, follower: Follower) -> None:
        self.acknowledges = True
        self._follower = follower
        self._own = _Reader(self)

    @property
    def ended(self) -> bool:
        """Whether nothing more will come. Events that came before may still wait to be read."""
        return self._follower.ended

    @property
    def heads(self) -> Mapping[str, ChannelHead]:
        """By channel id, where each channel ends and how far the user has read, kept up to date.

        Complete once `ready` has returned for a device without a stored position. Else the server names the
        channels in which something happened since; `Client.inbox` names all. It may name channels that the
        user has left.
        """
        return self._follower.heads

    async def ready(self, timeout_seconds: float | None = None) -> None:
        """Wait until a stream is open and the server has said all about the past on it.

        What happens from here on will be delivered. Raises as the iterator does, and the last error when
        `timeout_seconds` are over (None: waits as long as it takes).
        """
        await self._follower.ready(timeout_seconds)

    def __aiter__(self) -> _Reader:
        return _Reader(self)

    async def __anext__(self) -> Event:
        return await self._own.__anext__()

    async def aclose(self) -> None:
        """Leave the stream in good order, or by force when the server does not answer within 2 s.

        Events that were not given yet come again from the next `Client.events()`.
        """
        await self._follower.aclose()


class _Reader:
    """One loop over a stream: knows which event it gave last."""

    def __init__(self, stream: EventStream) -> None:
        self._stream = stream
        self._last: Entry | None = None

    def __aiter__(self) -> _Reader:
        return self

    async def __anext__(self) -> Event:
        handout = self._stream._follower.handout
        if self._last is not None and self._stream.acknowledges:
            handout.acknowledge(self._last)
        self._last = None
        given = await handout.next_event()
        if given is None:
            raise StopAsyncIteration
        event, self._last = given
        return event
