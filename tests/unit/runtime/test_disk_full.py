"""A full disk in the log."""

from __future__ import annotations

import sqlite3

from parley_runtime.disk_full import DISK_FULL, RareLine, is_disk_full


def test_a_line_is_due_once_in_its_time_and_counts_what_it_did_not_say() -> None:
    """Planted: the time counted from the last asking; a line asked for all the time was never said again."""
    line = RareLine(60.0)
    assert line.due(5.0) == 0
    assert [line.due(now) for now in (5.0, 30.0, 64.9)] == [None] * 3
    assert line.due(65.0) == 3
    assert line.due(66.0) is None
    assert line.due(125.0) == 1


def test_the_words_of_every_store() -> None:
    """SQLite's own are those that the accounts come with."""
    connection = sqlite3.connect(":memory:")
    connection.execute("PRAGMA max_page_count = 1")
    try:
        connection.execute("CREATE TABLE t (x)")
    except sqlite3.OperationalError as error:
        said = str(error)
    connection.close()
    assert is_disk_full(f"the accounts cannot be reached: {said}")
    assert is_disk_full(DISK_FULL)
    assert not is_disk_full("disk I/O error")
