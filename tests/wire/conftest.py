"""Servers over loopback for the tests of the transport."""

from __future__ import annotations

import datetime
import ipaddress
import os
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import parley_wire

if TYPE_CHECKING:
    import grpc.aio

StartServer = Callable[..., Awaitable[tuple[parley_wire.Server, str]]]


@pytest.fixture
async def start_server() -> AsyncIterator[StartServer]:
    """Starts servers: `await start_server(service.add_to, options=…)` gives the server and its address."""
    servers: list[parley_wire.Server] = []

    async def start(
        *register: Callable[[grpc.aio.Server], None],
        options: parley_wire.ServerOptions | None = None,
        interceptors: tuple[grpc.aio.ServerInterceptor, ...] = (),
        address: str = "127.0.0.1:0",
        credentials: grpc.ServerCredentials | None = None,
    ) -> tuple[parley_wire.Server, str]:
        server = parley_wire.Server(options, interceptors=interceptors)
        servers.append(server)
        for add in register:
            add(server)
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
        await server.start()
        return server, address.replace(":0", f":{port}") if not address.startswith("unix:") else address

    yield start
    for server in servers:
        await server.stop(0)


class Certificate:
    """A self-signed certificate for localhost, good for servers and clients."""

    def __init__(self, folder: Path, name: str) -> None:
        self.certificate_file = folder / f"{name}.pem"
        self.key_file = folder / f"{name}.key"
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.certificate_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )

    @property
    def pem(self) -> bytes:
        """The certificate."""
        return self.certificate_file.read_bytes()


@pytest.fixture
def make_certificate(tmp_path: Path) -> Callable[[str], Certificate]:
    """Makes certificates with the given common name."""
    return lambda name: Certificate(tmp_path, name)


@pytest.fixture(scope="session")
def grpc_go_client() -> Path:
    """The program of tests/wire/grpc_go_client, built once for its sources. Skips without Go; with CI=true
    that is a failure. Mark such a test needs_go.
    """
    root = Path(__file__).resolve().parents[2]
    built = subprocess.run(
        [root / "tools" / "install_grpc_go_client.sh"], capture_output=True, text=True, check=False
    )
    program = root / ".tools" / "grpc_go_client" / "grpc_go_client"
    if built.returncode == 0 and "grpc_go_client:" not in built.stderr:
        return program
    if os.environ.get("CI") == "true":
        pytest.fail(built.stderr)
    pytest.skip(built.stderr)
