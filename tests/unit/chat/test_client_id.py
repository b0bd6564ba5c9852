"""Ids that clients make: their shape, their time, and how long they are good."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from parley_runtime.refusal import Reason
from parley_server.chat.client_id import AHEAD_LIMIT_MS, DEDUP_WINDOW_MS, check, time_of

NOW_MS = 1_760_000_000_000


def uuid7(time_ms: int, random_bits: int = 0) -> str:
    number = time_ms << 80 | 7 << 76 | (random_bits & 0xFFF) << 64 | 2 << 62 | random_bits >> 12
    return str(uuid.UUID(int=number))


@given(time_ms=st.integers(0, 2**48 - 1), bits=st.integers(0, 2**74 - 1))
def test_the_time_in_an_id_is_read_back(time_ms: int, bits: int) -> None:
    """Every well-formed id gives its own time. Reading 11 digits instead of 12 fails at once."""
    assert time_of(uuid7(time_ms, bits)) == time_ms


@pytest.mark.parametrize(
    ("offset_ms", "reason"),
    [
        (0, None),
        (AHEAD_LIMIT_MS, None),
        (AHEAD_LIMIT_MS + 1, Reason.INVALID_FIELD),
        (-DEDUP_WINDOW_MS, None),
        (-DEDUP_WINDOW_MS - 1, Reason.MESSAGE_ID_EXPIRED),
    ],
)
def test_the_window_is_exact(offset_ms: int, reason: Reason | None) -> None:
    """One hour ahead and seven days back, to the millisecond. `<=` for `<` fails a border."""
    refusal = check("client_message_id", uuid7(NOW_MS + offset_ms), NOW_MS)
    assert (refusal.reason if refusal else None) is reason
    if refusal and reason is Reason.INVALID_FIELD:
        assert [violation.field for violation in refusal.violations] == ["client_message_id"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        uuid7(NOW_MS).upper(),
        uuid7(NOW_MS).replace("-", ""),
        "{" + uuid7(NOW_MS) + "}",
        uuid7(NOW_MS) + "\n",
        " " + uuid7(NOW_MS),
        str(uuid.UUID(int=uuid.UUID(uuid7(NOW_MS)).int ^ (7 ^ 4) << 76)),
        uuid7(NOW_MS)[:19] + "c" + uuid7(NOW_MS)[20:],
        "٠" + uuid7(NOW_MS)[1:],
    ],
)
def test_anything_but_a_lower_case_version_7_is_refused(text: str) -> None:
    """Two spellings of one id would be two messages. `match` for `fullmatch` lets the newline through."""
    refusal = check("client_message_id", text, NOW_MS)
    assert refusal is not None
    assert refusal.reason is Reason.INVALID_FIELD
