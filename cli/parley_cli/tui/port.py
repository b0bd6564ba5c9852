"""What the window needs of a session with the server."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from parley_cli.global_options import GlobalOptions
from parley_cli.tui.model import actions as act
from parley_cli.tui.model.commands import Command
from parley_cli.tui.model.message import Message

Emit = Callable[[act.FromSession], None]


class DeskPort(Protocol):
    """One call each, as `Desk` describes them. All raise CommandFailure."""

    async def search_users(self, beginning: str) -> list[str]: ...

    async def direct(self, username: str) -> str: ...

    async def create_group(self, title: str, usernames: list[str], client_channel_id: str) -> str: ...

    async def join(self, code: str) -> str: ...

    async def create_invite(self, channel_id: str, *, uses: int, days: int) -> str: ...

    async def pinned(self, channel_id: str) -> list[tuple[str, Message]]: ...

    async def add_members(self, channel_id: str, usernames: list[str]) -> None: ...

    async def about_member(self, channel_id: str, user_id: str, deed: str) -> None: ...

    async def leave(self, channel_id: str) -> None: ...


class SessionPort(Protocol):
    """One log-in at work."""

    @property
    def desk(self) -> DeskPort:
        """What a person asks for and waits for."""
        ...

    async def run(self) -> None:
        """Be the session until cancelled."""
        ...

    def submit(self, command: Command) -> None:
        """Do what the command says; what comes of it comes as actions."""
        ...


OpenSession = Callable[[GlobalOptions, str, Emit], SessionPort]
"""Makes the session of a user name; what happens in it goes to the Emit."""
