"""The rules of request fields, as the contract documents them. Pure; every fault of a request is reported
at once.
"""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from parley_runtime.refusal import Reason, Refusal, Violation
from parley_server.accounts.ids import is_request_id
from parley_server.accounts.names import LONGEST_NAME, username_fault

if TYPE_CHECKING:
    from collections.abc import Sequence

SHORTEST_PASSWORD = 8
LONGEST_PASSWORD = 256
LONGEST_ABOUT = 512
LONGEST_AVATAR_URL_BYTES = 2048
MOST_USER_IDS = 200
PROFILE_PATHS = ("display_name", "about", "avatar_url")


def check_new_account(username: str, password: str, display_name: str, request_id: str) -> None:
    """The rules of SignUp and CreateUser, but for the device. Raises Refusal INVALID_FIELD with every
    violation.
    """
    _refuse(_new_account_faults(username, password, display_name, request_id))


def check_sign_up(username: str, password: str, display_name: str, device_name: str, request_id: str) -> None:
    """The rules of SignUp. Raises Refusal INVALID_FIELD with every violation."""
    faults = _new_account_faults(username, password, display_name, request_id)
    _refuse({**faults, "device_name": _line_fault(device_name)})


def check_log_in(username: str, password: str, device_name: str, request_id: str) -> None:
    """The rules of LogIn. A name or password that no account can have is for the log-in itself to refuse."""
    _refuse(
        {
            "username": None if username else "is required",
            "password": _length_fault(password, 1, LONGEST_PASSWORD),
            "device_name": _line_fault(device_name),
            "request_id": _request_id_fault(request_id),
        }
    )


def check_password_change(old_password: str, new_password: str) -> None:
    """The rules of ChangePassword. An old password that no account can have is for the check itself to
    refuse.
    """
    _refuse(
        {
            "old_password": _length_fault(old_password, 1, LONGEST_PASSWORD),
            "new_password": _length_fault(new_password, SHORTEST_PASSWORD, LONGEST_PASSWORD),
        }
    )


def check_new_password(new_password: str) -> None:
    """The rule of ResetPassword."""
    _refuse({"new_password": _length_fault(new_password, SHORTEST_PASSWORD, LONGEST_PASSWORD)})


def check_given_password(password: str) -> None:
    """The rule of DeleteAccount."""
    _refuse({"password": _length_fault(password, 1, LONGEST_PASSWORD)})


def check_profile(paths: Sequence[str], display_name: str, about: str, avatar_url: str) -> None:
    """The rules of UpdateProfile for the fields that `paths` names."""
    if not paths:
        mask_fault: str | None = f"is required: name any of {', '.join(PROFILE_PATHS)}"
    elif unknown := sorted(set(paths) - set(PROFILE_PATHS)):
        mask_fault = f"may name {', '.join(PROFILE_PATHS)} only, not {', '.join(map(_shown, unknown[:3]))}"
    else:
        mask_fault = None
    _refuse(
        {
            "user.display_name": _line_fault(display_name) if "display_name" in paths else None,
            "user.about": _about_fault(about) if "about" in paths else None,
            "user.avatar_url": _avatar_url_fault(avatar_url) if "avatar_url" in paths else None,
            "update_mask": mask_fault,
        }
    )


def check_user_ids(user_ids: Sequence[str]) -> None:
    """The rule of BatchGetUsers: 1 to 200 ids."""
    fault = None if 1 <= len(user_ids) <= MOST_USER_IDS else f"must hold 1 to {MOST_USER_IDS} ids"
    _refuse({"user_ids": fault})


def check_search(query: str) -> None:
    """The rule of SearchUsers: 1 to 64 code points."""
    _refuse({"query": _length_fault(query, 1, LONGEST_NAME)})


def _refuse(faults: dict[str, str | None]) -> None:
    violations = tuple(Violation(path, fault) for path, fault in faults.items() if fault is not None)
    if violations:
        message = "; ".join(f"{violation.field}: {violation.description}" for violation in violations)
        raise Refusal(Reason.INVALID_FIELD, message, violations=violations)


def _new_account_faults(
    username: str, password: str, display_name: str, request_id: str
) -> dict[str, str | None]:
    return {
        "username": username_fault(username),
        "password": _length_fault(password, SHORTEST_PASSWORD, LONGEST_PASSWORD),
        "display_name": _line_fault(display_name),
        "request_id": _request_id_fault(request_id),
    }


def _request_id_fault(text: str) -> str | None:
    return (
        None
        if is_request_id(text)
        else "must be a UUID in lower-case text, new for every request but a retry"
    )


def _length_fault(text: str, least: int, most: int) -> str | None:
    if not text:
        return "is required"
    return None if least <= len(text) <= most else f"must have {least} to {most} characters"


def _line_fault(text: str) -> str | None:
    if len(text) > LONGEST_NAME:
        return f"must have at most {LONGEST_NAME} characters"
    return "must not hold control characters" if _has_control(text, allowed="") else None


def _about_fault(text: str) -> str | None:
    if len(text) > LONGEST_ABOUT:
        return f"must have at most {LONGEST_ABOUT} characters"
    return (
        "must not hold control characters but line breaks and tabs" if _has_control(text, "\n\r\t") else None
    )


def _has_control(text: str, allowed: str) -> bool:
    # NUL cannot be stored by every database; escape sequences would reach other people's terminals.
    return any(unicodedata.category(character) == "Cc" and character not in allowed for character in text)


def _avatar_url_fault(text: str) -> str | None:
    if not text:
        return None
    if len(text.encode()) > LONGEST_AVATAR_URL_BYTES:
        return f"must have at most {LONGEST_AVATAR_URL_BYTES} bytes"
    fault = "must be an https address such as https://example.org/me.png, or empty"
    if any(character.isspace() for character in text) or _has_control(text, allowed=""):
        return fault
    try:
        parts = urlsplit(text)
        valid = parts.scheme == "https" and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    return None if valid and "@" not in parts.netloc else fault


def _shown(text: str) -> str:
    return repr(text[:40])
