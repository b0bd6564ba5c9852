"""Tokens as they are stored and shown."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import parley
from parley._tokens import Claims, claims_of

tokens = st.builds(
    parley.Tokens,
    user_id=st.text(),
    device_id=st.text(),
    username=st.text(),
    access_token=st.text(),
    access_expire_ms=st.integers(0, 1 << 53),
    refresh_token=st.text(),
    refresh_expire_ms=st.integers(0, 1 << 53),
)


@given(tokens)
def test_what_is_stored_comes_back(stored: parley.Tokens) -> None:
    """Planted: refresh_expire_ms left out of the JSON."""
    assert parley.Tokens.from_json(stored.to_json()) == stored


def test_secrets_are_not_shown() -> None:
    """Logs print values by repr. Planted: repr=False taken from refresh_token."""
    shown = repr(parley.Tokens("user", "device", "alice", "SECRET-1", 1, "SECRET-2", 2))
    assert "SECRET" not in shown
    assert "alice" in shown


def test_keys_of_a_newer_version_are_left_alone() -> None:
    """Planted: all keys passed to the constructor."""
    stored = parley.Tokens("user", "device", "alice", "access", 1, "refresh", 2)
    text = json.dumps({**json.loads(stored.to_json()), "region": "north"})
    assert parley.Tokens.from_json(text) == stored


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", '"SECRET"', "{}", '{"access_token": "SECRET", "access_expire_ms": "1"}']
)
def test_anything_else_is_refused_without_showing_it(text: str) -> None:
    """A broken file may still hold a secret. Planted: the text in the message."""
    with pytest.raises(ValueError, match="not stored tokens") as caught:
        parley.Tokens.from_json(text)
    assert "SECRET" not in str(caught.value)


def test_claims_are_read() -> None:
    """Planted: the lifetime in seconds."""
    body = base64.urlsafe_b64encode(json.dumps({"sub": "u", "iat": 100, "exp": 1000}).encode()).decode()
    assert claims_of(f"head.{body.rstrip('=')}.signature") == Claims("u", 900_000)


@given(
    st.one_of(
        st.text(),
        st.builds("a.{}.b".format, st.text()),
        st.builds(
            lambda value: f"a.{base64.urlsafe_b64encode(json.dumps(value).encode()).decode()}.b",
            st.recursive(
                st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
                lambda inner: (
                    st.lists(inner) | st.dictionaries(st.sampled_from(["sub", "iat", "exp"]), inner)
                ),
            ),
        ),
    )
)
def test_what_cannot_be_read_is_unknown(token: str) -> None:
    """An operator's token may be anything. Planted: no check that claims are an object."""
    claims = claims_of(token)
    assert claims.lifetime_ms >= 0
