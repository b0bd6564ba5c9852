"""grpc-timeout: at most eight digits and a unit (gRPC over HTTP/2, "Timeout")."""

from __future__ import annotations

import math

_SECONDS = {b"H": 3600.0, b"M": 60.0, b"S": 1.0, b"m": 1e-3, b"u": 1e-6, b"n": 1e-9}
_UNITS = ((1e-9, "n"), (1e-6, "u"), (1e-3, "m"), (1.0, "S"), (60.0, "M"), (3600.0, "H"))
_LARGEST = 99_999_999


def timeout_seconds(value: bytes) -> float | None:
    """The seconds that a grpc-timeout allows; None for what is no timeout."""
    digits, unit = value[:-1], value[-1:]
    if unit not in _SECONDS or not digits.isdigit() or len(digits) > 8:
        return None
    return int(digits) * _SECONDS[unit]


def timeout_value(seconds: float) -> bytes:
    """A timeout in the finest unit that can hold it, never shorter than asked; at once for none left."""
    seconds = max(0.0, seconds)
    for unit_seconds, unit in _UNITS:
        count = math.ceil(seconds / unit_seconds)
        if count <= _LARGEST:
            return f"{count}{unit}".encode()
    return f"{_LARGEST}H".encode()
