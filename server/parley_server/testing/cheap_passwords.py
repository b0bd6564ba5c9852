"""Not a bug, only haste: passwords are hashed with as little work as Argon2 allows.

Tests that make many users would spend their time on hashing otherwise.
"""

from __future__ import annotations

import dataclasses

from parley_server.accounts import passwords

_full_price = passwords.PasswordPool.__init__


def _cheap(self: passwords.PasswordPool, settings: object, random_bytes: object) -> None:
    cheap = dataclasses.replace(settings, password_passes=1, password_memory_kib=64, password_lanes=1)  # type: ignore[type-var]
    _full_price(self, cheap, random_bytes)  # type: ignore[arg-type]


passwords.PasswordPool.__init__ = _cheap  # type: ignore[method-assign]
