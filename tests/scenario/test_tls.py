"""TLS for native clients, with a certificate made here."""

from __future__ import annotations

import datetime
import ipaddress
from typing import TYPE_CHECKING

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from parley.auth.v1 import auth_service_pb2 as auth
from parley_server.testing.node_process import NodeFailed, NodeProcess
from parley_server.testing.planting import CHEAP_PASSWORDS
from parley_server.testing.raw_client import RawClient, outcome_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

pytestmark = pytest.mark.asyncio(loop_scope="module")


def make_certificate(folder: Path) -> dict[str, object]:
    """A self-signed certificate for localhost in the folder; the settings that name it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return {
        "tls.certificate_file": str(folder / "certificate.pem"),
        "tls.key_file": str(folder / "key.pem"),
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def node(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[NodeProcess]:
    """A node that serves TLS."""
    folder = tmp_path_factory.mktemp("tls")
    node = NodeProcess(folder / "node", make_certificate(folder), (CHEAP_PASSWORDS,))
    await node.start()
    yield node
    await node.close()
    assert "Traceback" not in node.stderr


async def test_a_conversation_over_tls(node: NodeProcess) -> None:
    """Unary calls and both streams, for a client that trusts the certificate."""
    trusted = grpc.ssl_channel_credentials((node.data.parent / "certificate.pem").read_bytes())
    async with RawClient(node.address, trusted) as client:
        alice, bob = await client.sign_up(), await client.sign_up()
        channel_id = await client.direct(alice, bob)
        streams = [await client.connect(bob), await client.subscribe(bob)]
        sent = await client.send(alice, channel_id, "👋" * 100_000)
        for stream in streams:
            await stream.at_least(1)
            assert stream.event_seqs(channel_id) == [sent.seq]
            stream.cancel()


async def test_who_does_not_trust_it_or_speaks_plainly_gets_nothing(node: NodeProcess) -> None:
    """No fallback to plain text on this port, and no way round the certificate."""
    async with RawClient(node.address) as plain:
        outcome = await outcome_of(plain.auth.GetJwks(auth.GetJwksRequest(), timeout=10))
        assert outcome.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")
    async with RawClient(node.address, grpc.ssl_channel_credentials()) as distrusting:
        outcome = await outcome_of(distrusting.auth.GetJwks(auth.GetJwksRequest(), timeout=10))
        assert outcome.code.name in ("UNAVAILABLE", "DEADLINE_EXCEEDED")


@pytest.mark.parametrize(
    ("broken", "says"),
    [
        ("no-key-file", "key.pem"),
        ("no-certificate-file", "certificate.pem"),
        ("not-pem", "certificate.pem"),
        ("other-key", "key.pem"),
        ("one-of-two", "both certificate_file and key_file"),
    ],
)
async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, broken: str, says: str) -> None:
    """The start fails with the file's name, and not with a word about ports.

    Found by this: a certificate that was none, or of another key, was called a port in use.
    """
    settings = make_certificate(tmp_path)
    match broken:
        case "no-key-file":
            (tmp_path / "key.pem").unlink()
        case "no-certificate-file":
            (tmp_path / "certificate.pem").unlink()
        case "not-pem":
            (tmp_path / "certificate.pem").write_text("not a certificate")
        case "other-key":
            kept = (tmp_path / "certificate.pem").read_bytes()
            make_certificate(tmp_path)
            (tmp_path / "certificate.pem").write_bytes(kept)
        case _:
            del settings["tls.key_file"]
    node = NodeProcess(tmp_path / "node", settings)
    with pytest.raises(NodeFailed) as failed:
        await node.start()
    await node.close()
    last = str(failed.value).strip().splitlines()[-1]
    assert "SettingsError" in last
    assert says in last
    assert "port" not in last
