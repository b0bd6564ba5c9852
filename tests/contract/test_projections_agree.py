"""The two backends of Projections give the same answers to the same logs."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import pytest

from parley_server.backends.memory.projections import MemoryProjections
from parley_server.backends.sqlite.database import ChatDatabase
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.chat.event import ChannelKind, HistoryVisibility
from parley_server.testing.channel_histories import USERS, history, random_steps

if TYPE_CHECKING:
    from pathlib import Path

    from parley_server.ports.projections import Projections

NAMES = ("a", "b", "direct", "from start")


async def answers(projections: Projections, heads: dict[str, int]) -> list[object]:
    """What the projections say to every question."""
    said: list[object] = []
    for name, head in heads.items():
        said.append(await projections.channel(name))
        said.append(await projections.members(name, after_user_id="", limit=99))
        said.append(await projections.pins(name))
        said.append(await projections.invites(name))
        said.append(await projections.bans(name, after_user_id="", limit=99))
        for viewer_id in USERS:
            said.append(await projections.message_states(name, range(head + 2), viewer_id=viewer_id))
            said.append(await projections.message_states(name, (head, 4, head // 2), viewer_id=viewer_id))
        for seq in range(head + 2):
            said.append(await projections.edits_of(name, seq))
            said.append(await projections.thread(name, seq, before_seq=head - 3, limit=3))
            said.append([await projections.own_reactions(name, seq, user_id) for user_id in USERS])
    for user_id in USERS:
        said.append(await projections.memberships_of(user_id, after_channel_id="", limit=99))
        said.append(await projections.inbox(user_id, before=None, limit=99))
        said.append(await projections.channels_of(user_id, after_channel_id="b", limit=99))
    said.append(await projections.erasures_due(after=("", 0), limit=9999))
    said.append(await projections.erasures_due(after=("b", 7), limit=3))
    return said


@pytest.mark.parametrize("seed", range(4))
async def test_memory_and_sqlite_agree_at_every_moment(tmp_path: Path, seed: int) -> None:
    """Histories side by side, cut differently for each backend. Caught when memory ordered an emoji's users
    by their ids.
    """
    chooser = random.Random(seed)
    logs = {
        name: history(
            name,
            random_steps(chooser, 250),
            kind=ChannelKind.DIRECT if name == "direct" else ChannelKind.GROUP,
            visibility=HistoryVisibility.FROM_START
            if name == "from start"
            else HistoryVisibility.FROM_JOINING,
        )
        for name in NAMES
    }
    database = await ChatDatabase.open(tmp_path / "chat.db")
    try:
        both: tuple[Projections, ...] = (MemoryProjections(), SqliteProjections(database))
        for part in range(1, 6):
            heads = {name: len(events) * part // 5 for name, events in logs.items()}
            for projections in both:
                for name, events in logs.items():
                    done = await projections.watermark(name)
                    while done < heads[name]:
                        upto = min(heads[name], done + chooser.randint(1, 10))
                        await projections.apply(name, events[done:upto])
                        done = upto
            memory, sqlite = [await answers(projections, heads) for projections in both]
            assert memory == sqlite
            for name, seq in (await both[0].erasures_due(after=("", 0), limit=9999))[::3]:
                for projections in both:
                    await projections.erasure_done(name, seq)
    finally:
        await database.close()
