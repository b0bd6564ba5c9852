"""Several processes use one stored log-in, whose refresh token works only once."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import parley
from parley_cli.credentials import CredentialStore, LogIn

if TYPE_CHECKING:
    from parley_server.testing.node_process import NodeProcess


def _stored(store: CredentialStore, server: str) -> parley.Tokens:
    log_in = store.load(server, "alice")
    assert log_in is not None
    return parley.Tokens.from_json(log_in.tokens_json)


async def test_a_process_waits_for_the_renewal_of_another_and_takes_it_over(
    node: NodeProcess, terminal: Any
) -> None:
    """This test is the other process. Planted: a client without the lock renewed beside it."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    store = CredentialStore(terminal.home)
    # As if the access token had run out: every process that starts now wants to renew it.
    old = replace(_stored(store, node.address), access_expire_ms=1)
    store.save(LogIn(node.address, "alice", old.to_json()))
    (lock_file,) = terminal.home.rglob("*.lock")

    with store.locked(node.address, "alice"):
        other = await terminal.start("whoami", "--json")
        async with asyncio.timeout(30):
            while not other.has_open(lock_file):
                assert not other.ended_by_now, await other.ended()
                await asyncio.sleep(0.01)
        assert _stored(store, node.address) == old

        def save(tokens: parley.Tokens) -> None:
            store.save(LogIn(node.address, "alice", tokens.to_json()))

        async with parley.connect(node.address, token=old, on_tokens=save) as client:
            await client.user("me")
        renewed = _stored(store, node.address)
        assert renewed.refresh_token != old.refresh_token

    done = await other.ended()
    assert (done.code, done.err) == (0, "")
    assert json.loads(done.out)["username"] == "alice"
    assert _stored(store, node.address) == renewed


async def test_a_renewal_is_written_back(node: NodeProcess, terminal: Any) -> None:
    """Planted: a client without `on_tokens` left the used refresh token in the file."""
    terminal.environ["PARLEY_SERVER"] = node.address
    await terminal.sign_up("alice")
    store = CredentialStore(terminal.home)
    old = replace(_stored(store, node.address), access_expire_ms=1)
    store.save(LogIn(node.address, "alice", old.to_json()))
    await terminal.ok("whoami")
    renewed = _stored(store, node.address)
    assert renewed.refresh_token != old.refresh_token
    await terminal.ok("whoami")
    assert _stored(store, node.address) == renewed
