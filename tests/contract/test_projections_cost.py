"""What reading and applying cost, counted in SQLite's own instructions, so that no clock has a say."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from parley_server.backends.sqlite.applying import ApplyWrite
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.message_rows import message_states
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.writer import Write
from parley_server.chat.event import MessageEdited, MessagePosted, ReactionChanged
from parley_server.testing.projected_log import LogWriter

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    import apsw

    from parley_server.chat.event import Event


@contextmanager
def counted(connection: apsw.Connection) -> Iterator[list[int]]:
    """Counts the instructions of the block in the list's one number."""
    steps = [0]

    def count() -> bool:
        steps[0] += 1
        return False

    connection.set_progress_handler(count, 1)
    try:
        yield steps
    finally:
        connection.set_progress_handler(None)


def talk(name: str, messages: int, *, busy_until: int = 0) -> LogWriter:
    """A channel with so many messages from seq 3 on, of which those up to `busy_until` were changed."""
    log = LogWriter(name)
    log.join("ann")
    for _ in range(messages):
        log.say()
    for target_seq in range(3, busy_until):
        log.add(MessageEdited(target_seq, "edited"))
        for number in range(3):
            log.add(ReactionChanged(target_seq, "👍", True, number + 1), actor_id=f"user {number}")
    return log


async def test_a_page_to_which_nothing_happened_costs_next_to_nothing(tmp_path: Path) -> None:
    """However long the channel is and whatever happened elsewhere in it. Caught when each message of a page
    was looked for by itself: many times as many steps.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    projections = SqliteProjections(database)
    try:
        for log in (
            talk("short", 60),
            talk("busy", 200, busy_until=140),
            talk("long", 5000),
            talk("busy long", 5000, busy_until=3000),
        ):
            await projections.apply(log.channel_id, log.events)

        def steps(connection: apsw.Connection, channel_id: str, first: int) -> int:
            with counted(connection) as count:
                states = message_states(connection, channel_id, range(first, first + 50), "ann")
            assert states.states == {}
            return count[0]

        costs = [
            await database.read(steps, channel_id, first)
            for channel_id, first in (("short", 10), ("busy", 145), ("long", 4900), ("busy long", 4900))
        ]
        assert max(costs) <= min(costs) + 4
        assert max(costs) < 80
    finally:
        await database.close()


class _Counted(Write["tuple[str, Sequence[Event]]", int]):
    """ApplyWrite, answering with what it cost."""

    def __init__(self, apply: ApplyWrite) -> None:
        self._apply = apply

    def run(
        self, connection: apsw.Connection, requests: Sequence[tuple[str, Sequence[Event]]]
    ) -> list[int | Exception]:
        with counted(connection) as count:
            self._apply.run(connection, requests)
        return [count[0]] * len(requests)


async def test_plain_messages_only_move_the_head(tmp_path: Path) -> None:
    """Caught when a channel with states left the fast path for good, and when every reply to a message did:
    several times as many steps.
    """
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        apply = ApplyWrite()
        costs: dict[str, int] = {}
        for log in (talk("quiet", 60), talk("busy", 200, busy_until=140)):
            await database.write(apply, (log.channel_id, log.events))
            for kind, body in (
                ("first", MessagePosted("hi")),
                ("plain", MessagePosted("hi")),
                ("reply", MessagePosted("hi", reply_to_seq=5)),
                ("in thread", MessagePosted("hi", thread_root_seq=5)),
            ):
                cost = await database.write(_Counted(apply), (log.channel_id, [log.add(body)]))
                costs[f"{log.channel_id} {kind}"] = cost
        assert costs["busy plain"] == costs["quiet plain"] == costs["busy reply"] == costs["quiet reply"]
        assert costs["quiet plain"] < 60 < costs["quiet in thread"] / 2
    finally:
        await database.close()
