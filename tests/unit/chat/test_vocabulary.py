"""The server's own enumerations say what the contract's say."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley.channel.v1 import channel_pb2
from parley.chat.v1 import event_pb2, stream_pb2
from parley_server.chat.event import ChannelKind, HistoryVisibility, MemberChange, Role
from parley_server.chat.farewell import Farewell, refusal_for
from parley_server.chat.resume import ResetCause

if TYPE_CHECKING:
    import enum


@pytest.mark.parametrize(
    ("own", "contract", "prefix"),
    [
        (Role, channel_pb2.Role, "ROLE_"),
        (ChannelKind, channel_pb2.ChannelKind, "CHANNEL_KIND_"),
        (HistoryVisibility, channel_pb2.HistoryVisibility, "HISTORY_VISIBILITY_"),
        (MemberChange, event_pb2.MemberChange, "MEMBER_CHANGE_"),
        (Farewell, stream_pb2.GoAwayReason, "GO_AWAY_REASON_"),
    ],
)
def test_names_and_numbers_agree(own: type[enum.IntEnum], contract: object, prefix: str) -> None:
    """Numbers are cast, not mapped. A value that only one side has, or two swapped ones, fails."""
    theirs = {name.removeprefix(prefix): number for name, number in contract.items()}  # type: ignore[attr-defined]
    theirs.pop("UNSPECIFIED")
    assert {value.name: value.value for value in own} == theirs


def test_every_cause_of_a_reset_is_in_the_contract() -> None:
    """The contract may keep causes that this version never gives; a cause it lacks fails."""
    for cause in ResetCause:
        assert stream_pb2.ResetReason.Value(f"RESET_REASON_{cause.name}") == cause.value


def test_every_farewell_has_a_status() -> None:
    """A stream that the server ends always says why. A farewell without a line in the table fails.

    Those that coming back helps say how long to wait. Planted: it said for NODE_STOPPING only; for all.
    """
    for farewell in Farewell:
        assert refusal_for(farewell, 1.5).message
    waits = {farewell for farewell in Farewell if refusal_for(farewell, 1.5).retry_after_seconds == 1.5}
    assert waits == {Farewell.NODE_STOPPING, Farewell.SLOW_READER, Farewell.LEASE_EXPIRED}
    assert {farewell for farewell in Farewell if refusal_for(farewell, 1.5).retry_after_seconds is None} == (
        set(Farewell) - waits
    )
