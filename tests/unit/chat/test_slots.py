"""Slots are stored and shared between versions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from parley_server.chat.slots import SLOTS, slot_of


def test_slots_are_the_same_in_every_version() -> None:
    """Nodes of two versions must agree about owners. Another hash or another count fails."""
    assert SLOTS == 1024
    assert [slot_of(text) for text in ("", "c", "d0123", "g4567", "채널")] == [0, 879, 241, 183, 984]


@given(st.text())
def test_a_slot_is_in_range(channel_id: str) -> None:
    """Every id has a slot."""
    assert 0 <= slot_of(channel_id) < SLOTS
