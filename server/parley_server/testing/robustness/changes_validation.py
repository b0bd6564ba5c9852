"""Judges a run with changes: what everybody ended with against the stored log, folded once more. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec

from parley.channel.v1 import channel_pb2
from parley.chat.v1 import event_pb2
from parley_server.chat import codec
from parley_server.testing.channel_rules import ChannelAt, Rule, step
from parley_server.testing.robustness.changes_fold import MessageView, ReferenceFold
from parley_server.testing.robustness.changes_history import ChangeFinding, ChangeKind
from parley_server.testing.robustness.changes_readback import PAGE_SIZE, becomes_of
from parley_server.testing.robustness.history import Outcome

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from parley_server.testing.robustness.changes_history import Asked, ChangesHistory, Ended, Served
    from parley_server.testing.robustness.history import Send

_KINDS = {
    "send": "message",
    "edit": "message_edited",
    "delete": "message_deleted",
    "react": "reaction_changed",
    "unreact": "reaction_changed",
    "pin": "pin_changed",
    "unpin": "pin_changed",
}
_BREACHES = {Rule.ONE_SEQ: ChangeKind.DUPLICATED, Rule.COUNTED: ChangeKind.MISCOUNTED}
_NOTHING = becomes_of(0, 0, 0, 0, 0, 0, [])


def validate_changes(history: ChangesHistory) -> list[ChangeFinding]:
    """Everything that cannot be, given the stored logs."""
    found = [ChangeFinding(ChangeKind[kind], channel_id, what) for kind, channel_id, what in history.problems]
    logs = {channel_id: _Log.of(history, channel_id) for channel_id in history.logs}
    for log in logs.values():
        found += _attempts(history, log)
        found += _erased(history, log)
        found += _projections(history, log)
        found += _taken_back(history, log)
    for ended in history.ended:
        found += _device(ended, logs[ended.channel_id])
    for served in history.served:
        found += _reads(served, logs[served.channel_id])
    return found


@dataclass(slots=True)
class _Log:
    """One stored log."""

    channel_id: str
    events: list[event_pb2.Event]
    by_id: dict[tuple[str, str], list[event_pb2.Event]]
    folds: dict[str, ReferenceFold]

    @classmethod
    def of(cls, history: ChangesHistory, channel_id: str) -> _Log:
        events = [event_pb2.Event.FromString(stored.encoded) for stored in history.logs[channel_id]]
        by_id: dict[tuple[str, str], list[event_pb2.Event]] = defaultdict(list)
        for event in events:
            if event.client_message_id:
                by_id[event.actor_id, event.client_message_id].append(event)
        return cls(channel_id, events, dict(by_id), {})

    def finding(self, kind: ChangeKind, what: str) -> ChangeFinding:
        return ChangeFinding(kind, self.channel_id, what)

    def fold(self, viewer_id: str) -> ReferenceFold:
        """Everything, as the user would see it who was there for all of it."""
        if viewer_id not in self.folds:
            fold = self.folds[viewer_id] = ReferenceFold(viewer_id)
            for event in self.events:
                fold.take(event)
        return self.folds[viewer_id]

    def windows(self, user_id: str) -> tuple[set[int], bool, bool]:
        """Which seqs the user may see, whether the user is a member now, and whether from the first on."""
        seen: set[int] = set()
        from_start = inside = always = False
        for event in self.events:
            if event.WhichOneof("kind") == "channel_changed":
                visibility = event.channel_changed.history_visibility
                from_start = visibility == channel_pb2.HISTORY_VISIBILITY_FROM_START
            change = event.member_changed
            if change.user_id == user_id and change.change == event_pb2.MEMBER_CHANGE_ADDED:
                always = not event.message_no and not seen
                if from_start or not event.message_no:
                    seen.update(range(1, event.seq))
                inside = True
            if inside:
                seen.add(event.seq)
            if change.user_id == user_id and not change.role:
                inside = always = False
        return seen, inside, always

    def expected(self, user_id: str) -> dict[int, MessageView]:
        """The messages that the user must see in the end."""
        seen, _, _ = self.windows(user_id)
        return {seq: view for seq, view in self.fold(user_id).messages().items() if seq in seen}


def _device(ended: Ended, log: _Log) -> Iterator[ChangeFinding]:
    if not ended.finished:
        yield log.finding(ChangeKind.ENDED_EARLY, f"{ended.device} is not live at the end")
        return
    _, inside, always = log.windows(ended.user_id)
    if not inside:
        return
    for what in _differences(ended.messages, log.expected(ended.user_id)):
        yield log.finding(ChangeKind.DIVERGED, f"{ended.device}: {what}")
    if ended.timeline_differs:
        yield log.finding(ChangeKind.DIVERGED, f"{ended.device}, timeline: {ended.timeline_differs}")
    if not ended.whole or not always:
        return
    expected = log.fold(ended.user_id).channel()
    if ended.channel != expected:
        yield log.finding(ChangeKind.DIVERGED, f"{ended.device}: has {ended.channel}, must have {expected}")
    expected.banned = []
    if ended.timeline_channel not in (None, expected):
        what = f"{ended.device}, timeline: {ended.timeline_channel}, must have {expected}"
        yield log.finding(ChangeKind.DIVERGED, what)


def _reads(served: Served, log: _Log) -> Iterator[ChangeFinding]:
    expected = log.expected(served.user_id)
    for what in _differences(served.messages, expected):
        yield log.finding(ChangeKind.SERVED_WRONGLY, f"ListMessages for {served.user_id}: {what}")
    for what in _differences(served.by_get, {seq: expected[seq] for seq in served.by_get if seq in expected}):
        yield log.finding(ChangeKind.SERVED_WRONGLY, f"GetMessage for {served.user_id}: {what}")
    for root_seq, thread in served.threads.items():
        must = [view for view in expected.values() if view.thread_root_seq == root_seq][-PAGE_SIZE:]
        if thread != must:
            seqs, must_seqs = [view.seq for view in thread], [view.seq for view in must]
            yield log.finding(
                ChangeKind.SERVED_WRONGLY,
                f"ListThread of {root_seq} for {served.user_id}: {seqs}, must be {must_seqs}",
            )
    channel, all_seen = log.fold(served.user_id).channel(), log.windows(served.user_id)[2]
    had = served.channel
    if (had.roles, had.title) != (channel.roles, channel.title) or (all_seen and had.pins != channel.pins):
        yield log.finding(ChangeKind.SERVED_WRONGLY, f"GetChannel, ListMembers: {had}, must be {channel}")


def _differences(had: Mapping[int, MessageView], must: Mapping[int, MessageView]) -> Iterator[str]:
    """The first message that differs, field by field: one is enough, and there may be hundreds."""
    if missing := sorted(must.keys() - had.keys()):
        yield f"messages {missing[:10]} are missing"
    if more := sorted(had.keys() - must.keys()):
        yield f"messages {more[:10]} are not the user's to see"
    for seq in sorted(had.keys() & must.keys()):
        if had[seq] != must[seq]:
            for field in msgspec.structs.fields(MessageView):
                one, other = getattr(had[seq], field.name), getattr(must[seq], field.name)
                if one != other:
                    yield f"message {seq}: {field.name} is {_short(one)}, must be {_short(other)}"
            return


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}…"


def _projections(history: ChangesHistory, log: _Log) -> Iterator[ChangeFinding]:
    before, after = history.projected[log.channel_id], history.rebuilt[log.channel_id]
    views = log.fold("").messages()
    for kind, becomes in (
        (ChangeKind.PROJECTED_WRONGLY, before.becomes),
        (ChangeKind.REBUILT_WRONGLY, after.becomes),
    ):
        for seq, view in views.items():
            must = becomes_of(
                view.edit_seq,
                view.edit_time_ms,
                view.delete_seq,
                view.pin_seq,
                view.reply_count,
                view.last_reply_seq,
                [(reaction.emoji, reaction.count, *reaction.user_ids) for reaction in view.reactions],
            )
            if becomes.get(seq, _NOTHING) != must:
                yield log.finding(kind, f"of message {seq} became {becomes.get(seq)}, must be {must}")
                break
    for row in sorted(set(before.rows) ^ set(after.rows))[:3]:
        where = "before" if row in before.rows else "after"
        yield log.finding(ChangeKind.REBUILT_WRONGLY, f"only {where} rebuilding: {_short(row)}")


def _attempts(history: ChangesHistory, log: _Log) -> Iterator[ChangeFinding]:
    """Each change that was acknowledged is in the log once, or held already; nothing else is."""
    wishes = {
        (asked.actor_id, asked.client_message_id): asked
        for asked in history.asked
        if asked.channel_id == log.channel_id
    }
    attempts: dict[tuple[str, str], list[Send]] = defaultdict(list)
    for send in history.base.sends:
        if send.channel_id == log.channel_id:
            attempts[send.sender_id, send.client_message_id].append(send)
    held: dict[int, list[Asked]] = defaultdict(list)
    for key, asked in wishes.items():
        stored = log.by_id.get(key, [])
        tried = attempts[key]
        if stored and tried and all(send.outcome is Outcome.REFUSED for send in tried):
            yield log.finding(ChangeKind.REFUSED_BUT_WRITTEN, f"{asked} at seq {stored[0].seq}")
        for send in tried:
            if send.outcome is not Outcome.OK or send.place is None:
                continue
            later = bool(stored) and send.duplicate and send.place.seq < stored[0].seq
            if later and asked.kind not in ("send", "edit"):
                # It held already, which leaves no trace; tried again later, it did not hold any more.
                held[send.place.seq].append(asked)
            elif stored and send.place.seq != stored[0].seq:
                yield log.finding(
                    ChangeKind.MOVED, f"{asked} was acknowledged at {send.place.seq}, is at {stored[0].seq}"
                )
            elif not stored and (not send.duplicate or asked.kind in ("send", "edit")):
                yield log.finding(ChangeKind.LOST, f"{asked}, acknowledged at {send.place.seq}")
            elif not stored:
                held[send.place.seq].append(asked)
    for key, events in log.by_id.items():
        if len(events) > 1:
            seqs = [event.seq for event in events]
            yield log.finding(ChangeKind.DUPLICATED, f"{key} is at {seqs}")
        if events[0].WhichOneof("kind") in _KINDS.values():
            yield from _content(wishes.get(key), events[0], log)
    yield from _rules(history, log, held)


def _content(asked: Asked | None, event: event_pb2.Event, log: _Log) -> Iterator[ChangeFinding]:
    kind = event.WhichOneof("kind") or ""
    body = getattr(event, kind)
    if asked is None or _KINDS[asked.kind] != kind:
        yield log.finding(ChangeKind.PHANTOM, f"{kind} at seq {event.seq}, asked was {asked}")
        return
    target_seq = body.thread_root_seq if kind == "message" else body.target_seq
    same = target_seq == asked.target_seq
    if kind == "reaction_changed":
        same = same and (body.emoji, body.added) == (asked.emoji, asked.kind == "react")
    elif kind == "pin_changed":
        same = same and body.pinned == (asked.kind == "pin")
    elif kind in ("message", "message_edited"):
        same = same and body.text in (asked.text, "")
    if not same:
        yield log.finding(ChangeKind.PHANTOM, f"seq {event.seq} is not what was asked: {asked}")


def _rules(history: ChangesHistory, log: _Log, held: Mapping[int, list[Asked]]) -> Iterator[ChangeFinding]:
    """The log keeps the rules, and what was said to hold already did so at the seq that was named."""
    at = ChannelAt()
    for stored in history.logs[log.channel_id]:
        at, breaches = step(at, codec.decode(stored.encoded, b""))
        for rule, why in breaches:
            yield log.finding(_BREACHES.get(rule, ChangeKind.NOT_PERMITTED), why)
        for asked in held.get(stored.seq, ()):
            target = at.messages.get(asked.target_seq)
            has = target is not None and asked.actor_id in target.users.get(asked.emoji, ())
            holds = {
                "delete": target is not None and target.deleted,
                "react": has,
                "unreact": not has,
                "pin": target is not None and target.pinned,
                "unpin": target is not None and not target.pinned,
            }
            if not holds[asked.kind]:
                yield log.finding(ChangeKind.LOST, f"{asked} was said to hold at {stored.seq}")


def _erased(history: ChangesHistory, log: _Log) -> Iterator[ChangeFinding]:
    """What was deleted is not in the log any more, but for what is still to do."""
    gone = {seq: view.delete_seq for seq, view in log.fold("").messages().items() if view.delete_seq}
    if log.events and log.events[-1].WhichOneof("kind") == "channel_deleted":
        gone = dict.fromkeys(range(1, len(log.events)), log.events[-1].seq)
    due = {seq for channel_id, seq in history.due if channel_id == log.channel_id}
    for event in log.events:
        if event.WhichOneof("kind") not in ("message", "message_edited"):
            continue
        seq = event.message_edited.target_seq or event.seq
        text = event.message.text or event.message_edited.text
        if text and seq in gone and gone[seq] not in due:
            yield log.finding(
                ChangeKind.NOT_ERASED, f"seq {event.seq}, deleted at {gone[seq]}: {_short(text)}"
            )
        if not text and seq not in gone:
            yield log.finding(ChangeKind.ERASED_WRONGLY, f"seq {event.seq} has no text")


def _taken_back(history: ChangesHistory, log: _Log) -> Iterator[ChangeFinding]:
    """Nobody who came after a text was taken back was served it."""
    ended = _ends(log)
    known = sorted(
        (send.place.seq, send.end_ns)
        for send in history.base.sends
        if send.channel_id == log.channel_id and send.place is not None and send.end_ns is not None
    )
    # By seq, since when that much of the log was known to somebody.
    seqs = [seq for seq, _ in known]
    since = [end_ns for _, end_ns in known]
    for index in range(len(since) - 2, -1, -1):
        since[index] = min(since[index], since[index + 1])
    for asked in history.asked:
        stored = log.by_id.get((asked.actor_id, asked.client_message_id), ())
        glimpse = history.glimpses.get(asked.text)
        if asked.channel_id != log.channel_id or not stored or glimpse is None:
            continue
        end_seq = ended.get(stored[0].seq)
        if end_seq is None:
            continue
        index = bisect_left(seqs, end_seq)
        if index < len(since) and glimpse.since_ns > since[index]:
            yield log.finding(
                ChangeKind.TAKEN_BACK_SERVED,
                f"{asked.text[:60]!r} of seq {stored[0].seq} was taken back at {end_seq} "
                f"and served: {glimpse.who}",
            )


def _ends(log: _Log) -> dict[int, int]:
    """By the seq of a message or an edit, the seq at which its text was taken back."""
    stands: dict[int, int] = {}
    authors: dict[int, str] = {}
    ended: dict[int, int] = {}
    for event in log.events:
        kind = event.WhichOneof("kind")
        if kind == "message":
            stands[event.seq] = event.seq
            authors[event.seq] = event.actor_id
        elif kind in ("message_edited", "message_deleted"):
            target_seq = getattr(event, kind).target_seq
            ended[stands[target_seq]] = event.seq
            stands[target_seq] = event.seq
        elif kind in ("author_erased", "channel_deleted"):
            for seq, author in authors.items():
                if kind == "channel_deleted" or author == event.author_erased.user_id:
                    ended.setdefault(stands[seq], event.seq)
    return ended
