"""Compares what an SDK stream handed out with the log. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


def stream_findings(
    handed_out: Iterable[tuple[str, int]], expected: Mapping[str, Sequence[int]]
) -> list[str]:
    """What is wrong with a stream's events, given as (channel id, seq) in the order in which they came.

    `expected` are the seqs of each channel that the device must have been handed: those of the log within
    the user's memberships, from where the device began. Empty when each came once, in order.
    """
    seen: dict[str, list[int]] = defaultdict(list)
    findings: list[str] = []
    for channel_id, seq in handed_out:
        if seq in seen[channel_id]:
            findings.append(f"{channel_id}: {seq} came again")
        elif seen[channel_id] and seq < seen[channel_id][-1]:
            findings.append(f"{channel_id}: {seq} came after {seen[channel_id][-1]}")
        seen[channel_id].append(seq)
    for channel_id in sorted(seen.keys() | expected.keys()):
        had, wanted = set(seen[channel_id]), set(expected.get(channel_id, ()))
        if missing := sorted(wanted - had):
            findings.append(f"{channel_id}: {missing} never came")
        if foreign := sorted(had - wanted):
            findings.append(f"{channel_id}: {foreign} are not the user's to see")
    return findings
