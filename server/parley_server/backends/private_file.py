"""SQLite files that only their owner may read, whatever the umask was when they were made."""

from __future__ import annotations

import os
import stat

from parley_runtime.logs import get_logger

log = get_logger(__name__)

_BESIDE = ("", "-wal", "-shm", "-journal")


def make_private(path: str) -> None:
    """Make an empty file with mode 0600 if there is none. SQLite gives those beside it the mode of the file.

    Raises OSError when it cannot be made.
    """
    # One that exists is not opened: closing it would take SQLite's locks from another connection.
    try:
        made = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    try:
        # The umask may have taken from the owner, too.
        os.fchmod(made, 0o600)
    finally:
        os.close(made)


def tighten(path: str) -> None:
    """Take from others what they may do with the file, and with those that SQLite has beside it.

    Files whose mode cannot be changed, as on a disk that knows none, stay as they are; a warning says so.
    """
    for beside in _BESIDE:
        try:
            mode = stat.S_IMODE(os.stat(path + beside).st_mode)
        except FileNotFoundError:
            continue
        if mode & 0o077:
            try:
                os.chmod(path + beside, mode & 0o700)
            except OSError as error:
                log.warning(
                    "a file stays open to other users",
                    path=path + beside,
                    mode=f"{mode:04o}",
                    error=error.strerror,
                )
