"""Events as lines for people and as fields for programs."""

from __future__ import annotations

from dataclasses import replace

import pytest

import parley
from parley_cli.event_view import event_fields, event_lines, people_of

_NAMES = {"u1": "alice", "u2": "bob"}


def _message(text: str) -> parley.MessageEvent:
    return parley.MessageEvent(
        channel_id="c", seq=4, message_no=1, create_time_ms=5, actor_id="u1", client_message_id="m", text=text
    )


def _member(actor_id: str, user_id: str, change: parley.MemberChange) -> parley.MemberEvent:
    return parley.MemberEvent(
        channel_id="c",
        seq=3,
        message_no=0,
        create_time_ms=5,
        actor_id=actor_id,
        user_id=user_id,
        change=change,
        role=parley.Role.MEMBER,
    )


def _made(kind: parley.ChannelKind) -> parley.ChannelEvent:
    return parley.ChannelEvent(
        channel_id="c",
        seq=1,
        message_no=0,
        create_time_ms=5,
        actor_id="u1",
        created=True,
        kind=kind,
        title="trip",
        history_visibility=parley.HistoryVisibility.FROM_START,
        member_limit=100,
    )


def _about(made: type[parley.Event], **fields: object) -> parley.Event:
    common = {"channel_id": "c", "seq": 9, "message_no": 1, "create_time_ms": 5, "actor_id": "u1"}
    return made(**common, **fields)  # type: ignore[arg-type]


def _became(text: str = "hi", **state: object) -> parley.MessageEvent:
    known = parley.MessageState(9, **state)  # type: ignore[arg-type]
    return replace(_message(text), reply_to_seq=2, thread_root_seq=3, state=known)


_THUMBS = (parley.Reaction("👍", 2, own=True), parley.Reaction("🎉", 1, own=False))


def _lines(event: parley.Event, *, direct: bool = False) -> list[str]:
    return event_lines(event, _NAMES, clock="12:00:00", label="#trip", direct=direct)


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (_message("hi"), "alice: hi"),
        (_member("u1", "u1", parley.MemberChange.ADDED), "* alice joined"),
        (_member("u1", "u2", parley.MemberChange.ADDED), "* alice added bob"),
        (_member("u2", "u2", parley.MemberChange.LEFT), "* bob left"),
        (_member("u1", "u2", parley.MemberChange.REMOVED), "* alice removed bob"),
        (_member("u1", "u2", parley.MemberChange.UNSPECIFIED), "* alice changed the membership of bob"),
        (_made(parley.ChannelKind.GROUP), "* alice made the group trip"),
        (
            _became(edit_seq=5, edit_time_ms=6, pin_seq=7, reply_count=3, reactions=_THUMBS),
            "alice (answers 2, in the thread of 3, edited, pinned, 3 in its thread, 👍 2, 🎉 1): hi",
        ),
        (_became("", delete_seq=8, edit_seq=5), "* 4, a message of alice, was deleted"),
        (_about(parley.EditEvent, target_seq=4, text="new"), "alice (edits 4): new"),
        (_about(parley.EditEvent, target_seq=4, text="", superseded=True), "* alice edited message 4"),
        (_about(parley.DeleteEvent, target_seq=4), "* alice deleted message 4"),
        (
            _about(parley.ReactionEvent, target_seq=4, emoji="👍\x1b", added=True, count=1),
            "* alice put 👍␛ on message 4",
        ),
        (
            _about(parley.ReactionEvent, target_seq=4, emoji="👍", added=False, count=0),
            "* alice took 👍 off message 4",
        ),
        (_about(parley.PinEvent, target_seq=4, pinned=True, author_id="u2"), "* alice pinned message 4"),
        (_about(parley.PinEvent, target_seq=4, pinned=False, author_id="u2"), "* alice unpinned message 4"),
        (_about(parley.BanEvent, user_id="u2", banned=True), "* alice banned bob"),
        (_about(parley.BanEvent, user_id="u2", banned=False), "* alice lifted the ban of bob"),
        (
            _about(parley.InviteEvent, invite_id="i", revoked=False, expire_time_ms=1, use_limit=0),
            "* alice made an invite",
        ),
        (
            _about(parley.InviteEvent, invite_id="i", revoked=True, expire_time_ms=1, use_limit=0),
            "* alice revoked an invite",
        ),
        (
            _about(parley.AuthorErasedEvent, user_id="u2"),
            "* the account of bob was deleted, and all that it wrote",
        ),
        (_about(parley.ChannelDeletedEvent), "* alice deleted the group"),
        (_member("u1", "u2", parley.MemberChange.ROLE_CHANGED), "* alice gave bob the role member"),
        (replace(_member("u2", "u2", parley.MemberChange.ADDED), invite_id="i"), "* bob joined by an invite"),
    ],
)
def test_every_kind_is_said_with_names(event: parley.Event, said: str) -> None:
    assert people_of(event) <= _NAMES.keys()
    assert _lines(event) == [f"12:00:00 [#trip] {said}"]


def test_a_direct_channel_begins_with_one_line() -> None:
    begin = [
        _made(parley.ChannelKind.DIRECT),
        _member("u1", "u1", parley.MemberChange.ADDED),
        _member("u1", "u2", parley.MemberChange.ADDED),
    ]
    said = [line for event in begin for line in _lines(event, direct=True)]
    assert said == ["12:00:00 [#trip] * alice began the conversation"]


def test_fields_are_exact_and_name_their_kind() -> None:
    fields = event_fields(_message("a\x1b[31m\n"), _NAMES)
    assert fields["text"] == "a\x1b[31m\n"
    assert (fields["kind"], fields["actor"], fields["seq"]) == ("message", "alice", 4)
    assert event_fields(_member("u1", "u2", parley.MemberChange.ADDED), _NAMES)["change"] == "added"
    assert event_fields(_made(parley.ChannelKind.GROUP), _NAMES)["history_from_start"] is True


def test_a_text_cannot_look_like_a_mark() -> None:
    """Marks stand before the text. Planted: written behind it."""
    assert _lines(_message("hi (edited)")) == ["12:00:00 [#trip] alice: hi (edited)"]
    assert _lines(_became("hi", edit_seq=5)) == [
        "12:00:00 [#trip] alice (answers 2, in the thread of 3, edited): hi"
    ]


def test_numbers_name_messages_for_other_commands() -> None:
    lines = event_lines(_message("hi"), _NAMES, clock="12:00:00", label="", direct=False, numbered=True)
    assert lines == ["12:00:00 4 alice: hi"]


def test_fields_tell_what_became_of_a_message() -> None:
    fields = event_fields(_became(edit_seq=5, edit_time_ms=6, pin_seq=7, reactions=_THUMBS), _NAMES)
    assert fields["edited"] and fields["pinned"] and not fields["deleted"]
    assert fields["edit_time_ms"] == 6
    assert fields["reactions"] == [
        {"emoji": "👍", "count": 2, "own": True},
        {"emoji": "🎉", "count": 1, "own": False},
    ]
    kinds = {
        "message_edited": _about(parley.EditEvent, target_seq=4, text="new"),
        "message_deleted": _about(parley.DeleteEvent, target_seq=4),
        "reaction_changed": _about(parley.ReactionEvent, target_seq=4, emoji="👍", added=True, count=1),
        "pin_changed": _about(parley.PinEvent, target_seq=4, pinned=True, author_id="u2"),
        "ban_changed": _about(parley.BanEvent, user_id="u2", banned=True),
        "author_erased": _about(parley.AuthorErasedEvent, user_id="u2"),
        "channel_deleted": _about(parley.ChannelDeletedEvent),
    }
    for kind, event in kinds.items():
        assert event_fields(event, _NAMES)["kind"] == kind
