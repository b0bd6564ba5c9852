from __future__ import annotations

import pytest

from parley_server.chat.batch_ids import BatchIds


def test_no_two_are_the_same() -> None:
    """Neither of one process nor of two. Planted: without the count all of a process were one."""
    one, other = BatchIds(b"process1"), BatchIds(b"process2")
    made = [make() for make in (one, other) for _ in range(1000)]
    assert len(set(made)) == 2000
    assert {len(batch_id) for batch_id in made} == {16}


def test_the_process_needs_eight_bytes() -> None:
    with pytest.raises(ValueError, match="8 bytes, got 7"):
        BatchIds(b"process")
