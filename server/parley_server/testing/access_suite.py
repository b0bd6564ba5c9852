"""What every access table is asked, as tests.

A test class sets `service` and `table`. Its module runs in one loop, and its folder's conftest has the
fixtures `node`, `client`, `operator_name`, `scene` (for one test alone) and `standing_scene` (for all that
must change nothing).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from parley_server.testing.access_table import (
    METHODS,
    NO_CHANNEL,
    OK,
    OUTSIDE,
    Role,
    Row,
    Scene,
    ask,
    cell_id,
    cells,
    make_scene,
    methods_of,
    of_a_channel,
    settled_stores_of,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pytest

    from parley_server.testing.node_process import NodeProcess
    from parley_server.testing.raw_client import RawClient


class AccessSuite:
    """The table has every RPC of its service, and what it says of each caller is so."""

    service: ClassVar[str]
    """The service's full name."""
    table: ClassVar[Mapping[str, Row]]
    """One row per RPC, by full name."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """A test for each cell of the table."""
        if metafunc.definition.originalname == "test_cell":
            metafunc.parametrize(("name", "role"), list(cells(self.table)), ids=cell_id)

    async def test_every_rpc_has_a_row_and_every_row_an_rpc(self) -> None:
        """And every row an answer for every role."""
        assert set(self.table) == methods_of(self.service)
        for name, row in self.table.items():
            assert set(row.answers) == set(Role), name

    async def test_cell(
        self,
        name: str,
        role: Role,
        node: NodeProcess,
        client: RawClient,
        operator_name: str,
        standing_scene: Scene,
    ) -> None:
        """One RPC, one caller: code, reason, and whether the stores may be touched."""
        row = self.table[name]
        changes = row.changes and row.answers[role] == OK
        scene, stream = (standing_scene, None) if not changes else await make_scene(client, operator_name)
        before = await settled_stores_of(node.data)
        outcome = await ask(client, METHODS[name], row.request(scene, role), scene.of(role))
        assert outcome.brief == row.answers[role], outcome.message
        after = await settled_stores_of(node.data)
        assert (after != before) is changes
        if stream is not None:
            stream.cancel()


class ChannelAccessSuite(AccessSuite):
    """The same, and what is asked of RPCs that name a channel."""

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Also one for each RPC that names a channel, and for each of those with each who is outside."""
        if metafunc.definition.originalname == "test_cell":
            super().pytest_generate_tests(metafunc)
            return
        if "role" in metafunc.fixturenames:
            metafunc.parametrize("role", OUTSIDE, ids=cell_id)
        if "name" in metafunc.fixturenames:
            metafunc.parametrize("name", of_a_channel(self.table), ids=cell_id)

    async def test_unknown_and_foreign_channels_answer_with_equal_bytes(
        self, name: str, role: Role, client: RawClient, scene: Scene
    ) -> None:
        """Nobody can find out which channels exist: the whole status and all trailing metadata are compared.

        Planted once: a refusal that named the channel id in its message differed here.
        """
        request: Any = self.table[name].request(scene, role)
        foreign = await ask(client, METHODS[name], request, scene.of(role))
        direct_id = await client.direct(scene.people[Role.OWNER], scene.people[Role.MEMBER])
        outcomes = []
        no_ids = ("g" + "0" * 40, "d" + "f" * 40, "nonsense", "0", "\0", "채널", "x" * 4096)
        for channel_id in (direct_id, *no_ids):
            request.channel_id = channel_id
            outcomes.append(await ask(client, METHODS[name], request, scene.of(role)))
        assert foreign.brief == NO_CHANNEL
        assert foreign.trailing
        assert outcomes == [foreign] * len(outcomes)

    async def test_an_empty_channel_id_is_a_violation_of_that_field(
        self, name: str, client: RawClient, scene: Scene
    ) -> None:
        """`Required` means the same for every call; ListMessages and others once said CHANNEL_NOT_FOUND."""
        request: Any = self.table[name].request(scene, Role.OWNER)
        request.channel_id = ""
        outcome = await ask(client, METHODS[name], request, scene.of(Role.OWNER))
        assert outcome.brief == ("INVALID_ARGUMENT", "INVALID_FIELD")
        assert outcome.violated_fields == ["channel_id"]
