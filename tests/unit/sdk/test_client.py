"""The client against a stand-in node, over real gRPC: repetition, renewal, closing."""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, Any

import grpc
import pytest

import parley
from parley.chat.v1 import message_requests_pb2, stream_pb2
from parley.user.v1 import user_pb2, user_service_pb2

if TYPE_CHECKING:
    from tests.unit.sdk.conftest import Context, FakeNode


class _Failing:
    """A handler that fails its first calls, before the work is done or (`lose`) after it, and then works."""

    def __init__(self, node: FakeNode, method: str, times: int, *, lose: bool) -> None:
        self.node = node
        self.handle = node.unary[method]
        self.left = times
        self.lose = lose

    async def __call__(self, request: Any, context: Context) -> Any:
        if self.left == 0:
            return await self.handle(request, context)
        self.left -= 1
        if self.lose:
            await self.handle(request, context)
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the connection broke")
        await self.node.refuse(context, grpc.StatusCode.UNAVAILABLE, "STORE_UNAVAILABLE")


@pytest.mark.parametrize("lose", [False, True])
async def test_a_message_is_sent_with_one_id_until_it_is_answered(node: FakeNode, lose: bool) -> None:
    """A lost answer must not become a second message. Planted: a new id per attempt."""
    node.unary["SendMessage"] = _Failing(node, "SendMessage", 3, lose=lose)
    async with parley.connect(node.target, token="t") as client:
        sent = await client.channel("c").send("hello", attributes={"k": "v"})
    requests = node.called("SendMessage")
    assert len(requests) == 4
    assert {request.client_message_id for request in requests} == {sent.client_message_id}
    assert all(request == requests[0] for request in requests)
    assert sent == parley.Sent(1, 1, 1001, sent.client_message_id, lose)
    assert len(node.written) == 1


async def test_a_limit_is_waited_for_within_the_time(node: FakeNode) -> None:
    """RetryInfo is obeyed. Planted: RATE_LIMITED raised at once although it said 0.2 s."""
    arrivals: list[float] = []
    loop = asyncio.get_running_loop()

    async def limited(request: Any, context: Context) -> message_requests_pb2.SendMessageResponse:
        arrivals.append(loop.time())
        if len(arrivals) == 1:
            code = grpc.StatusCode.RESOURCE_EXHAUSTED
            await node.refuse(context, code, "RATE_LIMITED", retry_after_seconds=0.2)
        return node.write(request)

    node.unary["SendMessage"] = limited
    async with parley.connect(node.target, token="t") as client:
        await client.channel("c").send("hello")
        assert arrivals[1] - arrivals[0] >= 0.2
        arrivals.clear()
        with pytest.raises(parley.RateLimited):
            await client.channel("c").send("hello", timeout_seconds=0.1)
    assert len(arrivals) == 1


async def test_an_answer_that_never_comes_is_a_time_out(node: FakeNode) -> None:
    """Bounded, and the outcome unknown. Planted: no deadline on the call."""

    async def silent(request: Any, context: Context) -> None:
        await asyncio.Event().wait()

    node.unary["SendMessage"] = silent
    async with parley.connect(node.target, token="t") as client:
        with pytest.raises(parley.TimedOut) as caught:
            await client.channel("c").send("hello", timeout_seconds=0.3)
    assert caught.value.advice is parley.Advice.RETRY


async def test_no_server_is_unreachable_soon() -> None:
    """And says so by its name. Planted: attempts not bounded, so that it takes the whole 30 s."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        target = f"127.0.0.1:{free.getsockname()[1]}"
        async with asyncio.timeout(20):
            with pytest.raises(parley.Unreachable):
                await parley.log_in(target, "alice", "password")
            async with parley.connect(target, token="t") as client:
                with pytest.raises(parley.Unreachable):
                    await client.channel("c").info()
                with pytest.raises(parley.Unreachable):
                    await client.events().ready(timeout_seconds=1.0)
                assert client.status().phase in (parley.Phase.CONNECTING, parley.Phase.WAITING)


@pytest.mark.parametrize("method", ["SignUp", "LogIn"])
async def test_signing_up_and_logging_in_are_repeated_with_one_request_id(
    node: FakeNode, method: str
) -> None:
    """A lost answer must not become a second account or device. Planted: an id per attempt."""
    node.unary[method] = _Failing(node, method, 2, lose=True)
    if method == "SignUp":
        tokens = await parley.sign_up(
            node.target, "alice", "password", display_name="Alice", device_name="desk"
        )
    else:
        tokens = await parley.log_in(node.target, "alice", "password", device_name="desk")
    requests = node.called(method)
    assert len(requests) == 3
    assert all(request == requests[0] for request in requests)
    assert requests[0].device_name == "desk"
    assert (tokens.user_id, tokens.device_id, tokens.username) == ("user-1", "device-1", "alice")
    assert tokens.refresh_token == "refresh-3"


async def test_an_expired_token_is_renewed_once_for_all_calls(node: FakeNode) -> None:
    """Stored before it is used. Planted: no renewal on TOKEN_EXPIRED."""
    node.now_seconds = 4_000_000_000
    tokens = node.tokens()
    node.access_tokens = set()
    stored: list[parley.Tokens] = []
    async with parley.connect(node.target, token=tokens, on_tokens=stored.append) as client:
        assert client.me == "user-1"
        await asyncio.gather(*(client.channel(str(number)).info() for number in range(10)))
        assert client.tokens == stored[-1]
    assert len(node.called("Refresh")) == 1
    assert [each.refresh_token for each in stored] == ["refresh-2"]


async def test_a_token_that_stays_expired_is_told(node: FakeNode) -> None:
    """Once is enough. Planted: renewing until patience ends."""
    node.now_seconds = 4_000_000_000
    tokens = node.tokens()
    node.access_tokens = set()
    refresh = node.unary["Refresh"]

    async def useless(request: Any, context: Context) -> Any:
        response = await refresh(request, context)
        node.access_tokens = set()
        return response

    node.unary["Refresh"] = useless
    async with parley.connect(node.target, token=tokens) as client:
        with pytest.raises(parley.TokenExpired):
            await client.channel("c").info()
    assert len(node.called("Refresh")) == 1


async def test_a_bare_token_that_has_expired_is_told(node: FakeNode) -> None:
    """There is nothing to renew it with. Planted: Refresh called with an empty token."""
    node.access_tokens = set()
    async with parley.connect(node.target, token="operator") as client:
        assert client.me == ""
        assert client.tokens is None
        with pytest.raises(parley.TokenExpired):
            await client.channel("c").info()
        with pytest.raises(parley.TokenExpired):
            await client.events().ready()
    assert node.called("Refresh") == []


async def test_nobody_can_take_the_place_of_a_user_by_name(node: FakeNode) -> None:
    """An id comes before a name that looks like it. Planted: names looked up first."""
    people = {"id-of-bob": "bob", "id-of-eve": "id-of-bob"}

    async def get_user(request: Any, context: Context) -> user_service_pb2.GetUserResponse:
        for user_id, username in people.items():
            if (request.user_id or user_id) == user_id and (request.username or username) == username:
                user = user_pb2.User(user_id=user_id, username=username)
                return user_service_pb2.GetUserResponse(user=user)
        await node.refuse(context, grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")

    node.unary["GetUser"] = get_user
    async with parley.connect(node.target, token="t") as client:
        assert (await client.user("id-of-bob")).username == "bob"
        assert (await client.user("@id-of-bob")).user_id == "id-of-eve"
        assert (await client.user("bob")).user_id == "id-of-bob"
        with pytest.raises(parley.UserNotFound):
            await client.user("carol")


async def test_which_of_several_users_is_not_there_is_said(node: FakeNode) -> None:
    """However a user is named. Planted: the server's own words, which name nobody."""

    async def get_user(request: Any, context: Context) -> user_service_pb2.GetUserResponse:
        if request.username == "bob":
            return user_service_pb2.GetUserResponse(user=user_pb2.User(user_id="id-of-bob", username="bob"))
        await node.refuse(context, grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")

    node.unary["GetUser"] = get_user
    async with parley.connect(node.target, token="t") as client:
        for missing in ("@carol", "carol"):
            with pytest.raises(parley.UserNotFound, match=rf"No such user: {missing}\.") as error:
                await client.create_group("title", ["@bob", missing, "@dave"])
            assert (error.value.code, error.value.reason) == (grpc.StatusCode.NOT_FOUND, "USER_NOT_FOUND")


async def test_one_string_is_not_a_list_of_users(node: FakeNode) -> None:
    """ "bob" would be b, o and b. Planted: no check."""
    async with parley.connect(node.target, token="t") as client:
        with pytest.raises(TypeError, match="not one string"):
            await client.create_group("title", "bob")
    assert node.calls == []


async def test_a_closed_client_says_so(node: FakeNode) -> None:
    """Planted: the error of the gRPC channel below let through."""
    client = parley.connect(node.target, token="t")
    await client.channel("c").info()
    await client.aclose()
    await client.aclose()
    with pytest.raises(RuntimeError, match="client is closed"):
        await client.channel("c").info()
    with pytest.raises(RuntimeError, match="client is closed"):
        client.events()


async def test_closing_waits_for_a_renewal_that_is_under_way(node: FakeNode) -> None:
    """Its answer lost, the device would be logged out. Planted: the gRPC channel closed first."""
    node.now_seconds = 4_000_000_000
    tokens = node.tokens()
    node.access_tokens = set()
    refresh = node.unary["Refresh"]
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def slow(request: Any, context: Context) -> Any:
        reached.set()
        await go_on.wait()
        return await refresh(request, context)

    node.unary["Refresh"] = slow
    stored: list[parley.Tokens] = []
    client = parley.connect(node.target, token=tokens, on_tokens=stored.append)
    caller = asyncio.create_task(client.channel("c").info())
    await reached.wait()
    caller.cancel()
    closing = asyncio.create_task(client.aclose())
    await asyncio.wait([caller])
    go_on.set()
    await closing
    assert [each.refresh_token for each in stored] == ["refresh-2"]


async def test_the_hello_names_the_client(node: FakeNode) -> None:
    """Servers' logs name it. Planted: the given name ignored; foreground always false."""
    async with parley.connect(node.target, token="t", client_name="bot/1", foreground=True) as client:
        await client.events().ready()
    assert node.hellos == [stream_pb2.Hello(cursor="none", client="bot/1", foreground=True)]
    async with parley.connect(node.target, token="t") as client:
        await client.events().ready()
    assert node.hellos[1].client.startswith("parley-python/")
