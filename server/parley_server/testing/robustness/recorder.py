"""Writes a history down while it happens."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from parley_server.testing.robustness.history import (
    DeviceStream,
    Fault,
    History,
    Mark,
    Outcome,
    Place,
    Read,
    Send,
    Session,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from parley_server.testing.robustness.history import Entry


class Recorder:
    """Belongs to one event loop. `acknowledged` counts messages, not attempts."""

    def __init__(self, history: History, now_ns: Callable[[], int] = time.monotonic_ns) -> None:
        self.history = history
        self.acknowledged = 0
        self._changed: asyncio.Future[None] | None = None
        self._now_ns = now_ns
        self._in_flight: dict[int, Send] = {}

    @property
    def in_flight(self) -> list[int]:
        """The attempts to send that wait for an answer."""
        return list(self._in_flight)

    def send(self, sender_id: str, way: str, channel_id: str, client_message_id: str, content: str) -> Send:
        """An attempt begins. End it with `answered`, `refused` or `unknown`."""
        attempt = len(self.history.sends)
        send = Send(
            attempt=attempt,
            sender_id=sender_id,
            way=way,
            channel_id=channel_id,
            client_message_id=client_message_id,
            content=content,
            start_ns=self._now_ns(),
        )
        self.history.sends.append(send)
        self._in_flight[attempt] = send
        self._tell()
        return send

    def answered(self, send: Send, place: Place, *, duplicate: bool) -> None:
        """The server acknowledged the attempt."""
        send.place = place
        send.duplicate = duplicate
        self.acknowledged += 1
        self._end(send, Outcome.OK, "")

    async def until(self, holds: Callable[[], bool]) -> None:
        """Return once `holds()` is true; it is asked again in every step in which a send begins or ends."""
        while not holds():
            if self._changed is None:
                self._changed = asyncio.get_running_loop().create_future()
            await asyncio.shield(self._changed)

    def refused(self, send: Send, reason: str) -> None:
        """The server said that this attempt wrote nothing."""
        self._end(send, Outcome.REFUSED, reason)

    def unknown(self, send: Send, reason: str) -> None:
        """No answer will be waited for. Does nothing for an attempt that has ended."""
        if send.end_ns is None:
            self._end(send, Outcome.UNKNOWN, reason)

    def mark(self, user_id: str, channel_id: str, seq: int) -> Mark:
        """An attempt to raise a read position begins. It is unknown until `marked`."""
        mark = Mark(user_id=user_id, channel_id=channel_id, seq=seq, start_ns=self._now_ns())
        self.history.marks.append(mark)
        return mark

    def marked(self, mark: Mark, outcome: Outcome, *, read_seq: int = 0, reason: str = "") -> None:
        """What came of the attempt."""
        mark.end_ns = self._now_ns()
        mark.outcome = outcome
        mark.read_seq = read_seq
        mark.reason = reason

    def session(self, reader_id: str, way: str) -> Session:
        """A stream is being opened."""
        session = Session(reader_id=reader_id, way=way, start_ns=self._now_ns())
        self.history.sessions.append(session)
        return session

    def caught_up(self, session: Session) -> None:
        """The stream is live."""
        session.caught_up_ns = self._now_ns()

    def session_ended(self, session: Session, why: str) -> None:
        """The stream is over."""
        session.end_ns = self._now_ns()
        session.ended = why

    def device_stream(
        self, device: str, user_id: str, life: int, number: int, cursor: str, *, kind: str = "book"
    ) -> DeviceStream:
        """A device opens a stream and says this cursor. Its steps are put in as they come."""
        stream = DeviceStream(
            device=device,
            user_id=user_id,
            life=life,
            number=number,
            start_ns=self._now_ns(),
            cursor=cursor,
            kind=kind,
        )
        self.history.device_streams.append(stream)
        return stream

    def welcomed(self, stream: DeviceStream, resume: str) -> None:
        """The device's stream was accepted."""
        stream.welcome_ns = self._now_ns()
        stream.resume = resume

    def device_stream_ended(self, stream: DeviceStream, why: str) -> None:
        """The device's stream is over."""
        stream.end_ns = self._now_ns()
        stream.ended = why

    def now_ns(self) -> int:
        """The time by this history's clock."""
        return self._now_ns()

    def read(
        self,
        reader_id: str,
        call: str,
        channel_id: str,
        start_ns: int,
        head_seq: int,
        head_message_no: int | None = None,
        events: Sequence[Entry] = (),
    ) -> None:
        """A read that began at `start_ns` was answered."""
        self.history.reads.append(
            Read(
                reader_id=reader_id,
                call=call,
                channel_id=channel_id,
                start_ns=start_ns,
                end_ns=self._now_ns(),
                head_seq=head_seq,
                head_message_no=head_message_no,
                events=list(events),
            )
        )

    def fault(self, kind: str) -> Fault:
        """A fault happens now: call this in the same step that causes it."""
        fault = Fault(kind=kind, start_ns=self._now_ns(), in_flight=self.in_flight)
        self.history.faults.append(fault)
        return fault

    def fault_over(self, fault: Fault) -> None:
        """The node serves again."""
        fault.end_ns = self._now_ns()

    def _end(self, send: Send, outcome: Outcome, reason: str) -> None:
        send.end_ns = self._now_ns()
        send.outcome = outcome
        send.reason = reason
        del self._in_flight[send.attempt]
        self._tell()

    def _tell(self) -> None:
        changed, self._changed = self._changed, None
        if changed is not None:
            changed.set_result(None)
