"""Field rules, as the contract documents them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from parley_runtime.refusal import Reason, Refusal
from parley_server.accounts import validation

if TYPE_CHECKING:
    from collections.abc import Callable

REQUEST_ID = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b"


def faults_of(check: Callable[..., None], *arguments: object) -> dict[str, str]:
    try:
        check(*arguments)
    except Refusal as refusal:
        assert refusal.reason is Reason.INVALID_FIELD
        return {violation.field: violation.description for violation in refusal.violations}
    return {}


def test_every_fault_is_reported_at_once() -> None:
    """Planted: only the first violation passed on; found by the set of fields."""
    faults = faults_of(validation.check_sign_up, "", "short", "n" * 65, "\x1b[2J", "no uuid")
    assert set(faults) == {"username", "password", "display_name", "device_name", "request_id"}


@pytest.mark.parametrize(
    ("password", "fine"),
    [
        ("1234567", False),
        ("12345678", True),
        ("한" * 7, False),
        ("한" * 8, True),
        ("한" * 256, True),
        ("x" * 256, True),
        ("x" * 257, False),
        ("", False),
    ],
)
def test_passwords_are_counted_in_code_points(password: str, fine: bool) -> None:
    """Planted: bytes counted; found by Korean text. Planted: a border moved by one; found by the borders."""
    faults = faults_of(validation.check_new_account, "bob", password, "", REQUEST_ID)
    assert faults.keys() == (set() if fine else {"password"})
    assert password not in faults.get("password", "").split() or password == ""


@pytest.mark.parametrize(
    "request_id",
    [
        "",
        "x",
        REQUEST_ID.upper(),
        f"{{{REQUEST_ID}}}",
        REQUEST_ID.replace("-", ""),
        REQUEST_ID + "\n",
        "urn:uuid:" + REQUEST_ID,
    ],
)
def test_a_request_id_is_a_uuid_in_lower_case(request_id: str) -> None:
    """Planted: `$` for the end of the pattern; found by the line break."""
    assert faults_of(validation.check_log_in, "bob", "12345678", "", request_id).keys() == {"request_id"}


def test_log_in_leaves_unlikely_credentials_to_the_log_in() -> None:
    """A name that nobody can have is BAD_CREDENTIALS, not a hint. Planted: sign-up's rules; found by both."""
    assert faults_of(validation.check_log_in, "no such name!", "short", "", REQUEST_ID) == {}
    faults = faults_of(validation.check_log_in, "", "x" * 257, "", REQUEST_ID)
    assert faults.keys() == {"username", "password"}


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("", True),
        ("https://example.org/me.png?size=2#x", True),
        ("https://example.org:8443/한글.png", True),
        ("https://[2001:db8::1]/me.png", True),
        ("https://example.org/" + "x" * 2028, True),
        ("https://example.org/" + "x" * 2029, False),
        ("http://example.org/me.png", False),
        ("https:///me.png", False),
        ("https://", False),
        ("//example.org/me.png", False),
        ("javascript:alert(1)", False),
        ("https://user:word@example.org/me.png", False),
        ("https://exa mple.org/", False),
        ("https://example.org/\n", False),
        ("https://[::1/", False),
        ("https://example.org:99999/", False),
    ],
)
def test_a_picture_is_an_https_address(url: str, fine: bool) -> None:
    """Planted: only the beginning looked at; found by the address without a host."""
    faults = faults_of(validation.check_profile, ["avatar_url"], "", "", url)
    assert faults.keys() == (set() if fine else {"user.avatar_url"})


def test_only_fields_of_the_mask_are_read() -> None:
    """Planted: all fields checked; found by the first line."""
    assert faults_of(validation.check_profile, ["about"], "n" * 65, "fine\n", "ftp://x") == {}
    assert faults_of(validation.check_profile, [], "", "", "").keys() == {"update_mask"}
    faults = faults_of(validation.check_profile, ["about", "username"], "", "x" * 513, "")
    assert faults.keys() == {"update_mask", "user.about"}
    assert "username" in faults["update_mask"]


@pytest.mark.parametrize("count", [0, 201])
def test_a_batch_has_1_to_200_ids(count: int) -> None:
    assert faults_of(validation.check_user_ids, ["u"] * count).keys() == {"user_ids"}
    assert faults_of(validation.check_user_ids, ["u"] * 200) == {}


def test_text_that_databases_or_terminals_choke_on_is_refused() -> None:
    """Planted: control characters let through; found by NUL and escape."""
    for text in ("a\x00b", "a\x1b[31m", "a\u0085"):
        assert faults_of(validation.check_profile, ["display_name"], text, "", "").keys() == {
            "user.display_name"
        }
        assert faults_of(validation.check_profile, ["about"], "", text, "").keys() == {"user.about"}
