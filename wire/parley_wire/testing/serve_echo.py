"""The echo service in a process of its own, for tests that send signals. `python -m
parley_wire.testing.serve_echo <address> [certificate key]` prints the port, serves until SIGTERM, then stops
with ten seconds of grace. Several may have one port.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from typing import TYPE_CHECKING

import uvloop

from parley_wire.credentials import tls_server_credentials
from parley_wire.options import ServerOptions
from parley_wire.server import Server
from parley_wire.testing.echo_service import EchoService

if TYPE_CHECKING:
    import grpc.aio

GRACE_SECONDS = 10.0


class NamedEchoService(EchoService):
    """Answers "who" with its process's number."""

    async def unary(self, request: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        if request == b"who":
            return str(os.getpid()).encode()
        return await super().unary(request, context)


async def serve(address: str, certificate_file: str = "", key_file: str = "") -> None:
    """Serve until SIGTERM."""
    server = Server(ServerOptions(reuse_port=True))
    NamedEchoService().add_to(server)
    if certificate_file:
        port = server.add_secure_port(address, tls_server_credentials(certificate_file, key_file))
    else:
        port = server.add_insecure_port(address)
    told = asyncio.Event()
    server.loop.add_signal_handler(signal.SIGTERM, told.set)
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await told.wait()
    await server.stop(GRACE_SECONDS)


if __name__ == "__main__":
    # As nodes do; servers inside the tests run on asyncio's own loop.
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(*sys.argv[1:]))
