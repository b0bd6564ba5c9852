"""The gRPC server with every service on it."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2_grpc

import parley_wire
from parley.admin.v1 import admin_service_pb2_grpc
from parley.auth.v1 import auth_service_pb2_grpc
from parley.channel.v1 import channel_service_pb2_grpc
from parley.chat.v1 import chat_service_pb2, chat_service_pb2_grpc
from parley.user.v1 import user_service_pb2_grpc
from parley_runtime.settings import AddressUnusable, Settings, SettingsError, Tls
from parley_server.api.connect import ChatStream
from parley_server.api.reflection import add_reflection
from parley_server.transport import grpcio as grpcio_transport
from parley_server.transport import wire as wire_transport

if TYPE_CHECKING:
    from collections.abc import Callable

    from parley_runtime.metrics import LoopCounts
    from parley_server.api.admin import AdminServicer
    from parley_server.api.auth import AuthServicer
    from parley_server.api.channel import ChannelServicer
    from parley_server.api.chat import ChatServicer
    from parley_server.api.health import HealthChecks
    from parley_server.api.interceptor import CallInterceptor
    from parley_server.api.stream_services import StreamServices
    from parley_server.api.user import UserServicer

# A request on a stream is refused by itself and the stream goes on, so the transport must hand us more than
# we take: which request it was stands inside. grpcio has one limit for streams and calls.
STREAM_SLACK = 4
DEFAULT_RESETS_BURST = 1000
# Handlers end at once when they are cancelled. One that does not has a defect, and holds the node up.
CANCELLATION_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Servicers:
    """All that a node serves."""

    auth: AuthServicer
    user: UserServicer
    channel: ChannelServicer
    chat: ChatServicer
    admin: AdminServicer
    streams: StreamServices
    health: HealthChecks


def make_server(settings: Settings, interceptor: CallInterceptor, servicers: Servicers) -> grpc.aio.Server:
    """A server with every service, health and reflection registered; no port yet."""
    if settings.transport == "wire":
        server: grpc.aio.Server = _wire_server(settings, interceptor, servicers.streams.metrics.counts)
    else:
        server = _grpcio_server(settings, interceptor)
    auth_service_pb2_grpc.add_AuthServiceServicer_to_server(servicers.auth, server)
    user_service_pb2_grpc.add_UserServiceServicer_to_server(servicers.user, server)
    channel_service_pb2_grpc.add_ChannelServiceServicer_to_server(servicers.channel, server)
    chat_service_pb2_grpc.add_ChatServiceServicer_to_server(servicers.chat, server)
    admin_service_pb2_grpc.add_AdminServiceServicer_to_server(servicers.admin, server)
    health_pb2_grpc.add_HealthServicer_to_server(servicers.health.servicer, server)
    add_reflection(server, streams_limit=settings.limits.reflection_streams)
    _add_streams(server, servicers.streams)
    return server


def _grpcio_server(settings: Settings, interceptor: CallInterceptor) -> grpc.aio.Server:
    return grpc.aio.server(
        interceptors=[interceptor],
        # Calls whose request never comes, and streams of health and reflection, need no token.
        maximum_concurrent_rpcs=settings.limits.streams + settings.limits.calls_beside_streams,
        options=[
            # Two nodes on one port would silently share it.
            ("grpc.so_reuseport", 0),
            ("grpc.max_receive_message_length", STREAM_SLACK * settings.limits.request_bytes),
            ("grpc.max_send_message_length", -1),
            ("grpc.max_concurrent_streams", settings.limits.streams_per_connection),
            # A burst of connecting clients must wait, not fail: grpc.aio refuses streams beyond these.
            ("grpc.server.max_pending_requests", settings.limits.streams),
            ("grpc.server.max_pending_requests_hard_limit", 2 * settings.limits.streams),
            ("grpc.keepalive_time_ms", 60_000),
            ("grpc.keepalive_timeout_ms", 20_000),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
        ],
    )


def _wire_server(settings: Settings, interceptor: CallInterceptor, counts: LoopCounts) -> parley_wire.Server:
    limits = settings.limits

    def count_fault(fault: parley_wire.CallFault) -> None:
        counts.count_call_fault(fault.cause.value, fault.code.name)

    calls = limits.streams + limits.calls_beside_streams
    return parley_wire.Server(
        parley_wire.ServerOptions(
            concurrent_calls=calls,
            receive_message_bytes=limits.request_bytes,
            receive_raw_message_bytes=STREAM_SLACK * limits.request_bytes,
            cancellation_seconds=CANCELLATION_SECONDS,
            # Who brings many streams on one connection may lose them all at once.
            limits=parley_wire.Limits(
                streams_per_connection=limits.streams_per_connection,
                resets_burst=max(limits.streams_per_connection, DEFAULT_RESETS_BURST),
            ),
        ),
        interceptors=[interceptor],
        fault_metadata=partial(wire_transport.fault_metadata, request_limit_bytes=limits.request_bytes),
        on_fault=count_fault,
    )


def add_port(server: grpc.aio.Server, listen: str, tls: Tls) -> int:
    """Bind `listen` (host:port, port 0 for any, or unix:path), with TLS if set. Returns the port.

    Raises AddressUnusable, which says why where the transport does, and SettingsError for the TLS files.
    """
    cause: BaseException | None = None
    try:
        if tls.certificate_file:
            credentials = _credentials(server, tls)
            port = server.add_secure_port(listen, credentials)
        else:
            port = server.add_insecure_port(listen)
    except RuntimeError as error:
        port, cause = 0, error.__cause__
    if port == 0:
        why = _why_unbound(cause, is_socket=listen.startswith("unix:"))
        raise AddressUnusable(f"cannot listen on {listen}: {why}. Choose another with --listen")
    return port


def _why_unbound(cause: BaseException | None, *, is_socket: bool) -> str:
    number = cause.errno if isinstance(cause, OSError) else None
    if is_socket:
        if number == errno.EADDRINUSE:
            return "the socket is in use by another process, or a file that is no socket is in its place"
        if number is not None:
            return os.strerror(number)
        return "the socket is in use, or its path is too long, or its folder cannot be written"
    if number == errno.EADDRINUSE:
        return "the port is in use"
    if number == errno.EADDRNOTAVAIL or isinstance(cause, socket.gaierror):
        return "the address is not this machine's"
    if number in (errno.EACCES, errno.EPERM):
        return "this user may not use the port"
    return "the port is in use, or the address is not this machine's"


def _credentials(server: grpc.aio.Server, tls: Tls) -> grpc.ServerCredentials:
    try:
        key = Path(tls.key_file).read_bytes()
        certificate = Path(tls.certificate_file).read_bytes()
    except OSError as error:
        raise SettingsError(f"cannot read {error.filename}: {error.strerror}") from error
    try:
        # gRPC says nothing but that it could not bind.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(tls.certificate_file, tls.key_file)
    except ssl.SSLError as error:
        raise SettingsError(
            f"tls: {tls.certificate_file} and {tls.key_file} are not a certificate and its key in PEM form "
            f"({error.reason or error})"
        ) from error
    if isinstance(server, parley_wire.Server):
        return parley_wire.tls_server_credentials(tls.certificate_file, tls.key_file)
    return grpc.ssl_server_credentials([(key, certificate)])


def _add_streams(server: grpc.aio.Server, services: StreamServices) -> None:
    def maker(*, subscribe: bool) -> Callable[[], ChatStream]:
        return lambda: ChatStream(services, subscribe=subscribe)

    transport = wire_transport if isinstance(server, parley_wire.Server) else grpcio_transport
    # Registered after the generated ones, so these win: bytes both ways through the seam.
    close_seconds = services.session_settings.close_seconds
    service = chat_service_pb2.DESCRIPTOR.services_by_name["ChatService"].full_name
    server.add_registered_method_handlers(
        service,
        {
            "Connect": transport.stream_stream(maker(subscribe=False), close_seconds=close_seconds),
            "Subscribe": transport.unary_stream(maker(subscribe=True), close_seconds=close_seconds),
        },
    )
