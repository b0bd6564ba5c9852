"""Cursors: opaque to clients, bound to a user, never taken for what they are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_server.chat.cursor import CURSOR_LIMIT_BYTES, cursor_of, cursor_text
from parley_server.ports.positions import FeedCursor

epochs = st.text(alphabet="0123456789abcdefXYZ-_", min_size=1, max_size=64)


@given(user_id=st.text(min_size=1, max_size=64), epoch=epochs, position=st.integers(0, 2**53))
def test_what_was_made_is_read(user_id: str, epoch: str, position: int) -> None:
    text = cursor_text(user_id, FeedCursor(epoch, position))
    assert cursor_of(user_id, text) == FeedCursor(epoch, position)


@given(text=st.text(max_size=300))
def test_no_text_breaks_it(text: str) -> None:
    """What is read is exactly what would be written: no second spelling of a cursor."""
    found = cursor_of("bob", text)
    assert found is None or cursor_text("bob", found) == text


@given(one=st.text(min_size=1), other=st.text(min_size=1))
def test_a_cursor_is_its_users(one: str, other: str) -> None:
    """Another user's position would hide events."""
    text = cursor_text(one, FeedCursor("epoch", 5))
    assert (cursor_of(other, text) is None) == (one != other)


@pytest.mark.parametrize("position", ["", "-1", "+1", "01", " 1", "1 ", "1_0", "١", "1e3", "9" * 17])
def test_only_a_plain_number_is_a_position(position: str) -> None:
    prefix = cursor_text("bob", FeedCursor("epoch", 0))[:-1]
    assert cursor_of("bob", prefix + position) is None


def test_a_long_text_is_none() -> None:
    long = cursor_text("bob", FeedCursor("e" * CURSOR_LIMIT_BYTES, 1))
    assert cursor_of("bob", long) is None
