"""The check of SDK streams is checked."""

from __future__ import annotations

import pytest

from parley_server.testing.sdk_stream import stream_findings

EXPECTED = {"a": [1, 2, 3], "b": [7]}


def test_a_right_stream_is_found_right() -> None:
    """Whatever the order between channels. Planted once: one order demanded of all channels together."""
    assert stream_findings([("a", 1), ("b", 7), ("a", 2), ("a", 3)], EXPECTED) == []


@pytest.mark.parametrize(
    ("handed_out", "finding"),
    [
        ([("a", 1), ("a", 2), ("b", 7)], "a: [3] never came"),
        ([("a", 1), ("a", 2), ("a", 2), ("a", 3), ("b", 7)], "a: 2 came again"),
        ([("a", 2), ("a", 1), ("a", 3), ("b", 7)], "a: 1 came after 2"),
        ([("a", 1), ("a", 2), ("a", 3), ("b", 7), ("b", 8)], "b: [8] are not the user's to see"),
        ([("a", 1), ("a", 2), ("a", 3)], "b: [7] never came"),
    ],
)
def test_each_fault_is_named(handed_out: list[tuple[str, int]], finding: str) -> None:
    """Planted once: channels of which nothing came passed over."""
    assert stream_findings(handed_out, EXPECTED) == [finding]
