"""Events as lines for people and as fields for programs."""

from __future__ import annotations

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
