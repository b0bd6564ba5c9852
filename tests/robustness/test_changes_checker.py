"""The checker of runs with changes: a good history passes, one wrong thing in it is found under its name."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest
from msgspec.structs import replace

from parley.chat.v1 import event_pb2
from parley_server.chat import codec
from parley_server.chat.event import (
    AuthorErased,
    BanChanged,
    ChannelChanged,
    ChannelKind,
    Event,
    EventBody,
    HistoryVisibility,
    MemberChange,
    MemberChanged,
    MessageDeleted,
    MessageEdited,
    MessagePosted,
    PinChanged,
    ReactionChanged,
    Role,
)
from parley_server.testing.robustness.changes_fold import MessageView, ReferenceFold
from parley_server.testing.robustness.changes_history import (
    Asked,
    ChangeKind,
    ChangesHistory,
    Ended,
    Glimpse,
    Projected,
    Served,
    StoredEvent,
)
from parley_server.testing.robustness.changes_readback import becomes_of
from parley_server.testing.robustness.changes_validation import validate_changes
from parley_server.testing.robustness.history import Outcome, Place, Send

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

C = "c"
LIKE = ReactionChanged(5, "👍", True, 1)
SETTINGS = ChannelChanged(True, ChannelKind.GROUP, "Us", HistoryVisibility.FROM_JOINING, 9)
# By seq: who did what, and what was asked for it. Cho comes late, the one who was deleted is dai.
LOG: tuple[tuple[str, EventBody, str], ...] = (
    ("ann", SETTINGS, ""),
    ("ann", MemberChanged("ann", MemberChange.ADDED, Role.OWNER), ""),
    ("ann", MemberChanged("bob", MemberChange.ADDED, Role.MEMBER), ""),
    ("ann", MemberChanged("dai", MemberChange.ADDED, Role.MEMBER), ""),
    ("bob", MessagePosted("bob wrote 1."), "send"),
    ("ann", LIKE, "react"),
    ("bob", MessageEdited(5, "bob edited 2."), "edit"),
    ("bob", MessagePosted(""), "send"),
    ("ann", MessageDeleted(8), "delete"),
    ("ann", PinChanged(5, True, "bob"), "pin"),
    ("ann", MemberChanged("cho", MemberChange.ADDED, Role.MEMBER), ""),
    ("cho", MessagePosted("cho wrote 3.", thread_root_seq=5), "send"),
    ("dai", MessagePosted(""), "send"),
    ("dai", MemberChanged("dai", MemberChange.LEFT, None), ""),
    ("dai", AuthorErased("dai"), ""),
    ("bob", ReactionChanged(5, "👍", True, 2), "react"),
    ("ann", ReactionChanged(5, "👍", False, 1), "unreact"),
)
TEXTS = {5: "bob wrote 1.", 7: "bob edited 2.", 8: "bob wrote gone.", 12: "cho wrote 3.", 13: "dai wrote 4."}


def stored(events: list[Event]) -> list[StoredEvent]:
    return [StoredEvent(event.seq, codec.encode(event)) for event in events]


def events_of(log: tuple[tuple[str, EventBody, str], ...]) -> list[Event]:
    message_no = 0
    events = []
    for seq, (actor, body, asked) in enumerate(log, start=1):
        message_no += isinstance(body, MessagePosted)
        events.append(Event(C, seq, message_no, 1000 + seq, actor, f"id{seq}" if asked else "", b"", body))
    return events


def folded(events: list[Event], viewer_id: str) -> ReferenceFold:
    fold = ReferenceFold(viewer_id)
    for event in events:
        fold.take(decoded(event))
    assert fold.problems == []
    return fold


def decoded(event: Event) -> event_pb2.Event:
    return event_pb2.Event.FromString(codec.encode(event))


def good() -> ChangesHistory:
    """A run in which all went well."""
    history = ChangesHistory()
    events = events_of(LOG)
    history.logs[C] = stored(events)
    for event, (actor, body, kind) in zip(events, LOG, strict=True):
        if not kind:
            continue
        asked = Asked(
            actor_id=actor,
            channel_id=C,
            client_message_id=event.client_message_id,
            kind=kind,
            target_seq=getattr(body, "target_seq", getattr(body, "thread_root_seq", 0)),
            text=TEXTS.get(event.seq, ""),
            emoji=getattr(body, "emoji", ""),
        )
        history.asked.append(asked)
        history.base.sends.append(
            Send(
                attempt=len(history.base.sends),
                sender_id=actor,
                way=kind,
                channel_id=C,
                client_message_id=event.client_message_id,
                content="",
                start_ns=event.seq * 100,
                end_ns=event.seq * 100 + 50,
                outcome=Outcome.OK,
                place=Place(event.seq, 0, event.create_time_ms),
            )
        )
    for user_id in ("ann", "bob", "cho"):
        fold = folded(events, user_id)
        seen = {seq: view for seq, view in fold.messages().items() if user_id != "cho" or seq > 11}
        history.ended.append(
            Ended(
                device=f"{user_id}/0",
                user_id=user_id,
                channel_id=C,
                messages=seen,
                channel=fold.channel(),
                whole=True,
            )
        )
        history.served.append(
            Served(
                user_id=user_id,
                channel_id=C,
                messages=seen,
                by_get=dict(seen),
                threads={5: [seen[12]]},
                channel=fold.channel(),
            )
        )
    becomes = {seq: became(view) for seq, view in folded(events, "").messages().items()}
    history.projected[C] = Projected(rows=["a row"], becomes=becomes)
    history.rebuilt[C] = Projected(rows=["a row"], becomes=dict(becomes))
    history.glimpses["bob wrote 1."] = Glimpse(720, "a stream that began before the edit was answered")
    return history


def became(view: MessageView) -> list[str]:
    reactions: list[tuple[str | int, ...]] = [
        (each.emoji, each.count, *each.user_ids) for each in view.reactions
    ]
    numbers = (view.edit_seq, view.edit_time_ms, view.delete_seq, view.pin_seq)
    return becomes_of(*numbers, view.reply_count, view.last_reply_seq, reactions)


def rewritten(seq: int, actor: str, body: EventBody) -> Callable[[ChangesHistory], None]:
    """The log with another event at `seq`."""

    def mutate(history: ChangesHistory) -> None:
        kind = LOG[seq - 1][2]
        history.logs[C] = stored(events_of((*LOG[: seq - 1], (actor, body, kind), *LOG[seq:])))

    return mutate


def diverged(history: ChangesHistory) -> None:
    view = history.ended[0].messages[5]
    history.ended[0].messages[5] = replace(view, pin_seq=0)


def timeline_without_its_pins(history: ChangesHistory) -> None:
    channel = history.ended[0].channel
    history.ended[0].timeline_channel = replace(channel, pins=[])


def not_all_served(history: ChangesHistory) -> None:
    del history.served[1].messages[12]


def shown_to_a_late_comer(history: ChangesHistory) -> None:
    history.served[2].messages[5] = history.served[0].messages[5]


def thread_without_end(history: ChangesHistory) -> None:
    history.served[0].threads[5] = []


def projected_otherwise(history: ChangesHistory) -> None:
    history.projected[C].becomes[5] = becomes_of(0, 0, 0, 0, 0, 0, [])


def rebuilt_otherwise(history: ChangesHistory) -> None:
    history.rebuilt[C].rows.append("another row")


def acknowledged_elsewhere(history: ChangesHistory) -> None:
    history.base.sends[0].place = Place(6, 0, 1006)


def acknowledged_and_gone(history: ChangesHistory) -> None:
    history.asked.append(replace(history.asked[0], client_message_id="gone"))
    send = deepcopy(history.base.sends[0])
    send.client_message_id = "gone"
    history.base.sends.append(send)


def said_to_hold(history: ChangesHistory) -> None:
    """Cho is told at 12 that the reaction is on the message already."""
    acknowledged_and_gone(history)
    history.asked[-1] = Asked(
        actor_id="bob", channel_id=C, client_message_id="gone", kind="react", target_seq=5, emoji="👍"
    )
    history.base.sends[-1].duplicate = True
    history.base.sends[-1].place = Place(12, 0, 1012)


def refused(history: ChangesHistory) -> None:
    history.base.sends[0].outcome = Outcome.REFUSED
    history.base.sends[0].place = None


def asked_otherwise(history: ChangesHistory) -> None:
    history.asked[0] = replace(history.asked[0], text="something else")


def written_twice(history: ChangesHistory) -> None:
    events = events_of(LOG)
    newest = events[-1]
    events.append(
        replace(events[4], seq=newest.seq + 1, message_no=newest.message_no + 1, create_time_ms=2000)
    )
    history.logs[C] = stored(events)


def served_later(history: ChangesHistory) -> None:
    history.glimpses["bob wrote 1."] = Glimpse(5000, "a stream that came later")


def served_after_erasure(history: ChangesHistory) -> None:
    history.glimpses["dai wrote 4."] = Glimpse(5000, "a stream that came later")


def left_early(history: ChangesHistory) -> None:
    history.ended[1].finished = False


def noticed(kind: ChangeKind) -> Callable[[ChangesHistory], None]:
    def mutate(history: ChangesHistory) -> None:
        history.problems.append((kind.name, C, "a device noticed"))

    return mutate


BAD: list[tuple[Callable[[ChangesHistory], None], ChangeKind]] = [
    (diverged, ChangeKind.DIVERGED),
    (timeline_without_its_pins, ChangeKind.DIVERGED),
    (not_all_served, ChangeKind.SERVED_WRONGLY),
    (shown_to_a_late_comer, ChangeKind.SERVED_WRONGLY),
    (thread_without_end, ChangeKind.SERVED_WRONGLY),
    (projected_otherwise, ChangeKind.PROJECTED_WRONGLY),
    (rebuilt_otherwise, ChangeKind.REBUILT_WRONGLY),
    (rewritten(8, "bob", MessagePosted("bob wrote gone.")), ChangeKind.NOT_ERASED),
    (rewritten(5, "bob", MessagePosted("")), ChangeKind.ERASED_WRONGLY),
    (acknowledged_and_gone, ChangeKind.LOST),
    (said_to_hold, ChangeKind.LOST),
    (written_twice, ChangeKind.DUPLICATED),
    (acknowledged_elsewhere, ChangeKind.MOVED),
    (refused, ChangeKind.REFUSED_BUT_WRITTEN),
    (asked_otherwise, ChangeKind.PHANTOM),
    (rewritten(10, "bob", PinChanged(5, True, "bob")), ChangeKind.NOT_PERMITTED),
    (rewritten(12, "cho", BanChanged("bob", True)), ChangeKind.NOT_PERMITTED),
    (served_later, ChangeKind.TAKEN_BACK_SERVED),
    (served_after_erasure, ChangeKind.TAKEN_BACK_SERVED),
    (rewritten(6, "ann", ReactionChanged(5, "👍", True, 2)), ChangeKind.MISCOUNTED),
    (noticed(ChangeKind.STALE), ChangeKind.STALE),
    (left_early, ChangeKind.ENDED_EARLY),
]


def test_a_good_history_has_no_fault() -> None:
    """A checker that cries wolf is switched off. Taking an edit for known when it was asked for
    fails this.
    """
    assert validate_changes(good()) == []


@pytest.mark.parametrize(
    ("mutate", "kind"), BAD, ids=[f"{bad[1].name}-{number}" for number, bad in enumerate(BAD)]
)
def test_one_wrong_thing_is_found(mutate: Callable[[ChangesHistory], None], kind: ChangeKind) -> None:
    """Each kind of finding, caused by hand, is named. Removing the check behind any fails its line here."""
    history = good()
    mutate(history)
    assert kind in {finding.kind for finding in validate_changes(history)}


def test_every_kind_has_a_bad_history() -> None:
    """A kind that nothing causes is not checked at all."""
    assert {kind for _, kind in BAD} == set(ChangeKind)


def test_a_kept_history_is_judged_as_before(tmp_path: Path) -> None:
    """What failed can be judged again. A field left out of the JSON fails this."""
    history = good()
    diverged(history)
    history.save(tmp_path / "history.json")
    kept = ChangesHistory.load(tmp_path / "history.json")
    assert kept == history
    assert validate_changes(kept) == validate_changes(history)
