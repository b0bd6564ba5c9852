"""Client-made ids."""

from __future__ import annotations

import time
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

import parley
from parley._uuid7 import RANDOM_BYTES, uuid7

times = st.integers(0, (1 << 48) - 1)
randoms = st.binary(min_size=RANDOM_BYTES, max_size=RANDOM_BYTES)


@given(times, randoms)
def test_it_is_a_uuid_of_version_7_that_carries_its_time(unix_ms: int, random_bytes: bytes) -> None:
    """The standard library judges. Planted: variant bits 11, version 4, the time shifted by 79."""
    text = uuid7(unix_ms, random_bytes)
    parsed = uuid.UUID(text)
    assert str(parsed) == text
    assert parsed.version == 7
    assert parsed.variant == uuid.RFC_4122
    assert parsed.int >> 80 == unix_ms


@given(times, randoms, st.integers(0, 73))
def test_every_one_of_74_random_bits_counts(unix_ms: int, random_bytes: bytes, bit: int) -> None:
    """Fewer would let ids of one millisecond meet. Planted: the 12 bits behind the version left zero."""
    other = (int.from_bytes(random_bytes, "big") ^ 1 << bit).to_bytes(RANDOM_BYTES, "big")
    assert uuid7(unix_ms, random_bytes) != uuid7(unix_ms, other)


@given(times, times, randoms, randoms)
def test_ids_sort_by_time(earlier: int, later: int, one: bytes, other: bytes) -> None:
    """Text order is time order. Planted: the bytes of the time in the other order."""
    if earlier < later:
        assert uuid7(earlier, one) < uuid7(later, other)


@pytest.mark.parametrize(
    ("unix_ms", "random_bytes"), [(-1, bytes(10)), (1 << 48, bytes(10)), (0, bytes(9)), (0, bytes(11))]
)
def test_what_does_not_fit_is_refused(unix_ms: int, random_bytes: bytes) -> None:
    """Cut silently, they would make an id that the server refuses. Planted: no check."""
    with pytest.raises(ValueError, match="must be"):
        uuid7(unix_ms, random_bytes)


def test_a_new_id_is_of_now_and_never_the_same() -> None:
    """The server refuses ids dated an hour ahead. Planted: nanoseconds taken for milliseconds."""
    before_ms = time.time_ns() // 1_000_000
    ids = [parley.new_id() for _ in range(1000)]
    after_ms = time.time_ns() // 1_000_000
    assert len(set(ids)) == 1000
    assert all(before_ms <= uuid.UUID(each).int >> 80 <= after_ms for each in ids)
