"""What a person asks the server for and waits for: people, groups, invites, pins."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import parley
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure, failure_of
from parley_cli.tui.convert import message_of
from parley_cli.tui.model.message import Message

_FOUND_LIMIT = 20
_DAY_SECONDS = 86_400


class Desk:
    """One call each. All raise CommandFailure, whose words are for the person who asked."""

    def __init__(self, client: parley.Client | None, server: str) -> None:
        self._maybe_client = client
        self._server = server

    async def search_users(self, beginning: str) -> list[str]:
        """User names that begin so, or whose display names do: at most 20, without the user's own."""
        found: list[str] = []
        with self._asked() as client:
            async for user in client.search_users(beginning.removeprefix("@")):
                if user.user_id != client.me:
                    found.append(user.username)
                if len(found) == _FOUND_LIMIT:
                    break
        return found

    async def direct(self, username: str) -> str:
        """The id of the direct channel with a user, made if need be."""
        with self._asked() as client:
            return (await client.direct(f"@{username.removeprefix('@')}")).id

    async def create_group(self, title: str, usernames: list[str], client_channel_id: str) -> str:
        """The id of a new group of the user and these others."""
        with self._asked() as client:
            names = [f"@{name.removeprefix('@')}" for name in usernames]
            return (await client.create_group(title, names, client_channel_id=client_channel_id)).id

    async def join(self, code: str) -> str:
        """The id of the group that the user has joined by an invite's code."""
        with self._asked() as client:
            return (await client.join(code.strip())).id

    async def create_invite(self, channel_id: str, *, uses: int, days: int) -> str:
        """The code of a new invite, for `uses` users (0: any number) and so many days."""
        with self._asked() as client:
            channel = client.channel(channel_id)
            return (await channel.create_invite(lifetime_seconds=days * _DAY_SECONDS, uses=uses)).code

    async def pinned(self, channel_id: str) -> list[tuple[str, Message]]:
        """The pinned messages, the newest pin first, each with its author's name."""
        with self._asked() as client:
            timeline = parley.Timeline(channel_id, client.me)
            timeline.take(await client.channel(channel_id).pinned())
            messages = [message_of(each, client.me) for each in timeline.messages()]
            authors = {each.author_id for each in messages}
            names = {user_id: (await client.user(user_id)).username for user_id in authors}
            return [(names[each.author_id], each) for each in reversed(messages)]

    async def add_members(self, channel_id: str, usernames: list[str]) -> None:
        """Add users to a group, all or none."""
        with self._asked() as client:
            await client.channel(channel_id).add(f"@{name.removeprefix('@')}" for name in usernames)

    async def about_member(self, channel_id: str, user_id: str, deed: str) -> None:
        """Do what `choices_about` names: "role:admin", "remove", "ban"."""
        with self._asked() as client:
            channel = client.channel(channel_id)
            if deed.startswith("role:"):
                await channel.set_role(user_id, parley.Role[deed.removeprefix("role:").upper()])
            elif deed == "remove":
                await channel.remove(user_id)
            elif deed == "ban":
                await channel.ban(user_id)
            else:
                raise ValueError(f"no such deed: {deed}")

    async def leave(self, channel_id: str) -> None:
        """Leave a group."""
        with self._asked() as client:
            await client.channel(channel_id).leave()

    @contextmanager
    def _asked(self) -> Iterator[parley.Client]:
        if self._maybe_client is None:
            raise CommandFailure(ExitCode.UNREACHABLE, "there is no session with the server", "Wait a moment")
        try:
            yield self._maybe_client
        except parley.ParleyError as error:
            raise failure_of(error, self._server) from error
