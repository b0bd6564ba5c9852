"""Who is at the other end, in the words of grpc: an address, and what a certificate says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping


def peer_text(name: Any) -> str:
    """A socket's address as grpc prints it: ipv4:127.0.0.1:4000, ipv6:%5B::1%5D:4000, unix:."""
    if isinstance(name, tuple) and len(name) == 2:
        return f"ipv4:{name[0]}:{name[1]}"
    if isinstance(name, tuple):
        return f"ipv6:{quote(f'[{name[0]}]', safe=':')}:{name[1]}"
    return f"unix:{name or ''}"


def auth_context(certificate: Mapping[str, Any]) -> Mapping[str, tuple[bytes, ...]]:
    """What a checked certificate says, under grpc's names; what `ssl` makes of none is {}."""
    found: dict[str, tuple[bytes, ...]] = {"transport_security_type": (b"ssl",)}
    names = tuple(value.encode() for _kind, value in certificate.get("subjectAltName", ()))
    common = tuple(
        value.encode()
        for part in certificate.get("subject", ())
        for key, value in part
        if key == "commonName"
    )
    if names:
        found["x509_subject_alternative_name"] = names
    if common:
        found["x509_common_name"] = common
    return found
