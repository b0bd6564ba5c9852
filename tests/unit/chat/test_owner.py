"""An owner, call by call: the cases that the model found, each by itself and readable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.activation import ActivationLimits
from parley_server.chat.batch import BatchLimits
from parley_server.chat.command import (
    AddMembers,
    Command,
    CreateChannel,
    Done,
    LeaveChannel,
    PostMessage,
    RemoveMember,
)
from parley_server.chat.erasure import Eraser
from parley_server.chat.event import ChannelKind, HistoryVisibility, Role
from parley_server.chat.fanout import Fanout
from parley_server.chat.hub import Hub
from parley_server.chat.owner import ChannelOwner, OwnerLimits, OwnerPorts
from parley_server.chat.owners import Owners
from parley_server.chat.separate_commits import SeparateCommits
from parley_server.ports.message_log import StoreUnavailable, Unknown

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from parley_server.chat.event import Event

NOW_MS = 1_760_000_000_000


class StillClock:
    def now_ms(self) -> int:
        return NOW_MS

    def monotonic(self) -> float:
        return 0.0


class Users:
    """Everybody exists but those who are said to be deleted."""

    def __init__(self) -> None:
        self.deleted: set[str] = set()
        self.down = False

    async def existing(self, user_ids: Sequence[str]) -> set[str]:
        if self.down:
            raise StoreUnavailable("planted")
        return set(user_ids) - self.deleted


class Announcements(Fanout):
    """Keeps what was announced: to whom, up to which seq."""

    def __init__(self) -> None:
        super().__init__(Hub(), MemoryFeed("epoch"), write_limit=500)
        self.made: list[tuple[set[str], list[int]]] = []

    async def publish(
        self,
        channel_id: str,
        members_after: Collection[str],
        events: Sequence[Event],
        encoded: Sequence[bytes],
    ) -> None:
        self.made.append((set(members_after), [event.seq for event in events]))
        await super().publish(channel_id, members_after, events, encoded)


class LateLog(MemoryMessageLog):
    """When told to, keeps the next append back: its outcome is unknown, and it lands at the next head()."""

    def __init__(self) -> None:
        super().__init__()
        self.hold = False
        self._held: tuple[Any, ...] | None = None

    async def append(self, *asked: Any) -> Any:
        if self.hold:
            self.hold, self._held = False, asked
            return Unknown("no answer")
        return await super().append(*asked)

    async def batch_at(self, channel_id: str, seq: int) -> bytes | None:
        found = await super().batch_at(channel_id, seq)
        held, self._held = self._held, None
        if held is not None:
            await super().append(*held)
        return found


class Node:
    def __init__(self, log: MemoryMessageLog, projections: MemoryProjections, **limits: Any) -> None:
        self.fanout, self.users = Announcements(), Users()
        numbers = iter(range(1 << 30))
        ports = OwnerPorts(
            log,
            projections,
            SeparateCommits(log, projections),
            self.fanout,
            StillClock(),
            lambda: id(self).to_bytes(8, "big") + next(numbers).to_bytes(8, "big"),
            Eraser(log, projections),
            self.users,
        )
        self.owner = ChannelOwner("c", ports, OwnerLimits(**limits))

    async def do(self, *commands: Command) -> list[Any]:
        answers = [self.owner.enqueue(command) for command in commands]
        await self.owner.drain()
        await self.owner.mark_fanned()
        return [answer.exception() or answer.result() for answer in answers]


def own_id(number: int) -> str:
    return f"0199c82c-c000-7000-8000-{number:012x}"


def post(actor_id: str, number: int) -> PostMessage:
    return PostMessage(actor_id, own_id(number), bytes(32), "hello")


CREATE = CreateChannel(
    "ann",
    ChannelKind.GROUP,
    "Us",
    ("ann", "bob", "cho"),
    HistoryVisibility.FROM_JOINING,
    10,
    own_id(0),
    bytes(32),
)


@pytest.fixture
def log() -> LateLog:
    return LateLog()


@pytest.fixture
def projections() -> MemoryProjections:
    return MemoryProjections()


async def test_an_append_that_landed_late_is_answered_as_what_it_was(
    log: LateLog, projections: MemoryProjections
) -> None:
    """Decided once more, the one who left would be a stranger and the first message a repeat. Forgetting the
    attempt gave both wrong answers.
    """
    node = Node(log, projections)
    await node.do(CREATE)
    log.hold = True
    assert await node.do(post("bob", 1)) == [Done(5, 1, NOW_MS, duplicate=False)]
    log.hold = True
    (left,) = await node.do(LeaveChannel("bob"))
    assert left == Done(6, 1, NOW_MS, duplicate=False)
    assert await log.head("c") == 6


async def test_an_id_is_known_while_its_batch_is_decided(
    log: LateLog, projections: MemoryProjections
) -> None:
    """A repeat of an old id, in one batch with many new ones: forgetting as the new ones came made it a
    second message.
    """
    node = Node(log, projections, activation=ActivationLimits(known_ids=4), batch=BatchLimits(rows=10))
    await node.do(CREATE)
    first = await node.do(*[post("ann", number) for number in range(1, 5)])
    again = await node.do(*[post("ann", number) for number in range(11, 15)], post("ann", 1))
    assert [each.duplicate for each in again] == [False, False, False, False, True]
    assert again[-1].seq == first[0].seq
    assert await node.do(post("ann", 2)) == [Done(first[1].seq, 2, NOW_MS, duplicate=True)]


async def test_that_a_change_holds_already_is_checked_at_the_head(
    log: LateLog, projections: MemoryProjections
) -> None:
    """Another node removed bob: a stale owner must add him, not say that he is in."""
    stale, other = Node(log, projections), Node(log, projections)
    await stale.do(CREATE)
    await other.do(RemoveMember("ann", "bob"))
    assert await stale.do(AddMembers("ann", ("bob",))) == [Done(6, 0, NOW_MS, duplicate=False)]
    member = await projections.member("c", "bob")
    assert member is not None and member.role is not None


async def test_a_refusal_from_an_old_state_is_no_answer(log: LateLog, projections: MemoryProjections) -> None:
    """Another node added dai: he may write at once, also through an owner that does not know him yet."""
    stale, other = Node(log, projections), Node(log, projections)
    await stale.do(CREATE)
    await other.do(AddMembers("ann", ("dai",)))
    assert await stale.do(post("dai", 1)) == [Done(6, 1, NOW_MS, duplicate=False)]


async def test_old_events_are_announced_to_those_who_were_members_then(
    log: LateLog, projections: MemoryProjections
) -> None:
    """A new owner announces what was committed and not announced, in pages. With the newest members for every
    page, dai got what was said before he came, and bob missed his own removal.
    """
    writer = Node(log, projections)
    await writer.do(CREATE)
    await writer.do(post("ann", 1), post("bob", 2), post("ann", 3))
    await writer.do(RemoveMember("ann", "bob"), AddMembers("ann", ("dai",)), post("dai", 4))
    log._channels["c"].fanned = 4
    new = Node(log, projections, activation=ActivationLimits(page_rows=2))
    await new.do(LeaveChannel("nobody"))
    assert new.fanout.made == [
        ({"ann", "bob", "cho"}, [5, 6]),
        ({"ann", "cho"}, [7, 8]),
        ({"ann", "cho", "dai"}, [9, 10]),
    ]
    assert await log.fanned("c") == 10


async def test_the_mark_follows_a_busy_channel(log: LateLog, projections: MemoryProjections) -> None:
    """A channel that is never idle is marked too, or a takeover would announce its whole day again."""
    node = Node(log, projections, batch=BatchLimits(rows=1), events_between_marks=3)
    marks: list[int] = []
    original = log.mark_fanned

    async def mark_fanned(channel_id: str, seq: int) -> None:
        marks.append(seq)
        await original(channel_id, seq)

    log.mark_fanned = mark_fanned  # type: ignore[method-assign]
    await node.do(CREATE, *[post("ann", number) for number in range(1, 8)])
    assert marks == [4, 7, 10, 11]


async def test_too_many_waiting_are_refused_at_once(log: LateLog, projections: MemoryProjections) -> None:
    """The queue is bounded, and says when to come back."""
    node = Node(log, projections, waiting_commands=2)
    answers = [node.owner.enqueue(CREATE), node.owner.enqueue(post("ann", 1))]
    with pytest.raises(Refusal) as refused:
        node.owner.enqueue(post("ann", 2))
    assert refused.value.reason is Reason.CHANNEL_BUSY
    assert refused.value.retry_after_seconds
    await node.owner.drain()
    assert all(answer.done() for answer in answers)


class FailingProjections(MemoryProjections):
    fails = False

    async def apply(self, channel_id: str, events: Any) -> None:
        if self.fails:
            raise StoreUnavailable("down")
        await super().apply(channel_id, events)


async def test_nothing_is_acknowledged_before_it_is_projected() -> None:
    """Committed but not projected is unknown to the sender, and the repeat gets the first place."""
    log, projections = LateLog(), FailingProjections()
    node = Node(log, projections)
    await node.do(CREATE)
    projections.fails = True
    (unknown,) = await node.do(post("ann", 1))
    assert unknown.reason is Reason.STORE_UNAVAILABLE
    projections.fails = False
    assert await node.do(post("ann", 1)) == [Done(5, 1, NOW_MS, duplicate=True)]


async def test_a_feed_that_is_gone_costs_no_acknowledgement(
    log: LateLog, projections: MemoryProjections
) -> None:
    """Committed is acknowledged, announced or not, and what was missed is announced in order once the feed is
    back. Planted: letting the failure through refused both sends; advancing the mark lost the announcement of
    5.
    """
    node = Node(log, projections)
    await node.do(CREATE)
    announce, node.fanout.publish = node.fanout.publish, _unavailable  # type: ignore[method-assign, assignment]
    assert await node.do(post("ann", 1)) == [Done(5, 1, NOW_MS, duplicate=False)]
    assert await log.fanned("c") == 4
    node.fanout.publish = announce  # type: ignore[method-assign]
    node.fanout.made.clear()
    await node.do(post("ann", 2))
    assert [seqs for _, seqs in node.fanout.made] == [[5, 6]]
    assert await log.fanned("c") == 6


async def test_who_became_a_member_while_the_account_was_deleted_leaves_again(
    log: LateLog, projections: MemoryProjections
) -> None:
    """The end of the account walked the channels before: nobody else would see to it. Ownership goes on, and
    an accounts store that does not answer puts it off only.

    Planted once: without the look after the commit the deleted user stayed, as the group's owner.
    """
    node = Node(log, projections)
    node.users.deleted = {"ann"}
    node.users.down = True
    await node.do(CREATE)
    assert set(await members(projections)) == {"ann", "bob", "cho"}
    node.users.down = False
    await node.do(post("bob", 1))
    assert await members(projections) == {"bob": Role.OWNER, "cho": Role.MEMBER}
    node.users.deleted = {"dan"}
    await node.do(AddMembers("bob", ("dan", "eve")))
    assert set(await members(projections)) == {"bob", "cho", "eve"}


async def members(projections: MemoryProjections) -> dict[str, Role | None]:
    rows = await projections.members("c", after_user_id="", limit=100)
    return {row.user_id: row.role for row in rows}


async def _unavailable(*asked: Any) -> None:
    raise StoreUnavailable("down")


class TestOwners:
    """The channels of a node."""

    def make(self, log: MemoryMessageLog, **asked: Any) -> Owners:
        numbers = iter(range(1 << 30))
        projections = MemoryProjections()
        ports = OwnerPorts(
            log,
            projections,
            SeparateCommits(log, projections),
            Announcements(),
            StillClock(),
            lambda: next(numbers).to_bytes(16, "big"),
            Eraser(log, projections),
            Users(),
        )
        return Owners(ports, OwnerLimits(), **asked)

    async def test_commands_of_a_channel_keep_their_order(self, log: LateLog) -> None:
        """The order of the calls is the order of the log."""
        owners = self.make(log)
        commands: list[Command] = [CREATE, *[post("ann", number) for number in range(1, 50)]]
        answers = [owners.submit("c", command) for command in commands]
        seqs = [(await answer).seq for answer in answers]
        assert seqs == [4, *range(5, 54)]
        await owners.stop()

    async def test_ids_that_name_nothing_take_no_place(self, log: LateLog) -> None:
        """Anybody can invent channel ids."""
        owners = self.make(log)
        for number in range(20):
            with pytest.raises(Refusal):
                await owners.submit(f"no {number}", post("ann", 1))
        await owners.stop()
        assert len(owners) == 0

    async def test_idle_channels_are_bounded(self, log: LateLog) -> None:
        """The longest unused goes first, and comes back when it is asked for."""
        owners = self.make(log, channels_limit=3)
        for number in range(8):
            await owners.submit(f"c{number}", CREATE)
        await owners.submit("c0", post("ann", 1))
        await owners.stop()
        assert len(owners) <= 4

    async def test_stopping_finishes_what_was_taken(self, log: LateLog) -> None:
        """And takes nothing more."""
        owners = self.make(log)
        answers = [owners.submit("c", CREATE), owners.submit("c", post("ann", 1))]
        await owners.stop()
        assert [answer.result().seq for answer in answers] == [4, 5]
        with pytest.raises(Refusal) as refused:
            owners.submit("c", post("ann", 2))
        assert refused.value.reason is Reason.NODE_STOPPING

    async def test_a_channel_is_served_until_it_is_quiet(self, log: LateLog) -> None:
        """The mark follows then, not with each command; a busy channel may be over the bound, a quiet one
        not. Planted: without the sweep the channels stayed for ever; letting them go at the first sweep, with
        commands since, marked after each.
        """
        owners = self.make(log, channels_limit=0, quiet_seconds=3600)
        await owners.submit("c", CREATE)
        for number in range(1, 4):
            owners._sweep()
            await owners.submit("c", post("ann", number))
        assert await log.fanned("c") == 0
        assert len(owners) == 1
        owners._sweep()
        owners._sweep()
        async with asyncio.timeout(10):
            while len(owners):  # noqa: ASYNC110 - owners tell nobody that a channel was let go
                await asyncio.sleep(0)
        assert await log.fanned("c") == 7
        assert (await owners.submit("c", post("ann", 4))).seq == 8
        await owners.stop()

    async def test_stopping_marks_what_was_announced(self, log: LateLog) -> None:
        """Also while the channels are still waited with. Planted: without rousing them stopping never
        ended.
        """
        owners = self.make(log, quiet_seconds=3600)
        for number in range(3):
            await owners.submit(f"c{number}", CREATE)
        async with asyncio.timeout(10):
            await owners.stop()
        assert [await log.fanned(f"c{number}") for number in range(3)] == [4, 4, 4]

    async def test_commands_that_come_while_the_mark_is_written_are_served(self, log: LateLog) -> None:
        """The channel is about to be let go. Planted: returning without another look left the command
        without an answer until the next one.
        """
        owners = self.make(log, quiet_seconds=0.01)
        await owners.submit("c", CREATE)
        original = log.mark_fanned
        answers: list[asyncio.Future[Done]] = []

        async def mark_fanned(channel_id: str, seq: int) -> None:
            await original(channel_id, seq)
            if len(answers) < 5:
                answers.append(owners.submit("c", post("ann", len(answers) + 1)))
                await asyncio.sleep(0)

        log.mark_fanned = mark_fanned  # type: ignore[method-assign]
        async with asyncio.timeout(10):
            while len(answers) < 5:  # noqa: ASYNC110 - the timer of the owners decides when
                await asyncio.sleep(0.01)
            assert [(await answer).seq for answer in answers] == [5, 6, 7, 8, 9]
        await owners.stop()
