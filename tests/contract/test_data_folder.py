"""The data folder: one process at a time."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from parley_server.backends.sqlite.folder import DataFolder, DataFolderInUse

if TYPE_CHECKING:
    from pathlib import Path

HOLD = """
import sys
from parley_server.backends.sqlite.folder import DataFolder
folder = DataFolder(sys.argv[1])
print("held", flush=True)
sys.stdin.read()
"""


def test_the_folder_is_made_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "data"
    with DataFolder(path) as folder:
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
        assert stat.S_IMODE((path / "LOCK").stat().st_mode) == 0o600
        assert folder.chat_database.parent == folder.accounts_database.parent == path
        assert (path / "LOCK").read_text() == f"{os.getpid()}\n"


def test_a_second_holder_is_refused_and_told_who_holds_it(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
        text=True,
    )
    with process:
        if process.stdout is None:
            raise AssertionError
        assert process.stdout.readline() == "held\n"
        with pytest.raises(
            DataFolderInUse, match=f"in use by process {process.pid}: stop that one"
        ) as caught:
            DataFolder(tmp_path)
        assert caught.value.holder_pid == process.pid
        process.send_signal(signal.SIGKILL)
        process.wait()
        # However the holder ended, the folder is free.
        DataFolder(tmp_path).close()


def test_within_one_process_it_is_held_once(tmp_path: Path) -> None:
    first = DataFolder(tmp_path)
    with pytest.raises(DataFolderInUse):
        DataFolder(tmp_path)
    first.close()
    first.close()
    with DataFolder(tmp_path):
        pass


def test_a_folder_that_cannot_be_made_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError):
        DataFolder(tmp_path / "file" / "data")
