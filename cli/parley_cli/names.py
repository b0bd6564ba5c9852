"""Names for ids: users are shown by the name that people type, channels by @partner or #title."""

from __future__ import annotations

from collections.abc import Iterable

import parley

_REMEMBERED_LIMIT = 10_000
"""Names kept in memory. Beyond, those not needed now are forgotten and asked for again when they are."""


class Names(dict[str, str]):
    """User names by user id. A user name never changes, so each is asked for once.

    The user name is shown, not the display name: it is unique, so nobody can pass for another.
    """

    def __init__(self, client: parley.Client) -> None:
        super().__init__()
        self._client = client

    async def learn(self, user_ids: Iterable[str]) -> None:
        """After it every id has a name; the id itself for a user that the server does not know."""
        wanted = set(user_ids)
        if len(self.keys() | wanted) > _REMEMBERED_LIMIT:
            for known in self.keys() - wanted:
                del self[known]
        for user_id in wanted - self.keys():
            try:
                self[user_id] = (await self._client.user(user_id)).username
            except parley.UserNotFound:
                self[user_id] = user_id


class Labels:
    """How channels are called: `@bob` for the direct channel with bob, `#title` for a group."""

    def __init__(self, client: parley.Client, names: Names) -> None:
        self._client = client
        self._names = names
        self._labels: dict[str, str] = {}

    async def learn(self, entry: parley.InboxEntry) -> str:
        """Take the label from a line of the inbox, which says all that is needed."""
        if entry.peer_user_id:
            await self._names.learn([entry.peer_user_id])
            label = f"@{self._names[entry.peer_user_id]}"
        else:
            label = f"#{entry.channel.title}"
        return self._remember(entry.channel.channel_id, label)

    def changed(self, event: parley.Event) -> None:
        """Forget a label that the event may have changed."""
        if isinstance(event, parley.ChannelEvent):
            self._labels.pop(event.channel_id, None)

    async def label(self, channel_id: str) -> str:
        """The channel's label. The id itself for a channel that the caller may not see any more."""
        known = self._labels.get(channel_id)
        if known is not None:
            return known
        channel = self._client.channel(channel_id)
        try:
            info = await channel.info()
            if info.kind != parley.ChannelKind.DIRECT:
                return self._remember(channel_id, f"#{info.title}")
            others = [
                member.user_id async for member in channel.members() if member.user_id != self._client.me
            ]
        except parley.ChannelNotFound:
            return channel_id
        await self._names.learn(others)
        return self._remember(channel_id, " ".join(f"@{self._names[user_id]}" for user_id in others))

    def _remember(self, channel_id: str, label: str) -> str:
        if len(self._labels) >= _REMEMBERED_LIMIT:
            self._labels.clear()
        self._labels[channel_id] = label
        return label
