"""People and programs, as their profiles show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley.user.v1 import user_pb2


@dataclass(frozen=True, slots=True)
class User:
    """A user's public profile. `create_time_ms` is in milliseconds since 1970-01-01 UTC."""

    user_id: str
    username: str
    display_name: str
    about: str
    avatar_url: str
    create_time_ms: int

    @property
    def name(self) -> str:
        """The name that people read: the display name, else the user name."""
        return self.display_name or self.username


def user_of(user: user_pb2.User) -> User:
    """The profile that a message of the contract carries."""
    return User(
        user_id=user.user_id,
        username=user.username,
        display_name=user.display_name,
        about=user.about,
        avatar_url=user.avatar_url,
        create_time_ms=user.create_time.ToMilliseconds(),
    )
