"""Codes of invites. A code is made of what the client gave, so that a repeated call gets the same one. Pure.

The log, which every member reads, holds a digest of the code only.
"""

from __future__ import annotations

import base64
import hashlib
import hmac

CODE_LIMIT_BYTES = 128
_SECRET_BYTES = 16


def invite_code(key: bytes, channel_id: str, creator_id: str, client_invite_id: str) -> str:
    """The code of an invite. Without `key` nobody can make it."""
    said = "\0".join(("parley invite", channel_id, creator_id, client_invite_id)).encode()
    secret = hmac.digest(key, said, hashlib.sha256)[:_SECRET_BYTES]
    return f"{channel_id}.{base64.urlsafe_b64encode(secret).decode().rstrip('=')}"


def invite_id_of(code: str) -> str:
    """What names the invite in the log. Nothing leads back from it to the code."""
    return hashlib.sha256(code.encode()).hexdigest()[:32]


def channel_of(code: str) -> str:
    """The channel that the code leads to; empty when it cannot be a code."""
    channel_id, dot, secret = code.partition(".")
    return channel_id if dot and secret and len(code.encode()) <= CODE_LIMIT_BYTES else ""
