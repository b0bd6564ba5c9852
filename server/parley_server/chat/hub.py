"""The open sessions of this node."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from parley_server.chat.audience import Audience


class Listener(Protocol):
    """An open session, as the hub sees it. Plain calls on the loop; none raises."""

    @property
    def session_id(self) -> str:
        """Names the session on this node."""
        ...

    @property
    def user_id(self) -> str:
        """Whose session it is."""
        ...

    @property
    def device_id(self) -> str:
        """Whose device it is."""
        ...

    def deliver(
        self, channel_id: str, first_seq: int, fields: Collection[bytes], position: int | None
    ) -> None:
        """Take encoded event fields of one channel, with seqs from `first_seq` on, dense, and where the
        user's feed announces them (None: it did so before).
        """
        ...

    def put(self, field: bytes) -> None:
        """Take an encoded control that only connected devices are told."""

    def control(self, field: bytes, position: int) -> None:
        """Take an encoded control that the user's feed announces, as it does read positions, and where."""
        ...


class Hub:
    """Sessions by user. Bounded by the number of streams that the node accepts."""

    def __init__(self) -> None:
        # Tuples: a listener may leave while the others are told, and most users have one or two.
        self._by_user: dict[str, tuple[Listener, ...]] = {}

    def __len__(self) -> int:
        return sum(map(len, self._by_user.values()))

    def __iter__(self) -> Iterator[Listener]:
        return iter(tuple(chain.from_iterable(self._by_user.values())))

    def add(self, listener: Listener) -> None:
        """From now on the session gets what its user gets."""
        self._by_user[listener.user_id] = (*self.sessions_of(listener.user_id), listener)

    def remove(self, listener: Listener) -> None:
        """The session gets nothing any more. Removing twice is fine."""
        others = tuple(other for other in self.sessions_of(listener.user_id) if other is not listener)
        if others:
            self._by_user[listener.user_id] = others
        else:
            self._by_user.pop(listener.user_id, None)

    def sessions_of(self, user_id: str) -> tuple[Listener, ...]:
        """The user's open sessions."""
        return self._by_user.get(user_id, ())

    def deliver(
        self,
        channel_id: str,
        first_seq: int,
        fields: list[bytes],
        audience: Audience,
        positions: Mapping[str, int | None],
    ) -> None:
        """Hand a batch of one channel to every session of its audience."""
        steady: Collection[str] = audience.steady
        if len(steady) > len(self._by_user):
            steady = [user_id for user_id in self._by_user if user_id in audience.steady]
        passing = audience.passing
        for user_id in steady:
            of_user = self._by_user.get(user_id)
            if of_user is not None and user_id not in passing:
                position = positions.get(user_id)
                for listener in of_user:
                    listener.deliver(channel_id, first_seq, fields, position)
        for user_id, indexes in passing.items():
            for listener in self.sessions_of(user_id):
                for index in indexes:
                    position = positions.get(user_id) if index == indexes[-1] else None
                    listener.deliver(channel_id, first_seq + index, (fields[index],), position)

    def control(self, user_id: str, field: bytes, position: int) -> None:
        """Hand a control that the user's feed announces to the user's sessions."""
        for listener in self.sessions_of(user_id):
            listener.control(field, position)

    def tell(self, user_id: str, field: bytes) -> None:
        """Hand a control to the user's sessions, of which nobody else will hear."""
        for listener in self.sessions_of(user_id):
            listener.put(field)
