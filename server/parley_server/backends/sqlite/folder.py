"""The data folder of one node: who holds it, and what lies where."""

from __future__ import annotations

import contextlib
import fcntl
import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import TracebackType


class DataFolderInUse(Exception):
    """Another process holds the folder. `holder_pid` is its process id, or None when it left none."""

    def __init__(self, path: Path, holder_pid: int | None) -> None:
        holder = "another process" if holder_pid is None else f"process {holder_pid}"
        super().__init__(f"{path} is in use by {holder}: stop that one, or give another data folder")
        self.path = path
        self.holder_pid = holder_pid


class DataFolder:
    """A folder that this process alone holds, from the making of this object until `close`.

    Makes the folder (readable by its owner only) if it is missing. Raises DataFolderInUse, also within one
    process, and OSError when the folder cannot be made or written. The lock goes with the process, however
    it ends.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        _make(self.path)
        # The lock file is never deleted: a second process might hold a lock on a name that is gone.
        self._lock = os.open(self.path / "LOCK", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            text = os.pread(self._lock, 32, 0).strip()
            os.close(self._lock)
            if not isinstance(error, BlockingIOError):
                raise
            raise DataFolderInUse(self.path, int(text) if text.isdigit() else None) from None
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)
        self._closed = False

    @property
    def chat_database(self) -> Path:
        """Logs, projections and positions. Opened through apsw only."""
        return self.path / "chat.db"

    @property
    def accounts_database(self) -> Path:
        """Users, devices and credentials. Opened through SQLAlchemy only."""
        return self.path / "accounts.db"

    def close(self) -> None:
        """Give the folder up. Calling again is harmless."""
        if not self._closed:
            self._closed = True
            os.ftruncate(self._lock, 0)
            os.close(self._lock)

    def __enter__(self) -> DataFolder:
        return self

    def __exit__(
        self,
        exception_type: type[BaseException] | None,
        exception: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


def _make(path: Path) -> None:
    missing = [path, *path.parents]
    while missing and missing[-1].exists():
        missing.pop()
    for folder in reversed(missing):
        with contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        # A folder that a power cut takes away takes everything inside with it.
        parent = os.open(folder.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(parent)
        finally:
            os.close(parent)
