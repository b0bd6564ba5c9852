"""A bot that answers every message with the same text, once, whatever happens to it.

It signs up on its first run and keeps its log-in in a file, and beside it how far it has come. After that it
needs no password until the file is gone or the log-in has been revoked. What is written while it is not
running, or its connection is down, it answers when it is back.

    ECHO_BOT_PASSWORD='a long password' python examples/echo_bot.py --server localhost:50051

Then write to it: parley send @echo < letter.txt
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from pathlib import Path

import parley


async def answer_all(client: parley.Client) -> None:
    """Answer until cancelled. Raises ParleyError when waiting does not help."""
    stream = client.events()
    await stream.ready()
    print("Ready. Ctrl-C ends it.", flush=True)
    async for event in stream:  # Asking for the next event acknowledges the one before.
        if not isinstance(event, parley.MessageEvent) or event.actor_id == client.me:
            continue
        # If the bot is killed before the event is acknowledged it meets it again, and the answer has the same
        # id: it is not written twice.
        await client.channel(event.channel_id).post(
            event.text, client_message_id=parley.derived_id(event, "echo")
        )


def told(outcome: parley.Outcome) -> None:
    """Say when an answer was refused."""
    if outcome.error is not None:
        print(f"Not answered in {outcome.channel_id}: {outcome.error}", flush=True)


def changed(status: parley.ClientStatus) -> None:
    """Say when the connection is gone."""
    if status.phase is parley.Phase.WAITING:
        print(f"{status.last_error}\nComing back in {status.retry_in_seconds:.1f} s.", flush=True)


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
        server,
        token=tokens,
        on_tokens=lambda new: store(new, file),
        state=parley.SqliteState(file.with_name(file.name + ".state")),
        on_outcome=told,
        on_status=changed,
        client_name="echo_bot/1",
    ) as client:
        print(f"{tokens.username} is {client.me}.", flush=True)
        await answer_all(client)


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
    except (OSError, ValueError, parley.StateError) as error:
        sys.exit(f"echo_bot: {given.tokens}: {error}")
