"""TLS for servers and clients. grpc's own credentials are opaque, so these take their place."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from pathlib import Path


class TlsServerCredentials(grpc.ServerCredentials):
    """Server credentials around an ssl context, for `Server.add_secure_port`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        # grpc's constructor only keeps an object of the C library, which we have none of.
        self.context = context


def tls_server_credentials(
    certificate_file: str | Path, key_file: str | Path, *, client_ca_file: str | Path | None = None
) -> TlsServerCredentials:
    """Credentials from PEM files. With `client_ca_file` clients must show a certificate signed by it.

    Raises OSError for a file that cannot be read and ssl.SSLError for one that is not what it should be.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    # RFC 9113, section 9.2: TLS 1.2 or later, without compression or renegotiation.
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.load_cert_chain(certificate_file, key_file)
    context.set_alpn_protocols(["h2"])
    if client_ca_file is not None:
        context.load_verify_locations(cafile=str(client_ca_file))
        context.verify_mode = ssl.CERT_REQUIRED
    return TlsServerCredentials(context)


def tls_client_context(ca_file: str | Path | None = None) -> ssl.SSLContext:
    """A context for `Channel`: checks the server's name against the system's authorities, or `ca_file`."""
    context = ssl.create_default_context(cafile=None if ca_file is None else str(ca_file))
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["h2"])
    return context


def context_of(credentials: grpc.ServerCredentials) -> ssl.SSLContext:
    """The ssl context of our credentials. Raises TypeError for grpc's own."""
    if not isinstance(credentials, TlsServerCredentials):
        raise TypeError(
            "grpc.ssl_server_credentials cannot be read: make the credentials with "
            "parley_wire.tls_server_credentials(certificate_file, key_file)"
        )
    return credentials.context
