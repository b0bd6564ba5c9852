"""What was shown of each channel, so that a reader who lost the stream goes on without gap or repeat."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gap:
    """Events of one channel that were missed: `from_seq` to `to_seq`, both included."""

    channel_id: str
    from_seq: int
    to_seq: int


class Shown:
    """Per channel, where following began and the newest seq that was shown.

    Law: what `take` lets pass is strictly rising per channel.
    """

    def __init__(self, heads: Mapping[str, int]) -> None:
        """Begin at these heads (channel id → seq): what came before them is nothing that was missed."""
        self._began = dict(heads)
        self._newest: dict[str, int] = {}

    def gaps(self, heads: Mapping[str, int]) -> list[Gap]:
        """What lies between what was shown and `heads`. A channel that is new was missed from its start."""
        gaps: list[Gap] = []
        for channel_id, head in heads.items():
            known = max(self._newest.get(channel_id, 0), self._began.get(channel_id, 0))
            if head > known:
                gaps.append(Gap(channel_id, known + 1, head))
        return gaps

    def take(self, channel_id: str, seq: int) -> bool:
        """Whether this event is to be shown now: True at most once for each."""
        if seq <= self._newest.get(channel_id, 0):
            return False
        self._newest[channel_id] = seq
        return True


def reconnect_wait_seconds(attempt: int, asked_seconds: float | None, fraction: float) -> float:
    """How long to wait before attempt 1, 2, 3 … to get the stream back. `fraction` is random in [0, 1).

    What the server asked for holds; else the wait is drawn from a range that doubles up to 5 seconds.
    """
    if asked_seconds is not None:
        return asked_seconds
    return fraction * min(5.0, 0.25 * 2.0 ** min(attempt, 10))
