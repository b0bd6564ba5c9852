"""Deriving the projections of `chat.db` from its logs: what is missing, or all anew."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from parley_server.chat.activation import ActivationLimits, catch_up

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_server.backends.sqlite.message_log import SqliteMessageLog
    from parley_server.backends.sqlite.projections import SqliteProjections

_CHANNELS_AT_ONCE: Final = 10_000


async def catch_up_all(message_log: SqliteMessageLog, projections: SqliteProjections) -> None:
    """Apply what the logs hold beyond the projections: before anybody reads, or erases what is due.

    A power cut takes what was projected last, though not what was committed: an acknowledged message would be
    missing from inboxes until somebody wrote to its channel again, and a deletion would not be due.
    """
    limits = ActivationLimits()
    while channel_ids := await projections.behind(limit=_CHANNELS_AT_ONCE):
        for channel_id in channel_ids:
            await catch_up(channel_id, message_log, projections, limits)


async def rebuild(
    message_log: SqliteMessageLog,
    projections: SqliteProjections,
    *,
    progress: Callable[[int, int], None],
) -> None:
    """Drop every projected row and derive it again. Logs, positions and what was fanned out stay as they are.

    `progress` is told how many channels are done, of how many. Nobody else may use the file meanwhile. When
    it is interrupted, `behind` names the channels that are still to do, and the next start of a node does
    them. All erasures become due again, which is harmless. Raises StoreUnavailable, and ValueError for a log
    that was damaged.
    """
    await projections.clear()
    total = await message_log.channels()
    done = 0
    progress(done, total)
    limits = ActivationLimits()
    while channel_ids := await projections.behind(limit=_CHANNELS_AT_ONCE):
        for channel_id in channel_ids:
            await catch_up(channel_id, message_log, projections, limits)
            done += 1
            progress(done, total)
