"""A bot that answers every message with the same text.

It signs up on its first run and keeps its log-in in a file. After that it needs no password until the file is
gone or the log-in has been revoked. What is written while its connection is down it answers when it is back.

    ECHO_BOT_PASSWORD='a long password' python examples/echo_bot.py --server localhost:50051

Then write to it: parley send @echo < letter.txt
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
from pathlib import Path

import parley


class EchoBot:
    """Answers what others write; knows how far it has come in each channel."""

    def __init__(self, client: parley.Client) -> None:
        self._client = client
        self._seen: dict[str, int] | None = None  # By channel id, the newest seq that was looked at.

    async def run(self) -> None:
        """Answer until cancelled. Raises ParleyError when waiting does not help."""
        while True:
            try:
                await self._follow()
            except parley.ParleyError as error:
                if error.advice in (parley.Advice.REAUTHENTICATE, parley.Advice.GIVE_UP):
                    raise
                wait_seconds = error.retry_after_seconds or random.uniform(0.0, 2.0)
                print(f"{error}\nComing back in {wait_seconds:.1f} s.", flush=True)
                await asyncio.sleep(wait_seconds)

    async def _follow(self) -> None:
        """Catch up, then answer live, until the stream breaks."""
        stream = self._client.events()
        await stream.ready()
        heads = {channel_id: head.head_seq for channel_id, head in stream.heads.items()}
        if self._seen is None:
            self._seen = heads  # What was written before the bot was started is not answered.
            print("Ready. Ctrl-C ends it.", flush=True)
        for channel_id, head_seq in heads.items():
            if self._seen.get(channel_id, 0) < head_seq:
                channel = self._client.channel(channel_id)
                async for event in channel.event_range(self._seen.get(channel_id, 0) + 1, head_seq):
                    await self._look_at(event)
        async for event in stream:
            await self._look_at(event)

    async def _look_at(self, event: parley.Event) -> None:
        assert self._seen is not None
        if event.seq <= self._seen.get(event.channel_id, 0):
            return
        if isinstance(event, parley.MessageEvent) and event.actor_id != self._client.me:
            try:
                await self._client.channel(event.channel_id).send(event.text)
            except parley.ChannelNotFound:
                print(f"No longer in {event.channel_id}.", flush=True)
        self._seen[event.channel_id] = event.seq


async def log_in(server: str, username: str, password: str) -> parley.Tokens:
    """The tokens of a new device of the bot, whose account is made if need be."""
    if not password:
        raise SystemExit("echo_bot: set ECHO_BOT_PASSWORD to the bot's password, at least 8 characters")
    try:
        return await parley.sign_up(server, username, password, device_name="echo_bot.py")
    except parley.UsernameTaken:
        return await parley.log_in(server, username, password, device_name="echo_bot.py")


def stored(file: Path) -> parley.Tokens | None:
    """The tokens of an earlier run, if there are any. Raises ValueError for a file of another kind."""
    return parley.Tokens.from_json(file.read_text(encoding="utf-8")) if file.exists() else None


def store(tokens: parley.Tokens, file: Path) -> None:
    """Keep the tokens where only the own user may read them. A crash leaves the old or the new file."""
    new = file.with_name(file.name + ".new")
    new.unlink(missing_ok=True)
    with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        out.write(tokens.to_json())
    new.replace(file)


async def main(server: str, username: str, password: str, file: Path) -> None:
    """Run the bot. Raises ParleyError."""
    tokens = stored(file)
    if tokens is None:
        tokens = await log_in(server, username, password)
        store(tokens, file)
    async with parley.connect(
        server, token=tokens, on_tokens=lambda new: store(new, file), client_name="echo_bot/1"
    ) as client:
        print(f"{tokens.username} is {client.me}.", flush=True)
        await EchoBot(client).run()


if __name__ == "__main__":
    # gRPC reads this when it is first loaded. Its notes on lost connections would stand among our lines.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    parser = argparse.ArgumentParser(
        description="Answers every message with the same text.",
        epilog="The password is read from ECHO_BOT_PASSWORD, on the first run only.",
    )
    parser.add_argument("--server", default="localhost:50051", help="host:port (default: %(default)s)")
    parser.add_argument("--username", default="echo", help="the bot's user name (default: %(default)s)")
    parser.add_argument(
        "--tokens", type=Path, default=Path("echo_bot.tokens"), help="where to keep the log-in (%(default)s)"
    )
    given = parser.parse_args()
    try:
        asyncio.run(main(given.server, given.username, os.environ.get("ECHO_BOT_PASSWORD", ""), given.tokens))
    except KeyboardInterrupt:
        print("Goodbye.")
    except parley.ParleyError as error:
        hint = ""
        if error.advice is parley.Advice.REAUTHENTICATE:
            hint = f" Remove {given.tokens} and start again with ECHO_BOT_PASSWORD set."
        sys.exit(f"echo_bot: {error}{hint}")
    except (OSError, ValueError) as error:
        sys.exit(f"echo_bot: {given.tokens}: {error}")
