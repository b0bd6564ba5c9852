"""An owner, call by call: the cases that the model found, each by itself and readable."""

from __future__ import annotations

from typing import Any

import pytest

from parley_runtime.disk_full import DISK_FULL
from parley_runtime.refusal import Reason, Refusal
from parley_server.backends.memory.message_log import MemoryMessageLog
from parley_server.backends.memory.projections import MemoryProjections
from parley_server.chat.activation import ActivationLimits
from parley_server.chat.batch import BatchLimits
from parley_server.chat.command import AddMembers, Done, LeaveChannel, RemoveMember
from parley_server.chat.event import Role
from parley_server.ports.message_log import NotWritten, StoreUnavailable
from parley_server.testing.late_log import LateLog
from parley_server.testing.lone_owner import CREATE, NOW_MS, LoneOwner, post


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
    node = LoneOwner(log, projections)
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
    node = LoneOwner(log, projections, activation=ActivationLimits(known_ids=4), batch=BatchLimits(rows=10))
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
    stale, other = LoneOwner(log, projections), LoneOwner(log, projections)
    await stale.do(CREATE)
    await other.do(RemoveMember("ann", "bob"))
    assert await stale.do(AddMembers("ann", ("bob",))) == [Done(6, 0, NOW_MS, duplicate=False)]
    member = await projections.member("c", "bob")
    assert member is not None and member.role is not None


async def test_a_refusal_from_an_old_state_is_no_answer(log: LateLog, projections: MemoryProjections) -> None:
    """Another node added dai: he may write at once, also through an owner that does not know him yet."""
    stale, other = LoneOwner(log, projections), LoneOwner(log, projections)
    await stale.do(CREATE)
    await other.do(AddMembers("ann", ("dai",)))
    assert await stale.do(post("dai", 1)) == [Done(6, 1, NOW_MS, duplicate=False)]


async def test_old_events_are_announced_to_those_who_were_members_then(
    log: LateLog, projections: MemoryProjections
) -> None:
    """A new owner announces what was committed and not announced, in pages. With the newest members for every
    page, dai got what was said before he came, and bob missed his own removal.
    """
    writer = LoneOwner(log, projections)
    await writer.do(CREATE)
    await writer.do(post("ann", 1), post("bob", 2), post("ann", 3))
    await writer.do(RemoveMember("ann", "bob"), AddMembers("ann", ("dai",)), post("dai", 4))
    log._channels["c"].fanned = 4
    new = LoneOwner(log, projections, activation=ActivationLimits(page_rows=2))
    await new.do(LeaveChannel("nobody"))
    assert new.fanout.made == [
        ({"ann", "bob", "cho"}, [5, 6]),
        ({"ann", "cho"}, [7, 8]),
        ({"ann", "cho", "dai"}, [9, 10]),
    ]
    assert await log.fanned("c") == 10


async def test_the_mark_follows_a_busy_channel(log: LateLog, projections: MemoryProjections) -> None:
    """A channel that is never idle is marked too, or a takeover would announce its whole day again."""
    node = LoneOwner(log, projections, batch=BatchLimits(rows=1), events_between_marks=3)
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
    node = LoneOwner(log, projections, waiting_commands=2)
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
    node = LoneOwner(log, projections)
    await node.do(CREATE)
    projections.fails = True
    (unknown,) = await node.do(post("ann", 1))
    assert unknown.reason is Reason.STORE_UNAVAILABLE
    projections.fails = False
    assert await node.do(post("ann", 1)) == [Done(5, 1, NOW_MS, duplicate=True)]


class FullLog(MemoryMessageLog):
    fails_with = ""

    async def append(self, *asked: Any) -> Any:
        return NotWritten(self.fails_with) if self.fails_with else await super().append(*asked)


async def test_why_a_store_takes_nothing_is_told(
    projections: MemoryProjections, caplog: pytest.LogCaptureFixture
) -> None:
    """The operator is told the store's own cause, and a sender that the disk is full. Planted: the cause
    dropped; eight tries without room ended as "other writers won 8 times".
    """
    log = FullLog()
    node = LoneOwner(log, projections)
    await node.do(CREATE)
    log.fails_with = DISK_FULL
    (refused,) = await node.do(post("ann", 1))
    assert refused.reason is Reason.STORE_UNAVAILABLE
    assert DISK_FULL in refused.message
    assert "other writers" not in caplog.text
    log.fails_with = "the queue overflows"
    caplog.clear()
    (refused,) = await node.do(post("ann", 1))
    assert "The store did not answer." in refused.message
    (record,) = caplog.records
    assert vars(record)["fields"]["error"] == "not settled after 8 tries: the queue overflows"
    log.fails_with = ""
    assert await node.do(post("ann", 1)) == [Done(5, 1, NOW_MS, duplicate=False)]


async def test_a_feed_that_is_gone_costs_no_acknowledgement(
    log: LateLog, projections: MemoryProjections
) -> None:
    """Committed is acknowledged, announced or not, and what was missed is announced in order once the feed is
    back. Planted: letting the failure through refused both sends; advancing the mark lost the announcement of
    5.
    """
    node = LoneOwner(log, projections)
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
    node = LoneOwner(log, projections)
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
