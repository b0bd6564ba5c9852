"""HTTP/2 and gRPC for asyncio: a pure protocol core with thin shells. Imports no Parley package.

`Server` runs grpc.aio servicers, `Channel` calls servers. docs/design/wire.md says how to read the code.
"""

from __future__ import annotations

from parley_wire.channel import Channel, ChannelOptions
from parley_wire.client_call import CallFailed, ClientCall
from parley_wire.credentials import TlsServerCredentials, tls_client_context, tls_server_credentials
from parley_wire.errors import ErrorCode, WireError
from parley_wire.handlers import RawMethod
from parley_wire.limits import Limits
from parley_wire.options import ServerOptions
from parley_wire.raw_call import RawCall, RawHandler
from parley_wire.server import Server
from parley_wire.status import CallFault, FaultCause

__all__ = [
    "CallFailed",
    "CallFault",
    "Channel",
    "ChannelOptions",
    "ClientCall",
    "ErrorCode",
    "FaultCause",
    "Limits",
    "RawCall",
    "RawHandler",
    "RawMethod",
    "Server",
    "ServerOptions",
    "TlsServerCredentials",
    "WireError",
    "tls_client_context",
    "tls_server_credentials",
]
