"""Calls to the echo service with grpcio's client."""

from __future__ import annotations

from typing import Any

import grpc.aio

from parley_wire.testing.echo_service import SERVICE


def unary_of(channel: grpc.aio.Channel) -> Any:
    """The unary method."""
    return channel.unary_unary(f"/{SERVICE}/Unary")


async def call(address: str, request: bytes = b"hi", **options: Any) -> Any:
    """One call on a channel of its own."""
    async with grpc.aio.insecure_channel(address, **options) as channel:
        return await unary_of(channel)(request, timeout=10)
