"""The client: one user's connection to a Parley server."""

from __future__ import annotations

import asyncio
import importlib.metadata
from contextlib import nullcontext
from typing import TYPE_CHECKING, Self

from google.protobuf.field_mask_pb2 import FieldMask

from parley._account_calls import AccountCalls
from parley._administration import Administration
from parley._channel import Channel
from parley._channel_info import ChannelInfo, HistoryVisibility, channel_info_of
from parley._device import Device, device_of
from parley._directory import Directory
from parley._errors import TimedOut
from parley._inbox import InboxEntry, inbox_entry_of
from parley._link import Link
from parley._relations import RelationCalls
from parley._state import MemoryState
from parley._user import User, user_of
from parley._uuid7 import new_id
from parley.auth.v1 import auth_service_pb2
from parley.channel.v1 import channel_pb2, channel_service_pb2
from parley.chat.v1 import chat_service_pb2
from parley.user.v1 import user_pb2, user_service_pb2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterable, Sequence
    from contextlib import AbstractAsyncContextManager
    from types import TracebackType

    from parley._client_status import ClientStatus
    from parley._event_stream import EventStream
    from parley._sent import Outcome, Sent, WaitingMessage
    from parley._state import State
    from parley._tokens import Tokens
    from parley._transport import Tls

_LARGEST_PAGE = 200


def default_client_name() -> str:
    """How this package introduces itself: "parley-python/" and its version."""
    try:
        version = importlib.metadata.version("parley-chat")
    except importlib.metadata.PackageNotFoundError:
        version = "unpackaged"
    return f"parley-python/{version}"


def connect(
    servers: str | Sequence[str] = "localhost:50051",
    *,
    token: Tokens | str,
    on_tokens: Callable[[Tokens], None] | None = None,
    reload_tokens: Callable[[], Tokens | None] | None = None,
    renewal_lock: Callable[[], AbstractAsyncContextManager[object]] = nullcontext,
    state: State | None = None,
    outbox_limit: int = 10_000,
    on_outcome: Callable[[Outcome], None] | None = None,
    on_status: Callable[[ClientStatus], None] | None = None,
    tls: Tls | None = None,
    client_name: str | None = None,
    foreground: bool = False,
    timeout_seconds: float = 30.0,
) -> Client:
    """A client of the server at `servers` ("host:port"), or of several that serve the same data. A server on
    this machine may listen on a unix socket: "unix:/run/parley.sock" (without `tls`).

    Use it as `async with parley.connect(server, token=tokens) as client`. Of several servers the first is
    used until it fails, and then the next; those that a leaving server names come before them.

    With `Tokens` the client renews them: after two thirds of the access token's life, and once more when
    the server says that it has expired. `on_tokens` is called with every new pair before it is used, to
    store it: the old refresh token works only for another 30 s. Where several programs share one stored
    log-in, `reload_tokens` returns what is stored now; the client asks it before it renews, and takes a
    newer pair from there. `renewal_lock()` is entered around all of this, so that they take turns: give
    one that locks what `on_tokens` writes. A `str` is used as it is and cannot be renewed: an operator's
    token, for example.

    `state` keeps how far the program has come, and the messages that were not answered yet: a `MemoryState`
    of its own unless given, which ends with the process; `SqliteState(path)` outlives it. At most
    `outbox_limit` messages wait in the outbox. `on_outcome` is called with what came of each. `on_status` is
    called whenever the phase changes. Both are called on the event loop, must return at once and raise
    nothing.

    `client_name` (name and version, at most 128 bytes) is for the server's logs. `foreground` says that a
    person looks at this client. `timeout_seconds` bounds every call with all its retries.

    Nothing is sent before the client is entered (messages that wait in `state`) or the first call. Raises
    OSError when `tls` names a certificate that cannot be read, ValueError for `tls` with a unix socket.
    """
    return Client(
        Link(
            [servers] if isinstance(servers, str) else list(servers),
            tls=tls,
            token=token,
            on_tokens=on_tokens,
            reload_tokens=reload_tokens,
            renewal_lock=renewal_lock,
            state=state or MemoryState(),
            outbox_limit=outbox_limit,
            on_outcome=on_outcome,
            on_status=on_status,
            client_name=client_name or default_client_name(),
            foreground=foreground,
            timeout_seconds=timeout_seconds,
        )
    )


class Client(RelationCalls, AccountCalls):
    """One user's connection. `connect` makes it; it must be made on a running event loop and used only there.

    All methods raise ParleyError when a call fails. Calls that fail for a passing reason are repeated by
    the client itself, which is safe: every call that changes something carries an id of its own. `admin`
    holds what only operators may do.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._directory = Directory(link)
        self.admin = Administration(link, self._directory)

    async def __aenter__(self) -> Self:
        try:
            await self._link.start()
        except BaseException:
            await self.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Store what was acknowledged, end the stream in good order, close the connection.

        Messages in the outbox stay in the state store: `flush` first to have them sent. Calling it again does
        nothing.
        """
        await self._link.aclose()

    @property
    def me(self) -> str:
        """The user's id; "" when a bare token does not say whose it is."""
        return self._link.renewal.user_id

    @property
    def tokens(self) -> Tokens | None:
        """The newest tokens; None when the client was given a bare access token."""
        return self._link.renewal.tokens

    def events(self) -> EventStream:
        """What happens in the user's channels: `async for event in client.events()`.

        A device whose state store is empty begins with what happens from now on. One that has a position
        begins behind it, with everything that it missed. The stream opens at once; when it breaks the client
        opens another and goes on behind the last event, so that each event comes once, in order per channel.
        Asking for the next event acknowledges the one before (see `EventStream`).

        Calling again while it is open returns the same one. It raises ParleyError only when nobody but the
        user can help (advice REAUTHENTICATE or GIVE_UP): `DeviceRevoked`, `AccountSuspended`,
        `TokenExpired` of a bare token and the like; and `StateError` when the state store fails. Calling
        again then opens a new one.

        The client holds at most 1,024 events or 4 MiB for a program that does not ask.
        """
        return self._link.events()

    def status(self) -> ClientStatus:
        """What the client is doing now: phase, server, what waits, the last error."""
        return self._link.status()

    def outbox(self) -> list[WaitingMessage]:
        """The messages that wait for the server's answer, oldest first."""
        return self._link.outbox.waiting()

    async def result(self, client_message_id: str) -> Sent:
        """Wait for what comes of a message in the outbox; of the 1,000 answered last it is known at once.

        Raises what the server refused it with: `MessageIdExpired` where it waited for more than 7 days, and
        is not sent again. Raises LookupError for other ids.
        """
        return await self._link.outbox.result(client_message_id)

    async def flush(self, timeout_seconds: float | None = None) -> None:
        """Wait until the outbox is empty. Raises `TimedOut` (None: after those of `connect`)."""
        seconds = self._link.seconds(timeout_seconds)
        try:
            async with asyncio.timeout(seconds):
                await self._link.outbox.empty()
        except TimeoutError:
            raise TimedOut.after(seconds) from None

    async def user(self, name_or_id: str) -> User:
        """One profile, by user name (with or without @) or id; "me" is the caller. Raises `UserNotFound`.

        Without @ an id comes first: put an @ before names that you did not check.
        """
        return await self._directory.user(name_or_id)

    async def search_users(self, query: str) -> AsyncIterator[User]:
        """Users whose name or display name starts with `query` (1 to 64 code points), by user name."""
        request = user_service_pb2.SearchUsersRequest(query=query, page_size=_LARGEST_PAGE)
        async for user in self._link.pages(self._link.users.SearchUsers, request, lambda page: page.users):
            yield user_of(user)

    async def update_profile(
        self, *, display_name: str | None = None, about: str | None = None, avatar_url: str | None = None
    ) -> User:
        """Change the user's own profile and return it. None leaves a field. Raises `InvalidField`."""
        changes = {"display_name": display_name, "about": about, "avatar_url": avatar_url}
        request = user_service_pb2.UpdateProfileRequest(
            user=user_pb2.User(
                display_name=display_name or "", about=about or "", avatar_url=avatar_url or ""
            ),
            update_mask=FieldMask(paths=[name for name, value in changes.items() if value is not None]),
        )
        return user_of((await self._link.call(self._link.users.UpdateProfile, request)).user)

    def channel(self, channel_id: str) -> Channel:
        """A handle for a channel by its id. Asks the server nothing."""
        return Channel(self._link, self._directory, channel_id)

    async def direct(self, user: User | str) -> Channel:
        """The one direct channel with another user (profile, name or id), made if need be.

        Raises `UserNotFound`, and `SelfChannel` with oneself.
        """
        request = channel_service_pb2.CreateDirectChannelRequest(user_id=await self._directory.user_id(user))
        response = await self._link.call(self._link.channels.CreateDirectChannel, request)
        return self.channel(response.channel.channel_id)

    async def create_group(
        self,
        title: str,
        members: Iterable[User | str] = (),
        *,
        history_from_start: bool = False,
        client_channel_id: str | None = None,
    ) -> Channel:
        """Make a group of the user, its owner, and `members` (profiles, names or ids), all or none.

        With `history_from_start`, later members may read everything. `client_channel_id` makes a repetition
        of this very call return the same group: give one (`parley.new_id()`) to be able to go on after a
        failure. Raises `UserNotFound`, `ChannelFull`, `InvalidField`.
        """
        visibility = HistoryVisibility.FROM_START if history_from_start else HistoryVisibility.FROM_JOINING
        request = channel_service_pb2.CreateChannelRequest(
            title=title,
            member_ids=await self._directory.user_ids(members),
            history_visibility=channel_pb2.HistoryVisibility.ValueType(visibility),
            client_channel_id=client_channel_id or new_id(),
        )
        response = await self._link.call(self._link.channels.CreateChannel, request)
        return self.channel(response.channel.channel_id)

    async def join(self, code: str) -> Channel:
        """Become a member of a group by an invite's code. Joining again changes nothing.

        Raises `InviteNotFound` for an invite that is unknown, over, or not for the user; `ChannelFull`.
        """
        request = channel_service_pb2.JoinChannelRequest(code=code)
        response = await self._link.call(self._link.channels.JoinChannel, request)
        return self.channel(response.channel.channel_id)

    async def channels(self) -> AsyncIterator[ChannelInfo]:
        """The user's channels by id."""
        request = channel_service_pb2.ListChannelsRequest(page_size=_LARGEST_PAGE)
        pages = self._link.pages(self._link.channels.ListChannels, request, lambda page: page.channels)
        async for channel in pages:
            yield channel_info_of(channel)

    async def inbox(self) -> AsyncIterator[InboxEntry]:
        """The start screen: the user's channels, newest activity first."""
        request = chat_service_pb2.GetInboxRequest(page_size=_LARGEST_PAGE)
        async for entry in self._link.pages(self._link.chat.GetInbox, request, lambda page: page.entries):
            yield inbox_entry_of(entry)

    async def devices(self) -> AsyncIterator[Device]:
        """The user's log-ins, newest first."""
        request = auth_service_pb2.ListDevicesRequest(page_size=_LARGEST_PAGE)
        async for device in self._link.pages(self._link.auth.ListDevices, request, lambda page: page.devices):
            yield device_of(device)

    async def revoke_device(self, device_id: str) -> None:
        """Log one of the user's devices out. Raises `DeviceNotFound`."""
        request = auth_service_pb2.RevokeDeviceRequest(device_id=device_id)
        await self._link.call(self._link.auth.RevokeDevice, request)

    async def log_out(self) -> None:
        """Log this device out. Its tokens stop working at once; close the client after it."""
        await self._link.call(self._link.auth.LogOut, auth_service_pb2.LogOutRequest())
