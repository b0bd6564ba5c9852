"""Stored log-ins: one file each, readable by its owner only, safe for several processes at once."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import json
import os
import re
import unicodedata
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure
from parley_cli.global_options import UNIX
from parley_runtime.secret_file import SecretFileError, read_secret, write_secret

_FORMAT_VERSION = 1
_LOCK_POLL_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class LogIn:
    """One stored log-in: whose, where, and the tokens as the SDK writes them (JSON text, opaque here)."""

    server: str
    username: str
    tokens_json: str
    tls: bool = False
    tls_ca: str | None = None


def config_folder(environ: Mapping[str, str]) -> Path:
    """Where the command keeps its files: PARLEY_HOME, else `parley` in the XDG configuration folder."""
    home = environ.get("PARLEY_HOME")
    if home:
        return Path(home)
    base = environ.get("XDG_CONFIG_HOME")
    # The XDG specification: a relative path there is to be ignored.
    root = Path(base) if base and Path(base).is_absolute() else Path.home() / ".config"
    return root / "parley"


def folded(username: str) -> str:
    """The form in which the server compares user names: NFKC and case folding."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", username).casefold())


def choose(log_ins: Sequence[LogIn], server: str, as_name: str | None) -> LogIn:
    """The log-in to use at `server`, out of those stored for it.

    Raises CommandFailure: NOT_LOGGED_IN when there is none, USAGE when there are several and none is named:
    speaking as the wrong person is worse than asking.
    """
    if as_name is not None:
        for log_in in log_ins:
            if folded(log_in.username) == folded(as_name.removeprefix("@")):
                return log_in
        raise CommandFailure(
            ExitCode.NOT_LOGGED_IN,
            f"no log-in of {as_name} at {server} is stored here",
            f"Type `parley login {as_name}`",
        )
    if not log_ins:
        raise CommandFailure(
            ExitCode.NOT_LOGGED_IN,
            f"nobody is logged in at {server} here",
            "Type `parley signup NAME` for a new account, or `parley login NAME`",
        )
    if len(log_ins) > 1:
        names = ", ".join(log_in.username for log_in in log_ins)
        raise CommandFailure(
            ExitCode.USAGE,
            f"several log-ins at {server} are stored here: {names}",
            "Say which with --as NAME, or once per terminal with `export PARLEY_AS=NAME`",
        )
    return log_ins[0]


class CredentialStore:
    """The log-ins of one operating system user, in files under `folder`.

    Files have mode 0600 and folders that it makes 0700. A file is replaced as a whole: a reader finds the
    old log-in or the new one, never half of one. Methods raise CommandFailure (LOCAL_FILE) for what the
    disk refuses.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder / "log-ins"

    def log_ins(self, server: str) -> list[LogIn]:
        """All log-ins stored for `server`, by user name."""
        with _disk("read the stored log-ins in", self._server_folder(server)):
            paths = sorted(self._server_folder(server).glob("*.json"))
            found = [log_in for path in paths if (log_in := _read(path)) is not None]
        return sorted(found, key=lambda log_in: folded(log_in.username))

    def all_log_ins(self) -> list[LogIn]:
        """All log-ins stored, by server and user name."""
        with _disk("read the stored log-ins in", self._folder):
            paths = sorted(self._folder.glob("*/*.json"))
            found = [log_in for path in paths if (log_in := _read(path)) is not None]
        return sorted(found, key=lambda log_in: (log_in.server, folded(log_in.username)))

    def outbox_path(self, log_in: LogIn) -> Path:
        """The file for messages of `log_in` that wait to be sent. Its folder is there when this returns."""
        path = self._path(log_in.server, log_in.username).with_suffix(".outbox")
        with _disk("make the folder of", path):
            _make_folder(path.parent)
        return path

    def load(self, server: str, username: str) -> LogIn | None:
        """The stored log-in of `username` at `server`, or None."""
        path = self._path(server, username)
        with _disk("read the stored log-in", path):
            return _read(path)

    @contextlib.contextmanager
    def locked(self, server: str, username: str) -> Iterator[None]:
        """Keep every other process from renewing or replacing this log-in. Blocks until the lock is free.

        The lock falls with the process that holds it. Not re-entrant.
        """
        with self._lock_file(server, username) as descriptor:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield

    @contextlib.asynccontextmanager
    async def locked_on_loop(
        self, server: str, username: str, *, limit_seconds: float
    ) -> AsyncIterator[None]:
        """As `locked`, without blocking the event loop. Raises CommandFailure when the lock is never free."""
        with self._lock_file(server, username) as descriptor:
            end = asyncio.get_running_loop().time() + limit_seconds
            while not _try_lock(descriptor):
                if asyncio.get_running_loop().time() >= end:
                    raise CommandFailure(
                        ExitCode.LOCAL_FILE,
                        f"another parley process has held the log-in of {username} for {limit_seconds:.0f} s",
                        "End it and try again",
                    )
                await asyncio.sleep(_LOCK_POLL_SECONDS)
            yield

    @contextlib.contextmanager
    def _lock_file(self, server: str, username: str) -> Iterator[int]:
        path = self._path(server, username).with_suffix(".lock")
        with _disk("lock", path):
            _make_folder(path.parent)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    def save(self, log_in: LogIn) -> None:
        """Store `log_in`, in place of what was stored for this user at this server. Call it under `locked`.

        When it returns, the tokens are on the disk: losing a rotated refresh token would cost the log-in.
        """
        path = self._path(log_in.server, log_in.username)
        with _disk("store the log-in in", path):
            _make_folder(path.parent)
            write_secret(path, _encode(log_in))

    def remove(self, server: str, username: str) -> None:
        """Forget a log-in and what waits to be sent by it. Forgetting what is not there changes nothing."""
        path = self._path(server, username)
        with _disk("remove the stored log-in", path):
            path.unlink(missing_ok=True)
            for ending in (".outbox", ".outbox-wal", ".outbox-shm"):
                path.with_suffix(ending).unlink(missing_ok=True)

    def _server_folder(self, server: str) -> Path:
        readable = re.sub(r"[^A-Za-z0-9.\-]", "_", server)
        if server.startswith(UNIX):
            # Different paths can look the same in that form.
            readable += f"-{hashlib.sha256(os.fsencode(server)).hexdigest()[:16]}"
        return self._folder / readable

    def _path(self, server: str, username: str) -> Path:
        # Names may hold any letter of any script and 256 bytes; a digest fits every file system, and the
        # readable part in front is for people who look into the folder.
        name = folded(username)
        digest = hashlib.sha256(name.encode()).hexdigest()[:16]
        readable = re.sub(r"[^a-z0-9.\-]", "_", name)[:40]
        return self._server_folder(server) / f"{readable}-{digest}.json"


def _encode(log_in: LogIn) -> str:
    return json.dumps(
        {
            "version": _FORMAT_VERSION,
            "server": log_in.server,
            "username": log_in.username,
            "tls": log_in.tls,
            "tls_ca": log_in.tls_ca,
            "tokens": log_in.tokens_json,
        },
        ensure_ascii=False,
        indent=1,
    )


def _read(path: Path) -> LogIn | None:
    try:
        content = read_secret(path)
    except SecretFileError as error:
        raise CommandFailure(ExitCode.LOCAL_FILE, str(error)) from error
    if content is None:
        return None
    try:
        fields = json.loads(content)
        if fields["version"] != _FORMAT_VERSION:
            raise ValueError(f"version {fields['version']}")
        return LogIn(
            server=_text(fields["server"]),
            username=_text(fields["username"]),
            tokens_json=_text(fields["tokens"]),
            tls=fields["tls"] is True,
            tls_ca=None if fields["tls_ca"] is None else _text(fields["tls_ca"]),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise CommandFailure(
            ExitCode.LOCAL_FILE,
            f"the stored log-in {path} cannot be understood",
            "Remove the file and log in again",
        ) from error


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("a text was expected")
    return value


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    # `parents=True` would make the folders above with the umask's mode: each of ours is made by itself.
    ours = (folder.parent.parent, folder.parent, folder)
    ours[0].parent.mkdir(parents=True, exist_ok=True)
    for each in ours:
        each.mkdir(mode=0o700, exist_ok=True)


@contextlib.contextmanager
def _disk(action: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CommandFailure(
            ExitCode.LOCAL_FILE,
            f"cannot {action} {path}: {error.strerror}",
            "Check its owner and permissions, or name another folder with PARLEY_HOME",
        ) from error
