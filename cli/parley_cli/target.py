"""What a person types to name a conversation: @user, '#title' or a channel id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure


@dataclass(frozen=True, slots=True)
class UserTarget:
    """The direct channel with one user."""

    username: str


@dataclass(frozen=True, slots=True)
class TitleTarget:
    """The one group of this title among the caller's own."""

    title: str


@dataclass(frozen=True, slots=True)
class ChannelTarget:
    """A channel by its id."""

    channel_id: str


Target = UserTarget | TitleTarget | ChannelTarget


def parse_target(text: str) -> Target:
    """Read a TARGET. Raises CommandFailure (USAGE) for one that can name nothing."""
    if text.startswith("@"):
        return UserTarget(parse_user(text))
    if text.startswith("#"):
        if len(text) == 1:
            raise CommandFailure(ExitCode.USAGE, "the title after # is missing", "Write '#title', in quotes")
        return TitleTarget(text[1:])
    if not text.strip():
        raise CommandFailure(
            ExitCode.USAGE, "the target is empty", "Write @user, '#title' in quotes, or a channel id"
        )
    return ChannelTarget(text)


def parse_user(text: str) -> str:
    """Read the name of a user; the @ may be left out where only a user can stand.

    Raises CommandFailure (USAGE) for an empty name.
    """
    name = text.removeprefix("@")
    if not name.strip():
        raise CommandFailure(ExitCode.USAGE, "the user name is missing", "Write @user")
    return name


def choose_by_title(title: str, channels: Iterable[tuple[str, str]]) -> str:
    """The id of the one channel among `channels` (id, title) that has this title.

    Raises CommandFailure (REFUSED) when there is none, (USAGE) when there are several.
    """
    found = [channel_id for channel_id, candidate in channels if candidate == title]
    if not found:
        raise CommandFailure(
            ExitCode.REFUSED,
            f"you are in no group called #{title}",
            "See your channels with `parley channels`",
        )
    if len(found) > 1:
        ids = ", ".join(found)
        raise CommandFailure(
            ExitCode.USAGE, f"{len(found)} of your groups are called #{title}", f"Use one of the ids: {ids}"
        )
    return found[0]
