"""Log-ins of a user that can be listed and revoked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from parley.auth.v1 import device_pb2


@dataclass(frozen=True, slots=True)
class Device:
    """One log-in. Times are in milliseconds since 1970-01-01 UTC; `current` marks the device that asks."""

    device_id: str
    device_name: str
    create_time_ms: int
    refresh_time_ms: int
    current: bool


def device_of(device: device_pb2.Device) -> Device:
    """The device that a message of the contract carries."""
    return Device(
        device_id=device.device_id,
        device_name=device.device_name,
        create_time_ms=device.create_time.ToMilliseconds(),
        refresh_time_ms=device.refresh_time.ToMilliseconds(),
        current=device.current,
    )
