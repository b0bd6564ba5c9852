"""What `parley up` prints once the node is there: what to type next, ready to be copied."""

from __future__ import annotations

import os
import shlex
import shutil
from pathlib import Path

from parley_cli.global_options import DEFAULT_SERVER, UNIX


def next_steps(*, program: str, address: str, data: str, tls: bool) -> list[str]:
    """Lines that say where the node is and what two people would type. `address` is HOST:PORT as bound,
    or unix:PATH.
    """
    client = f"{program}{_client_options(address, tls)}"
    return [
        f"Parley is running on {address}. Everything it keeps is in {data}. Ctrl-C stops it.",
        "",
        "In a second terminal, be alice and see what comes in:",
        f"  {client} signup alice",
        f"  {client} --as alice tail",
        "",
        "In a third terminal, be bob and write to her:",
        f"  {client} signup bob",
        f"  {client} --as bob send @alice 'Hello!'",
        "",
        f"More: {program} --help",
    ]


def client_address(address: str) -> str:
    """Where a client on this machine reaches a node bound to `address`: any-addresses become loopback, and
    the path of a socket absolute.
    """
    if address.startswith(UNIX):
        return UNIX + os.path.abspath(address.removeprefix(UNIX))
    host, _, port = address.rpartition(":")
    return f"{ {'0.0.0.0': '127.0.0.1', '': '127.0.0.1', '[::]': '[::1]'}.get(host, host) }:{port}"


def program_name(argument_zero: str, search_path: str | None, folder: Path, interpreter: str) -> str:
    """How a person in `folder` calls this program again.

    `argument_zero` is how it was called. The answer is its bare name if `search_path` leads to it, else its
    path, relative where it lies below `folder`; for `python -m parley_cli` it is the same by `interpreter`.
    """
    called = Path(argument_zero)
    if called.name == "__main__.py":
        return f"{shlex.quote(interpreter)} -m parley_cli"
    found = shutil.which(called.name, path=search_path)
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return shlex.quote(called.name)
    path = folder / called
    if path.is_relative_to(folder):
        path = path.relative_to(folder)
        return shlex.quote(str(path) if len(path.parts) > 1 else f"./{path}")
    return shlex.quote(str(path))


def _client_options(address: str, tls: bool) -> str:
    server = client_address(address)
    options = "" if server == DEFAULT_SERVER else f" --server {shlex.quote(server)}"
    return options + (" --tls" if tls else "")
