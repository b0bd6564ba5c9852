"""Where a client keeps what must outlive it: its position, and the messages that were not answered yet."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from parley.chat.v1 import message_requests_pb2


class StateError(Exception):
    """A state store cannot be used: it is another user's, another program has it open, or its disk failed.

    The message says which, and what to do.
    """


@dataclass(slots=True)
class StoredState:
    """What a store holds: the cursor, seqs by channel id, and the messages to be sent, oldest first."""

    cursor: str = ""
    seqs: dict[str, int] = field(default_factory=dict)
    outbox: list[message_requests_pb2.SendMessageRequest] = field(default_factory=list)


class State(Protocol):
    """A store for one user's client. One client uses it at a time. All methods may raise `StateError`."""

    async def open(self, user_id: str) -> StoredState:
        """What is stored. Refuses a store of another user."""
        ...

    async def save_position(self, seqs: Mapping[str, int], cursor: str) -> None:
        """Store changed seqs and the cursor ("": as it was), all or nothing."""
        ...

    async def add_message(self, request: message_requests_pb2.SendMessageRequest) -> None:
        """Store a message to be sent, after those that are there."""
        ...

    async def remove_messages(self, client_message_ids: Sequence[str]) -> None:
        """Forget messages that were answered."""
        ...

    async def close(self) -> None:
        """Let go of the store. It can be opened again."""
        ...


class MemoryState:
    """Keeps everything as long as this object lives. A client that is given it goes on where one before
    ended, within one process.
    """

    def __init__(self) -> None:
        self._user_id: str | None = None
        self._open = False
        self._cursor = ""
        self._seqs: dict[str, int] = {}
        self._outbox: dict[str, message_requests_pb2.SendMessageRequest] = {}

    async def open(self, user_id: str) -> StoredState:
        """As in `State`."""
        if self._open:
            raise StateError("this MemoryState is used by another client: give each client its own")
        if self._user_id not in (None, user_id):
            raise StateError(f"this MemoryState is of user {self._user_id}, not of {user_id}")
        self._user_id, self._open = user_id, True
        return StoredState(self._cursor, dict(self._seqs), list(self._outbox.values()))

    async def save_position(self, seqs: Mapping[str, int], cursor: str) -> None:
        """As in `State`."""
        for channel_id, seq in seqs.items():
            # Newest last, as the next Hello names them.
            self._seqs.pop(channel_id, None)
            self._seqs[channel_id] = seq
        self._cursor = cursor or self._cursor

    async def add_message(self, request: message_requests_pb2.SendMessageRequest) -> None:
        """As in `State`."""
        self._outbox[request.client_message_id] = request

    async def remove_messages(self, client_message_ids: Sequence[str]) -> None:
        """As in `State`."""
        for client_message_id in client_message_ids:
            self._outbox.pop(client_message_id, None)

    async def close(self) -> None:
        """As in `State`."""
        self._open = False
