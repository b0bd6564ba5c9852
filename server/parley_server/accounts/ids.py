"""Ids of users and devices, derived from clients' request ids, so that a retry finds what it made. Pure."""

from __future__ import annotations

import hashlib
import re

_REQUEST_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_USER_ID = re.compile(r"u[0-9a-f]{32}")
_DEVICE_ID = re.compile(r"d[0-9a-f]{32}")


def is_request_id(text: str) -> bool:
    """Whether the text is a UUID in lower case."""
    return _REQUEST_ID.fullmatch(text) is not None


def is_user_id(text: str) -> bool:
    """Whether the text has the form of a user id. Only such text is worth asking the store for."""
    return _USER_ID.fullmatch(text) is not None


def is_device_id(text: str) -> bool:
    """Whether the text has the form of a device id."""
    return _DEVICE_ID.fullmatch(text) is not None


def user_id_for(request_id: str) -> str:
    """The id of the account that this request opens: always the same."""
    return "u" + _digest("parley user", request_id)


def device_id_for(user_id: str, request_id: str) -> str:
    """The id of the device that this request logs in: always the same."""
    return "d" + _digest("parley device", user_id, request_id)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]
