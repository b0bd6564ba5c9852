"""A file system for SQLite that forgets what was not synced when its process dies: a power cut by kill -9.

A plain kill -9 proves nothing about durability: what was written is in the kernel's page cache and
survives. Here every write, truncation and deletion since a file's last sync lives in this process's memory
only, shared by all connections of the process. A sync carries it to the real file.

    import crash_vfs          # by path: tests are not importable
    crash_vfs.install()       # before the first apsw connection of the process

A deletion becomes final with the next sync of any file, as on file systems that journal their folders in
order, or at once when SQLite asks for the folder to be synced; on the disk the file is then empty.

Not modelled: writes torn within a sync, and syncs that the disk answers without carrying them out. Only
apsw's SQLite is covered, not the standard library's. The kernel may in truth keep some of what was not
synced; losing all of it is the worst case that SQLite must survive, and the easiest to see.
"""

from __future__ import annotations

import os
import threading

import apsw

BLOCK_BYTES = 4096
NAME = "crash"


class UnsyncedFile:
    """What the process sees of one file: the real one with everything on top that was not synced yet."""

    def __init__(self, path: str) -> None:
        self.lock = threading.Lock()
        self.deleted = False
        # Never closed: closing any descriptor of a file gives up all the locks that the process holds on it.
        self._real = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        self.size_bytes = os.fstat(self._real).st_size
        # Blocks that differ from the real file, and how much of the real file still shows through.
        self._blocks: dict[int, bytearray] = {}
        self._real_bytes = self.size_bytes

    def read(self, amount: int, offset: int) -> bytes:
        """At most `amount` bytes from `offset`; fewer at the end of the file."""
        amount = max(0, min(amount, self.size_bytes - offset))
        parts = []
        while amount:
            number, start = divmod(offset, BLOCK_BYTES)
            part = self._block(number)[start : start + amount]
            parts.append(part)
            offset += len(part)
            amount -= len(part)
        return b"".join(parts)

    def write(self, data: bytes, offset: int) -> None:
        """Put `data` at `offset`, in memory only."""
        view = memoryview(data)
        while view:
            number, start = divmod(offset, BLOCK_BYTES)
            block = self._blocks[number] = self._block(number)
            count = min(len(view), BLOCK_BYTES - start)
            block[start : start + count] = view[:count]
            offset += count
            view = view[count:]
        self.size_bytes = max(self.size_bytes, offset)

    def truncate(self, size_bytes: int) -> None:
        """Cut the file, in memory only. What lies behind reads as zeros if it grows again."""
        last, start = divmod(size_bytes, BLOCK_BYTES)
        if start:
            block = self._blocks[last] = self._block(last)
            block[start:] = bytes(BLOCK_BYTES - start)
            last += 1
        for number in [number for number in self._blocks if number >= last]:
            del self._blocks[number]
        self._real_bytes = min(self._real_bytes, size_bytes)
        self.size_bytes = size_bytes

    def delete(self) -> None:
        """Take the file away, in memory only: it reads as empty if it is made again."""
        self.truncate(0)
        self.deleted = True

    def sync(self) -> None:
        """Carry everything to the real file. From here on it survives the process."""
        os.ftruncate(self._real, self._real_bytes)
        for number, block in sorted(self._blocks.items()):
            offset = number * BLOCK_BYTES
            os.pwrite(self._real, block[: max(0, self.size_bytes - offset)], offset)
        os.ftruncate(self._real, self.size_bytes)
        self._blocks.clear()
        self._real_bytes = self.size_bytes

    def _block(self, number: int) -> bytearray:
        """The block as it is now. A block of the real file is a copy, not kept."""
        known = self._blocks.get(number)
        if known is None:
            start = number * BLOCK_BYTES
            shown = max(0, min(BLOCK_BYTES, self._real_bytes - start))
            known = bytearray(os.pread(self._real, shown, start) if shown else b"")
            known.extend(bytes(BLOCK_BYTES - len(known)))
        return known


class CrashFile(apsw.VFSFile):
    """One connection's handle: locks and shared memory are the real ones, contents are the process's."""

    def __init__(
        self, system: CrashFileSystem, name: str | apsw.URIFilename, flags: list[int], state: UnsyncedFile
    ) -> None:
        super().__init__(system.base, name, flags)
        self._system = system
        self._state = state

    def xRead(self, amount: int, offset: int) -> bytes:
        with self._state.lock:
            return self._state.read(amount, offset)

    def xWrite(self, data: bytes, offset: int) -> None:
        with self._state.lock:
            self._state.write(data, offset)

    def xTruncate(self, newsize: int) -> None:
        with self._state.lock:
            self._state.truncate(newsize)

    def xSync(self, flags: int) -> None:
        with self._state.lock:
            self._state.sync()
        self._system.sync_deletions()

    def xFileSize(self) -> int:
        return self._state.size_bytes


class CrashFileSystem(apsw.VFS):
    """The file system. Files keep what was not synced for as long as the process lives, open or not."""

    def __init__(self, *, default: bool) -> None:
        # By name: "" would mean the default one at each opening, which is soon this one.
        self.base = apsw.vfs_names()[0]
        super().__init__(NAME, self.base, makedefault=default)
        self._lock = threading.Lock()
        self._states: dict[str, UnsyncedFile] = {}
        self._deletions: list[UnsyncedFile] = []

    def xOpen(self, name: str | apsw.URIFilename | None, flags: list[int]) -> apsw.VFSFile:
        if name is None:
            return apsw.VFSFile(self.base, name, flags)
        path = name.filename() if isinstance(name, apsw.URIFilename) else name
        with self._lock:
            known = self._states.get(path)
            may_create = bool(flags[0] & apsw.SQLITE_OPEN_CREATE)
            if not may_create and (known.deleted if known else not os.path.exists(path)):
                raise apsw.CantOpenError(path)
            if known is None:
                known = self._states[path] = UnsyncedFile(path)
            known.deleted = False
        return CrashFile(self, name, flags, known)

    def xDelete(self, filename: str, syncdir: bool) -> None:
        with self._lock:
            state = self._states.get(filename)
        if state is None:
            super().xDelete(filename, syncdir)
            return
        with state.lock:
            state.delete()
            if syncdir:
                state.sync()
            else:
                self._deletions.append(state)

    def sync_deletions(self) -> None:
        """Make the deletions so far final, except of files that were made again."""
        while self._deletions:
            state = self._deletions.pop()
            with state.lock:
                if state.deleted:
                    state.sync()

    def xAccess(self, pathname: str, flags: int) -> bool:
        with self._lock:
            state = self._states.get(pathname)
        return not state.deleted if state is not None else super().xAccess(pathname, flags)


def install() -> CrashFileSystem:
    """Make it the file system of every apsw connection that is opened from now on. Keep the result alive."""
    return CrashFileSystem(default=True)
