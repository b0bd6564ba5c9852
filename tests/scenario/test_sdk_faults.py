"""The SDK against a real node that stops, dies, comes back, forgets tokens, or is too fast."""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

import parley

if TYPE_CHECKING:
    from pathlib import Path

    from tests.scenario.conftest import StartNode

    from parley_server.testing.node_process import NodeProcess

PASSWORD = "correct horse battery"


async def test_a_node_that_stops_says_so_and_is_found_again(node: NodeProcess) -> None:
    """The same iterator goes on. Planted: the wait of GoAway not told; no second stream."""
    tokens = await parley.sign_up(node.address, "alice", PASSWORD)
    seen: list[parley.ClientStatus] = []
    async with parley.connect(node.address, token=tokens, on_status=seen.append) as client:
        group = await client.create_group("g")
        stream = client.events()
        await stream.ready()
        await node.stop()
        await node.start()
        sent = await group.send("back")
        async with asyncio.timeout(30):
            while (await anext(stream)).seq != sent.seq:
                pass
    waiting = [each for each in seen if each.phase is parley.Phase.WAITING]
    assert waiting[0].last_error is not None
    assert waiting[0].last_error.reason == "NODE_STOPPING"
    assert waiting[0].last_error.retry_after_seconds is not None


async def test_a_message_sent_while_the_node_dies_is_written_once(node: NodeProcess) -> None:
    """Whatever the kill hit: every send returns, each message stands once, in the order of the seqs returned.

    Planted: a new client_message_id for each attempt.
    """
    tokens = await parley.sign_up(node.address, "alice", PASSWORD)
    async with parley.connect(node.address, token=tokens, timeout_seconds=60.0) as client:
        group = await client.create_group("g")
        stream = client.events()
        await stream.ready()
        sent: dict[str, parley.Sent] = {}
        under_way = asyncio.Event()

        async def send_all(sender: int) -> None:
            for number in range(60):
                text = f"{sender}:{number}"
                sent[text] = await group.send(text)
                if len(sent) == 100:
                    under_way.set()

        senders = asyncio.gather(*(send_all(sender) for sender in range(8)))
        await under_way.wait()
        await node.kill()
        await node.start()
        await senders
        history = [message async for message in group.history(None)]
        assert {message.text: message.seq for message in history} == {
            text: each.seq for text, each in sent.items()
        }
        assert len(history) == len(sent) == 480
        for sender in range(8):
            seqs = [sent[f"{sender}:{number}"].seq for number in range(60)]
            assert seqs == sorted(seqs)


async def test_tokens_are_renewed_before_they_expire_and_the_stream_stays(start_node: StartNode) -> None:
    """A program outlives its tokens, and so does its one stream, quiet as it is.

    Planted: no renewal; the used refresh token used again; no Reauthenticate.
    """
    node = await start_node(**{"auth.access_token_seconds": 3})
    tokens = await parley.sign_up(node.address, "alice", PASSWORD)
    stored = [tokens]
    renewed = asyncio.Event()

    def store(made: parley.Tokens) -> None:
        stored.append(made)
        if len(stored) == 3:
            renewed.set()

    async with parley.connect(node.address, token=tokens, on_tokens=store) as client:
        group = await client.create_group("g")
        stream = client.events()
        await stream.ready()
        session = stream._follower.stream
        async with asyncio.timeout(60):
            await renewed.wait()
            sent = await group.send("still here")
            while (await anext(stream)).seq != sent.seq:
                pass
        assert stream._follower.stream is session
    assert len({each.refresh_token for each in stored}) == len(stored)
    assert {each.device_id for each in stored} == {tokens.device_id}
    kept = parley.Tokens.from_json(stored[-1].to_json())
    async with parley.connect(node.address, token=kept) as client:
        assert (await client.user("me")).username == "alice"


async def test_a_reader_who_stops_reading_for_a_while_misses_nothing(start_node: StartNode) -> None:
    """Neither side holds more than its bound; reading on brings the rest, in order.

    Planted: what comes beyond the client's bound dropped.
    """
    # The loop's debugging would take most of the time of three thousand sends.
    asyncio.get_running_loop().set_debug(False)
    node = await start_node(**{"limits.outbox_events": 64})
    alice = await parley.sign_up(node.address, "alice", PASSWORD)
    bob = await parley.sign_up(node.address, "bob", PASSWORD)
    async with (
        parley.connect(node.address, token=alice) as sender,
        parley.connect(node.address, token=bob) as reader,
    ):
        stream = reader.events()
        await stream.ready()
        channel = await sender.direct("bob")
        text = "x" * 4_000
        for _ in range(30):
            await asyncio.gather(*(channel.send(text) for _ in range(100)))
        head_seq = (await channel.info()).head_seq
        seen = [(await anext(stream)).seq]
        async with asyncio.timeout(60):
            while seen[-1] < head_seq:
                seen.append((await anext(stream)).seq)
        assert seen == list(range(seen[0], head_seq + 1))


def _certificate(folder: Path, name: str) -> tuple[Path, Path]:
    """A self-signed certificate for 127.0.0.1 and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate_path, key_path = folder / f"{name}.crt", folder / f"{name}.key"
    certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    key_path.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    return certificate_path, key_path


async def test_an_encrypted_connection_checks_who_is_there(start_node: StartNode, tmp_path: Path) -> None:
    """Only the authorities named are trusted. Planted: tls ignored in log_in, and in connect."""
    certificate, key = _certificate(tmp_path, "node")
    stranger, _ = _certificate(tmp_path, "stranger")
    node = await start_node(**{"tls.certificate_file": str(certificate), "tls.key_file": str(key)})
    tls = parley.Tls(certificate)
    await parley.sign_up(node.address, "alice", PASSWORD, tls=tls)
    tokens = await parley.log_in(node.address, "alice", PASSWORD, tls=tls)
    async with parley.connect(node.address, token=tokens, tls=tls) as client:
        await client.events().ready()
        assert (await client.user("me")).username == "alice"
    for wrong in (None, parley.Tls(stranger), parley.Tls()):
        async with parley.connect(node.address, token=tokens, tls=wrong) as client:
            with pytest.raises(parley.Unreachable):
                await client.user("me")
