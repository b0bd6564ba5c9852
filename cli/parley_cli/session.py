"""A command's connection to the server, as a stored log-in that other processes may use too."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import parley
from parley_cli.credentials import CredentialStore, LogIn, choose, config_folder
from parley_cli.exit_codes import ExitCode
from parley_cli.failure import CommandFailure, failure_of
from parley_cli.global_options import GlobalOptions

_LOCK_LIMIT_SECONDS = 45.0
"""Longer than a renewal in another process may take, with all its retries."""

_CALL_LIMIT_SECONDS = 10.0
"""A person waits: a server that does not answer is given up sooner than by a program."""


def run(options: GlobalOptions, work: Coroutine[object, object, None]) -> None:
    """Run a command's work on an event loop of its own. Errors of the SDK become CommandFailure."""
    try:
        asyncio.run(work)
    except parley.ParleyError as error:
        raise failure_of(error, options.server) from error


def credential_store() -> CredentialStore:
    """The log-ins of whoever runs the command."""
    return CredentialStore(config_folder(os.environ))


def tls_of(*, tls: bool, tls_ca: str | Path | None) -> parley.Tls | None:
    """How to encrypt, from the options or from a stored log-in. None: not at all.

    Raises CommandFailure (LOCAL_FILE) for certificates that cannot be read.
    """
    if tls_ca is not None:
        try:
            Path(tls_ca).read_bytes()
        except OSError as error:
            raise CommandFailure(
                ExitCode.LOCAL_FILE,
                f"cannot read the certificates in {tls_ca}: {error.strerror}",
                "Check --tls-ca",
            ) from error
        return parley.Tls(tls_ca)
    return parley.Tls() if tls else None


@asynccontextmanager
async def signed_in(
    options: GlobalOptions,
    *,
    foreground: bool = False,
    on_status: Callable[[parley.ClientStatus], None] | None = None,
    on_outcome: Callable[[parley.Outcome], None] | None = None,
    state: parley.State | None = None,
) -> AsyncIterator[parley.Client]:
    """A client that speaks as the stored log-in that `options` choose. Renewed tokens are stored before use.

    `on_status`, `on_outcome` and `state` are those of `parley.connect`. Raises CommandFailure where no log-in
    can be chosen, or its file cannot be used.
    """
    store = credential_store()
    log_in = choose(store.log_ins(options.server), options.server, options.as_name)
    said = options.tls or options.tls_ca is not None
    tls = tls_of(tls=options.tls if said else log_in.tls, tls_ca=options.tls_ca if said else log_in.tls_ca)
    shared = _SharedLogIn(store, log_in)
    async with parley.connect(
        log_in.server,
        token=tokens_of(log_in),
        on_tokens=shared.store,
        reload_tokens=shared.reload,
        renewal_lock=shared.lock,
        tls=tls,
        client_name=client_name(),
        foreground=foreground,
        on_status=on_status,
        on_outcome=on_outcome,
        state=state,
        timeout_seconds=_CALL_LIMIT_SECONDS,
    ) as client:
        yield client


@asynccontextmanager
async def with_token(options: GlobalOptions, token: str) -> AsyncIterator[parley.Client]:
    """A client that speaks with a bare access token, as an operator's."""
    async with parley.connect(
        options.server,
        token=token,
        tls=tls_of(tls=options.tls, tls_ca=options.tls_ca),
        client_name=client_name(),
        timeout_seconds=_CALL_LIMIT_SECONDS,
    ) as client:
        yield client


def client_name() -> str:
    """How the command introduces itself in the server's logs."""
    from parley_cli.version import version_text

    return f"parley-cli/{version_text()}"


def tokens_of(log_in: LogIn) -> parley.Tokens:
    """The tokens of a stored log-in. Raises CommandFailure (LOCAL_FILE) when they are none."""
    try:
        return parley.Tokens.from_json(log_in.tokens_json)
    except ValueError as error:
        raise CommandFailure(
            ExitCode.LOCAL_FILE,
            f"the stored log-in of {log_in.username} cannot be understood: {error}",
            f"Log in again with `parley login {log_in.username}`",
        ) from error


class _SharedLogIn:
    """The hooks by which all processes that use one log-in take turns renewing it and share what comes of it.

    A refresh token works once. Without the lock two processes could both renew with the same one, and the
    stored pair could be the one that the server has forgotten.
    """

    def __init__(self, store: CredentialStore, log_in: LogIn) -> None:
        self._store = store
        self._log_in = log_in

    def lock(self) -> AbstractAsyncContextManager[None]:
        """Held around a renewal, from `reload` to `store`."""
        return self._store.locked_on_loop(
            self._log_in.server, self._log_in.username, limit_seconds=_LOCK_LIMIT_SECONDS
        )

    def reload(self) -> parley.Tokens | None:
        """What is stored now."""
        stored = self._store.load(self._log_in.server, self._log_in.username)
        return None if stored is None else tokens_of(stored)

    def store(self, tokens: parley.Tokens) -> None:
        """Write a renewed pair back. A log-in that `parley logout` removed meanwhile stays removed."""
        stored = self._store.load(self._log_in.server, self._log_in.username)
        if stored is not None:
            self._store.save(
                LogIn(stored.server, stored.username, tokens.to_json(), tls=stored.tls, tls_ca=stored.tls_ca)
            )
