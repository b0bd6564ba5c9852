"""`parley chat` before its window opens: the log-ins it can be, and where it cannot run."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

from parley_cli.credentials import CredentialStore, LogIn

if TYPE_CHECKING:
    from pathlib import Path


def test_without_a_terminal_it_says_what_to_use_instead() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "parley_cli", "chat"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr == (
        "parley: `parley chat` needs a terminal. "
        "In a script use `parley tail`, `parley send` and `parley history`.\n"
    )


def test_no_other_command_imports_the_windows() -> None:
    """textual takes longer to load than most commands to run. Planted: an import at the top was caught."""
    program = "import sys, parley_cli.app; print('textual' in sys.modules, 'parley_cli.tui' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout == "False False\n"


def test_the_log_ins_of_all_servers_are_found_in_order(tmp_path: Path) -> None:
    store = CredentialStore(tmp_path)
    wanted = [LogIn("a:1", "bob", "{}"), LogIn("a:1", "철수", "{}"), LogIn("b:2", "alice", "{}", tls=True)]
    for log_in in reversed(wanted):
        store.save(log_in)
    assert store.all_log_ins() == wanted


def test_logging_out_removes_what_waits_to_be_sent(tmp_path: Path) -> None:
    """Its texts are the user's. Planted: the file of the outbox stayed."""
    store = CredentialStore(tmp_path)
    log_in = LogIn("a:1", "bob", "{}")
    store.save(log_in)
    path = store.outbox_path(log_in)
    path.write_text("waiting")
    path.with_name(path.name + "-wal").write_text("waiting")
    store.remove("a:1", "bob")
    assert [each for each in tmp_path.rglob("*") if each.is_file() and "outbox" in each.name] == []
