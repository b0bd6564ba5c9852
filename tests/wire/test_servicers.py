"""grpc.aio servicers behave the same on parley_wire and on grpc.aio, seen by grpcio's client.

Every test runs on both servers: what grpc.aio does is the specification.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from grpc_reflection.v1alpha._async import ReflectionServicer

import parley_wire
from parley_wire.testing.echo_service import SERVICE, EchoService

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

MIB = 1024 * 1024


class World:
    """A server of one kind, its service, and a client of grpcio."""

    def __init__(self, kind: str, server: grpc.aio.Server, service: EchoService, channel: Any) -> None:
        self.kind = kind
        self.server = server
        self.service = service
        self.channel = channel

    async def unary(self, request: bytes, method: str = "Unary", **options: Any) -> Any:
        return await self.channel.unary_unary(f"/{SERVICE}/{method}")(request, **options)

    def stream(self, method: str = "Both") -> Any:
        return self.channel.stream_stream(f"/{SERVICE}/{method}")()


class Veto(grpc.aio.ServerInterceptor):
    """Refuses calls that say so, and lets the others pass."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler[Any, Any] | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler[Any, Any] | None:
        pairs: Any = handler_call_details.invocation_metadata
        how = dict(pairs).get("x-veto")
        if how == "raise":
            raise LookupError("a defect")
        if how == "none":
            return None
        if how == "abort":
            raise grpc.aio.AbortError("a defect")
        if how == "sleep":
            await asyncio.sleep(10)
        handler = await continuation(handler_call_details)
        if ("x-veto", "yes") in tuple(pairs):

            async def refuse(request: bytes, context: grpc.aio.ServicerContext[Any, Any]) -> None:
                await context.abort(grpc.StatusCode.PERMISSION_DENIED, handler_call_details.method)

            return grpc.unary_unary_rpc_method_handler(refuse)
        return handler


@pytest.fixture(params=["wire", "grpcio"])
async def world(request: pytest.FixtureRequest) -> AsyncIterator[World]:
    service = EchoService()
    server: grpc.aio.Server
    if request.param == "wire":
        options = parley_wire.ServerOptions(receive_message_bytes=5 * MIB)
        server = parley_wire.Server(options, interceptors=[Veto()])
    else:
        size = [("grpc.max_receive_message_length", 5 * MIB)]
        server = grpc.aio.server(interceptors=[Veto()], options=size)
    service.add_to(server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    channel_options = [("grpc.max_receive_message_length", 8 * MIB)]
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}", options=channel_options) as channel:
        yield World(request.param, server, service, channel)
    await server.stop(0)


async def failure(call: Awaitable[Any]) -> grpc.aio.AioRpcError:
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    return raised.value


@pytest.mark.parametrize("size", [0, 1, 16_379, 16_380, 70_000, 4 * MIB])
async def test_unary_of_any_size(world: World, size: int) -> None:
    """Both ways, around the borders of frames and windows."""
    request = b"y" * size
    assert await world.unary(request) == request


async def test_many_calls_at_once(world: World) -> None:
    """On one connection; each gets its own answer."""
    answers = await asyncio.gather(*(world.unary(str(at).encode()) for at in range(200)))
    assert answers == [str(at).encode() for at in range(200)]


async def test_abort(world: World) -> None:
    """Code, message in any script, trailing metadata, binary too."""
    error = await failure(world.unary(b"abort"))
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "näh, 100%\n")
    assert set(error.trailing_metadata()) >= {("why", "asked"), ("why-bin", b"\0\xff")}


async def test_a_defect_is_unknown(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """With the words of grpc.aio."""
    with caplog.at_level(logging.CRITICAL):
        error = await failure(world.unary(b"raise"))
    assert error.code() is grpc.StatusCode.UNKNOWN
    assert error.details() == "Unexpected <class 'LookupError'>: a defect"


async def test_a_code_that_is_set(world: World) -> None:
    """Ends the call with it."""
    error = await failure(world.unary(b"code"))
    assert (error.code(), error.details()) == (grpc.StatusCode.DATA_LOSS, "set")


async def test_metadata(world: World) -> None:
    """All three kinds."""
    sent = (("x-text", "a b"), ("x-many", "1"), ("x-many", "2"), ("x-bytes-bin", b"\0\1\2\xff"))
    call = world.channel.unary_unary(f"/{SERVICE}/Unary")(b"meta", metadata=sent)
    assert await call == repr(sorted(sent)).encode()
    assert set(await call.initial_metadata()) >= {("first", "1"), ("first-bin", b"\1")}
    assert ("last", "2") in tuple(await call.trailing_metadata())


async def test_a_deadline_cancels_the_handler(world: World) -> None:
    """The client hears of it, the handler is cancelled, its callbacks run."""
    seconds = 0.3
    while "sleeping" not in world.service.log:
        # On a busy machine the time may be over before the handler begins.
        error = await failure(world.unary(b"sleep", timeout=seconds))
        assert error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
        seconds *= 2
    await world.service.until("cancelled")
    await world.service.until("done")


async def test_time_remaining(world: World) -> None:
    """In seconds, None without a deadline."""
    assert 8 < float(await world.unary(b"left", timeout=10)) <= 10
    assert await world.unary(b"left") == b"None"


async def test_a_cancelled_call_cancels_the_handler(world: World) -> None:
    """Unary and streams."""
    call = world.channel.unary_unary(f"/{SERVICE}/Unary")(b"sleep")
    await world.service.until("sleeping")
    call.cancel()
    await world.service.until("cancelled")
    stream = world.stream()
    await stream.write(b"x")
    assert await stream.read() == b"x"
    stream.cancel()
    if world.kind == "wire":
        # grpc.aio leaves a generator that waits for a request where it is.
        await world.service.until("stream cancelled")


async def test_a_method_that_nobody_serves(world: World) -> None:
    """UNIMPLEMENTED."""
    for path in (f"/{SERVICE}/Nothing", "/No/Such", "/x"):
        error = await failure(world.channel.unary_unary(path)(b""))
        assert (error.code(), error.details()) == (grpc.StatusCode.UNIMPLEMENTED, "Method not found!")


async def test_a_method_that_the_servicer_leaves_out(world: World) -> None:
    """The generated default: a plain function that says so."""
    error = await failure(world.unary(b"", method="Default"))
    assert error.code() is grpc.StatusCode.UNIMPLEMENTED
    assert str(error.details()).endswith("Method not implemented!")


async def test_generic_handlers(world: World) -> None:
    """They serve what is not registered."""
    assert await world.channel.unary_unary(f"/{SERVICE}Generic/Unary")(b"hi") == b"hi"


async def test_an_interceptor(world: World) -> None:
    """May replace the handler."""
    error = await failure(world.unary(b"", metadata=(("x-veto", "yes"),)))
    assert (error.code(), error.details()) == (grpc.StatusCode.PERMISSION_DENIED, f"/{SERVICE}/Unary")


@pytest.mark.parametrize("how", ["raise", "none", "abort", "sleep"])
async def test_an_interceptor_that_does_not_let_calls_pass(
    world: World, how: str, caplog: pytest.LogCaptureFixture
) -> None:
    """By an error, by None, by an AbortError without a code, by taking too long. Planted: on our server the
    third was an OK without a response.
    """
    expected = {
        "raise": (grpc.StatusCode.UNKNOWN, "Unexpected <class 'LookupError'>: a defect"),
        "none": (grpc.StatusCode.UNIMPLEMENTED, "Method not found!"),
        "abort": (grpc.StatusCode.UNKNOWN, "Unexpected <class"),
        "sleep": (grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"),
    }
    with caplog.at_level(logging.CRITICAL):
        seconds = 0.5 if how == "sleep" else 10
        error = await failure(world.unary(b"", metadata=(("x-veto", how),), timeout=seconds))
    code, details = expected[how]
    assert error.code() is code
    assert str(error.details()).startswith(details)


@pytest.mark.parametrize("method", ["Stream", "Write"])
async def test_server_streaming(world: World, method: str) -> None:
    """By a generator and by `write`; none at all is fine."""
    call = world.channel.unary_stream(f"/{SERVICE}/{method}")
    assert [answer async for answer in call(b"500")] == [str(at).encode() for at in range(500)]
    assert [answer async for answer in call(b"0")] == []


async def test_a_stream_that_ends_in_an_abort(world: World) -> None:
    """What was sent before arrives first."""
    call = world.channel.unary_stream(f"/{SERVICE}/Stream")(b"3:abort")
    got = []
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        async for answer in call:
            got.append(answer)  # noqa: PERF401  # what came before the error counts
    assert got == [b"0", b"1", b"2"]
    assert raised.value.code() is grpc.StatusCode.ABORTED


async def test_client_streaming(world: World) -> None:
    """To the end, and with an answer before it."""
    call = world.channel.stream_unary(f"/{SERVICE}/Collect")
    assert await call(iter([b"x" * 10_000] * 50)) == b"500000"
    assert await call(iter([b"x", b"stop", b"y"])) == b"1"


@pytest.mark.parametrize("method", ["Both", "Read"])
async def test_bidirectional_streaming(world: World, method: str) -> None:
    """Turn by turn, then the half-close, then OK."""
    stream = world.stream(method)
    for size in (0, 1, 20_000, 300_000):
        await stream.write(b"z" * size)
        assert await stream.read() == b"z" * size
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK


async def test_a_message_over_the_limit(world: World) -> None:
    """RESOURCE_EXHAUSTED, and the connection goes on."""
    error = await failure(world.unary(b"x" * (5 * MIB + 1)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert await world.unary(b"hi") == b"hi"


async def test_compression(world: World) -> None:
    """Requests and responses by gzip and deflate."""
    for compression in (grpc.Compression.Gzip, grpc.Compression.Deflate):
        assert await world.unary(b"q" * 100_000, compression=compression) == b"q" * 100_000
    assert await world.unary(b"gzip:answer") == b"answer" * 1000


async def test_the_peers_address(world: World) -> None:
    """As grpc prints it."""
    assert (await world.unary(b"peer")).startswith(b"ipv4:127.0.0.1:")


async def test_a_slow_reader_holds_up_its_writer_only(world: World) -> None:
    """The handler waits; others are served; everything arrives in the end."""
    call = world.channel.unary_stream(f"/{SERVICE}/Stream")(b"4000")
    await asyncio.gather(*(world.unary(b"meanwhile") for _ in range(20)))
    count = 0
    async for _ in call:
        count += 1
    assert count == 4000


async def test_stop_with_grace_lets_calls_finish(world: World) -> None:
    """New ones are refused, those under way end as they would."""
    stream = world.stream()
    await stream.write(b"x")
    assert await stream.read() == b"x"
    stopping = asyncio.create_task(world.server.stop(10))
    await stream.write(b"y")
    assert await stream.read() == b"y"
    await stream.done_writing()
    assert await stream.read() is grpc.aio.EOF
    assert await stream.code() is grpc.StatusCode.OK
    async with asyncio.timeout(5):
        await stopping
    assert (await failure(world.unary(b"late"))).code() is grpc.StatusCode.UNAVAILABLE


async def test_stop_without_grace_cancels(world: World) -> None:
    """The call ends; on our server its handler has ended, too, when `stop` returns."""
    call = world.channel.unary_unary(f"/{SERVICE}/Unary")(b"sleep")
    await world.service.until("sleeping")
    async with asyncio.timeout(5):
        await world.server.stop(0)
    assert "cancelled" in world.service.log or world.kind == "grpcio"
    error = await failure(call)
    assert error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED)
    assert await world.server.wait_for_termination(5) in (None, False)


async def test_health_and_reflection() -> None:
    """grpcio's own servicers: a coroutine that writes, and a generator."""
    server = parley_wire.Server()
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    services: Any = ReflectionServicer(["grpc.health.v1.Health"])
    add_reflection: Any = reflection_pb2_grpc.add_ServerReflectionServicer_to_server
    add_reflection(services, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        # The published stubs know neither Watch nor asynchronous channels.
        stub: Any = health_pb2_grpc.HealthStub(channel)
        watch = stub.Watch(health_pb2.HealthCheckRequest(service="x"))
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
        await health.set("x", health_pb2.HealthCheckResponse.SERVING)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        watch.cancel()
        make_stub: Any = reflection_pb2_grpc.ServerReflectionStub
        reflection = make_stub(channel)
        asked = reflection.ServerReflectionInfo(
            iter([reflection_pb2.ServerReflectionRequest(list_services="")])
        )
        (answer,) = [answer async for answer in asked]
        assert [service.name for service in answer.list_services_response.service] == [
            "grpc.health.v1.Health"
        ]
    await server.stop(0)
