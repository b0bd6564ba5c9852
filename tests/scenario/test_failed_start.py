"""A node that cannot start leaves nothing behind."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Literal

import pytest

from parley_runtime.settings import AddressUnusable, Settings
from parley_server.node import open_node

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("transport", ["wire", "grpcio"])
async def test_a_taken_metrics_port_leaves_no_server(
    tmp_path: Path, transport: Literal["wire", "grpcio"]
) -> None:
    """It was found out when calls were already taken: they end before the stores close, in a process that
    goes on as in one that ends. Another start at the same address and folder succeeds.

    Planted: the server stopped only once all had started; its socket went on accepting.
    """
    path = str(tmp_path / "socket")
    before = asyncio.all_tasks()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        metrics = f"127.0.0.1:{taken.getsockname()[1]}"
        settings = Settings(
            listen=f"unix:{path}", metrics_listen=metrics, data=str(tmp_path / "node"), transport=transport
        )
        with pytest.raises(AddressUnusable, match=f"metrics on {metrics}"):
            async with open_node(settings):
                pass
    with socket.socket(socket.AF_UNIX) as client, pytest.raises(OSError, match=r"refused|No such file"):
        client.connect(path)
    assert asyncio.all_tasks() == before
    async with open_node(Settings(listen=f"unix:{path}", data=settings.data, transport=transport)) as node:
        assert node.address == settings.listen
