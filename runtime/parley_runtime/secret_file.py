"""Small files that only their owner may read. Blocking calls: use them before the loop runs, or in a
thread.
"""

from __future__ import annotations

import os
import secrets
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


class SecretFileError(Exception):
    """A secret file cannot be used. The message says what to do."""


def read_secret(path: Path) -> str | None:
    """The file's text, or None when there is no such file.

    Raises SecretFileError when others than its owner may read or change it, or when it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise SecretFileError(f"{path} cannot be read: {error.strerror}.") from error
    with os.fdopen(descriptor, encoding="utf-8") as file:
        mode = stat.S_IMODE(os.fstat(file.fileno()).st_mode)
        if mode & 0o077:
            raise SecretFileError(f"{path} is open to other users (mode {mode:04o}). Run: chmod 600 {path}")
        try:
            return file.read()
        except (OSError, UnicodeDecodeError) as error:
            raise SecretFileError(f"{path} cannot be read: {error}.") from error


def write_secret(path: Path, text: str) -> None:
    """Put `text` into the file, mode 0600, all of it or nothing, durable on return. Replaces what was there.

    Raises OSError when the folder cannot be written.
    """
    scratch = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def secret_bytes(path: Path, random_bytes: Callable[[int], bytes]) -> bytes:
    """The 32 secret bytes that the file keeps, made at the first call. Raises SecretFileError and OSError."""
    text = read_secret(path)
    if text is None:
        made = random_bytes(32)
        write_secret(path, made.hex() + "\n")
        return made
    try:
        kept = bytes.fromhex(text)
    except ValueError:
        kept = b""
    if len(kept) != 32:
        raise SecretFileError(f"{path} does not hold 32 bytes in hexadecimal. Put its backup in place.")
    return kept
