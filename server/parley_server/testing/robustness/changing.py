"""Writers who also edit, delete, react, pin, answer in threads, and repeat what was answered long ago."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc.aio

from parley.chat.v1 import message_requests_pb2
from parley_server.testing.raw_client import uuid7
from parley_server.testing.robustness.changes_history import Asked
from parley_server.testing.robustness.history import Outcome, Place
from parley_server.testing.robustness.line import verdict_of_error

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from parley_server.testing.raw_client import Person, RawClient
    from parley_server.testing.robustness.changes_history import ChangesHistory
    from parley_server.testing.robustness.line import Line
    from parley_server.testing.robustness.recorder import Recorder

EMOJIS = ("👍", "❤️", "🎉", "ㅋㅋ")
_NEWEST = 12
_REFUSALS_TAKEN = 2
_LONG_CODE_POINTS = (1_000, 20_000)
_WEIGHTS = {
    "send": 32,
    "edit": 16,
    "delete": 5,
    "react": 24,
    "unreact": 10,
    "pin": 8,
    "unpin": 4,
    "again": 6,
}
_CHANGES: dict[str, tuple[Any, str]] = {
    "edit": (message_requests_pb2.EditMessageRequest, "EditMessage"),
    "delete": (message_requests_pb2.DeleteMessageRequest, "DeleteMessage"),
    "react": (message_requests_pb2.AddReactionRequest, "AddReaction"),
    "unreact": (message_requests_pb2.RemoveReactionRequest, "RemoveReaction"),
    "pin": (message_requests_pb2.PinMessageRequest, "PinMessage"),
    "unpin": (message_requests_pb2.UnpinMessageRequest, "UnpinMessage"),
}


@dataclass(slots=True)
class Board:
    """Which messages there are, as far as anybody was told: by channel (seq, author), the newest last."""

    messages: dict[str, list[tuple[int, str]]] = field(default_factory=lambda: defaultdict(list))

    def pick(self, channel_id: str, random: Random, author_id: str = "") -> int:
        """One of the newest messages, of this author if one is named, now and then an old one; 0: none is
        there.

        Few are talked about, so that changes meet each other.
        """
        found = [seq for seq, author in self.messages[channel_id] if not author_id or author == author_id]
        if not found:
            return 0
        return random.choice(found if random.random() < 0.15 else found[-_NEWEST:])


@dataclass(frozen=True, slots=True)
class _Wish:
    asked: Asked
    request: Any
    call: Callable[[RawClient], Any]


class Changer:
    """One user's changes, one after the other, each repeated with the same id until it is answered."""

    def __init__(
        self,
        person: Person,
        channel_ids: list[str],
        line: Line,
        board: Board,
        recorder: Recorder,
        history: ChangesHistory,
        random: Random,
        *,
        call_seconds: float,
        long_one_in: int = 15,
    ) -> None:
        self._person = person
        self._channel_ids = channel_ids
        self._line = line
        self._board = board
        self._recorder = recorder
        self._history = history
        self._random = random
        self._call_seconds = call_seconds
        self._long_one_in = long_one_in
        self.ended = asyncio.Event()
        """Set when nothing more comes of this user."""
        self._stopping = False
        self._number = 0
        self._answered: list[_Wish] = []
        # By channel, how often in a row it was not there for this user.
        self._absent: dict[str, int] = {}
        # What this user has put on messages, to take off again: (channel, seq, emoji); pins without one.
        self._put: list[tuple[str, int, str]] = []

    def stop(self) -> None:
        """Begin nothing else."""
        self._stopping = True

    async def run(self) -> None:
        """Change things until stopped; returns when the last is answered. Cancelled, it gives that one up."""
        try:
            while not self._stopping:
                wish = self._choose()
                if wish is None:
                    await asyncio.sleep(0)
                    continue
                await self._carry_out(wish)
        finally:
            self.ended.set()
            await self._line.close()

    async def last_words(self, channel_id: str) -> None:
        """Write one message more and react to it, after the run: a change that nothing comes after, neither
        in the log nor on the message. Where the user can write no more, nothing is changed.
        """
        try:
            self._number += 1
            place = await self._carry_out(self._send(channel_id, alone=True))
            if place is not None:
                await self._carry_out(self._change("react", channel_id, place.seq))
        finally:
            await self._line.close()

    async def _carry_out(self, wish: _Wish) -> Place | None:
        try:
            return await self._do(wish)
        except asyncio.CancelledError:
            self._history.base.gave_up.append(wish.asked.client_message_id)
            raise

    async def _do(self, wish: _Wish) -> Place | None:
        asked = wish.asked
        while True:
            client = await self._line.client()
            attempt = self._recorder.send(
                asked.actor_id,
                asked.kind,
                asked.channel_id,
                asked.client_message_id,
                asked.text or asked.emoji,
            )
            call = wish.call(client)(wish.request, metadata=self._person.metadata, timeout=self._call_seconds)
            try:
                answer = await call
            except grpc.aio.AioRpcError as error:
                verdict = verdict_of_error(error)
                if verdict.reason == "CHANNEL_NOT_FOUND":
                    self._absent[asked.channel_id] = self._absent.get(asked.channel_id, 0) + 1
                if verdict.outcome is Outcome.REFUSED:
                    self._recorder.refused(attempt, verdict.reason)
                    await self._line.pause()
                else:
                    self._recorder.unknown(attempt, verdict.reason)
                    await self._line.broke()
                if not verdict.again:
                    return None
            except asyncio.CancelledError:
                self._recorder.unknown(attempt, "the run was over")
                raise
            else:
                said = answer if asked.kind == "send" else answer.change
                place = Place(said.seq, 0, said.create_time_ms)
                self._recorder.answered(attempt, place, duplicate=said.duplicate)
                self._absent.pop(asked.channel_id, None)
                self._answered.append(wish)
                if asked.kind in ("react", "pin"):
                    self._put.append((asked.channel_id, asked.target_seq, asked.emoji))
                if asked.kind == "send" and not self._known(asked.channel_id, said.seq):
                    self._board.messages[asked.channel_id].append((said.seq, asked.actor_id))
                return place

    def _known(self, channel_id: str, seq: int) -> bool:
        return any(known == seq for known, _ in self._board.messages[channel_id][-4 * _NEWEST :])

    def _choose(self) -> _Wish | None:
        random = self._random
        kind = random.choices(list(_WEIGHTS), list(_WEIGHTS.values()))[0]
        if kind == "again":
            return random.choice(self._answered) if self._answered else None
        channel_id = random.choice(self._channel_ids)
        if self._absent.get(channel_id, 0) > _REFUSALS_TAKEN and random.random() < 0.9:
            return None
        self._number += 1
        if kind == "send":
            return self._send(channel_id)
        if kind in ("unreact", "unpin") and random.random() < 0.8:
            put = [each for each in self._put if bool(each[2]) is (kind == "unreact")]
            if not put:
                return None
            channel_id, target_seq, emoji = random.choice(put[-_NEWEST:])
            return self._change(kind, channel_id, target_seq, emoji)
        own = kind in ("edit", "delete") and random.random() < 0.8
        target_seq = self._board.pick(channel_id, random, self._person.user_id if own else "")
        return self._change(kind, channel_id, target_seq) if target_seq else None

    def _send(self, channel_id: str, *, alone: bool = False) -> _Wish:
        """A new message; `alone` it is about no other, which could be gone."""
        random = self._random
        request = message_requests_pb2.SendMessageRequest(
            channel_id=channel_id, client_message_id=uuid7(), text=self._text("wrote")
        )
        if random.random() < 0.15:
            request.attributes["mood"] = f"good {self._number}"
        if random.random() < 0.15:
            request.mentions.append(self._person.user_id)
        if not alone and random.random() < 0.2:
            request.reply_to_seq = self._board.pick(channel_id, random)
        if not alone and random.random() < 0.25:
            request.thread_root_seq = self._board.pick(channel_id, random)
        asked = self._asked("send", request, request.thread_root_seq, text=request.text)
        return _Wish(asked, request, lambda client: client.chat.SendMessage)

    def _change(self, kind: str, channel_id: str, target_seq: int, emoji: str = "") -> _Wish:
        make, method = _CHANGES[kind]
        request = make(channel_id=channel_id, seq=target_seq, client_message_id=uuid7())
        text = ""
        if kind == "edit":
            text = request.text = self._text("edited")
        elif kind in ("react", "unreact"):
            emoji = request.emoji = emoji or self._random.choice(EMOJIS)
        asked = self._asked(kind, request, target_seq, text=text, emoji=emoji)
        return _Wish(asked, request, lambda client: getattr(client.chat, method))

    def _asked(self, kind: str, request: Any, target_seq: int, *, text: str = "", emoji: str = "") -> Asked:
        asked = Asked(
            actor_id=self._person.user_id,
            channel_id=request.channel_id,
            client_message_id=request.client_message_id,
            kind=kind,
            target_seq=target_seq,
            text=text,
            emoji=emoji,
        )
        self._history.asked.append(asked)
        return asked

    def _text(self, what: str) -> str:
        # No text is written twice, so that each can be looked for.
        text = f"{self._person.username} {what} {self._number}."
        if self._random.randrange(self._long_one_in) == 0:
            text += "가" * self._random.randint(*_LONG_CODE_POINTS)
        return text
