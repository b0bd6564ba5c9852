"""The kinds of server that are held against each other."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Kind:
    """`name` is what tables call it, `protocol` what its clients speak."""

    name: str
    protocol: str


TCP = Kind("bare TCP", "tcp")
WIRE = Kind("parley_wire", "h2")
GRPCIO = Kind("grpc.aio", "h2")
GRPCIO_SEAM = Kind("grpc.aio, seam", "h2")
GRPCLIB = Kind("grpclib", "h2")
WEBSOCKETS = Kind("websockets", "websocket")

KINDS = (TCP, WIRE, GRPCIO_SEAM, GRPCIO, GRPCLIB, WEBSOCKETS)
