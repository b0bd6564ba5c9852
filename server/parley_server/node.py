"""The composition root: puts backends behind ports, services behind servicers, and runs the node.

The only module that names backends.
"""

from __future__ import annotations

import asyncio
import random
import secrets
import socket
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import prometheus_client
import uuid_utils
from sqlalchemy.engine import URL

from parley_runtime.clock import Clock, SystemClock
from parley_runtime.logs import get_logger
from parley_runtime.metrics import Metrics
from parley_runtime.secret_file import SecretFileError, secret_bytes
from parley_runtime.settings import AddressUnusable, Limits, Settings
from parley_runtime.tokens import KeyRing, TokenIssuer, TokenVerifier
from parley_server.accounts.authenticator import Authenticator
from parley_server.accounts.operator import ensure_operator
from parley_server.accounts.passwords import PasswordPool
from parley_server.accounts.service import AccountService
from parley_server.accounts.settings import AccountSettings
from parley_server.api import frames
from parley_server.api.admin import AdminServicer
from parley_server.api.auth import AuthServicer
from parley_server.api.channel import ChannelServicer
from parley_server.api.chat import ChatCalls, ChatServicer
from parley_server.api.data_export import DataExport
from parley_server.api.health import HealthChecks
from parley_server.api.interceptor import CallInterceptor
from parley_server.api.mutes import Mutes
from parley_server.api.rates import RateCheck
from parley_server.api.server import Servicers, add_port, make_server
from parley_server.api.sessions import Sessions
from parley_server.api.stream_services import StreamServices
from parley_server.api.user import UserServicer
from parley_server.backends.memory.feed import MemoryFeed
from parley_server.backends.memory.rate_limiter import MemoryRateLimiter
from parley_server.backends.memory.routes import MemoryRoutes
from parley_server.backends.sql.accounts import SqlAccounts
from parley_server.backends.sql.migrate import SchemaTooNew
from parley_server.backends.sqlite.commits import SqliteCommits
from parley_server.backends.sqlite.database import ChatDatabase, DatabaseTooNew, ForeignDatabase
from parley_server.backends.sqlite.folder import DataFolder
from parley_server.backends.sqlite.folder import DataFolderInUse as DataFolderInUse
from parley_server.backends.sqlite.message_log import SqliteMessageLog
from parley_server.backends.sqlite.positions import SqlitePositions
from parley_server.backends.sqlite.projections import SqliteProjections
from parley_server.backends.sqlite.rebuild import catch_up_all
from parley_server.background import background
from parley_server.chat.account_end import AccountEnd
from parley_server.chat.activation import ActivationLimits
from parley_server.chat.administration import Administration
from parley_server.chat.batch_ids import BatchIds
from parley_server.chat.catch_up import CatchUp
from parley_server.chat.channel_state import ChannelLimits
from parley_server.chat.channels import Channels
from parley_server.chat.direct_blocks import DirectBlocks
from parley_server.chat.erasure import Eraser
from parley_server.chat.export import ChatExport
from parley_server.chat.fanout import Fanout
from parley_server.chat.heads import Heads
from parley_server.chat.history import History
from parley_server.chat.hub import Hub
from parley_server.chat.inbox import Inbox
from parley_server.chat.joining import Joins
from parley_server.chat.messages import Messages
from parley_server.chat.owner import OwnerLimits, OwnerPorts
from parley_server.chat.owners import Owners
from parley_server.ports.message_log import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

log = get_logger(__name__)

ERASE_EVERY_SECONDS = 60.0

DATA_UNUSABLE: tuple[type[Exception], ...] = (
    DatabaseTooNew,
    ForeignDatabase,
    SchemaTooNew,
    SecretFileError,
    StoreUnavailable,
    OSError,
)
"""What a start raises when something in the data folder cannot be used. The message says what."""


@dataclass(frozen=True, slots=True)
class RunningNode:
    """A node that serves. `address` is host:port as bound, or unix:path; `metrics_address` is empty without
    metrics.
    """

    node_id: str
    address: str
    metrics_address: str
    data: Path
    operator_token_file: Path


@asynccontextmanager
async def open_node(settings: Settings, clock: Clock | None = None) -> AsyncIterator[RunningNode]:
    """Start a node with the embedded backends; it serves until the block is left, then stops in good order.

    Raises AddressUnusable for an address that cannot be bound, DataFolderInUse for a folder that another
    process holds, any of DATA_UNUSABLE for what lies in it.
    """
    clock = clock or SystemClock()
    node_id = settings.node_id or socket.gethostname()
    limits = settings.limits
    async with AsyncExitStack() as stack:
        folder = DataFolder(settings.data)
        stack.callback(folder.close)
        database = await ChatDatabase.open(folder.chat_database)
        stack.push_async_callback(database.close)
        message_log = SqliteMessageLog(database)
        projections = SqliteProjections(database)
        positions = SqlitePositions(database)
        await catch_up_all(message_log, projections)
        accounts = await SqlAccounts.open(_sqlite_url(folder.accounts_database))
        stack.push_async_callback(accounts.close)

        account_settings = _account_settings(settings)
        keys = await asyncio.to_thread(
            KeyRing.load_or_create, folder.path / "keys.json", clock.now_ms(), secrets.token_bytes
        )
        issuer = TokenIssuer(
            keys,
            issuer=account_settings.token_issuer,
            audience=account_settings.token_audience,
            random_bytes=secrets.token_bytes,
        )
        verifier = TokenVerifier(
            keys.public_keys(),
            issuer=account_settings.token_issuer,
            audience=account_settings.token_audience,
            leeway_seconds=account_settings.clock_leeway_seconds,
        )
        authenticator = Authenticator(verifier, clock, account_settings)
        await authenticator.load(accounts)
        passwords = PasswordPool(account_settings, secrets.token_bytes)
        stack.push_async_callback(passwords.close)
        account_service = AccountService(
            accounts, clock, secrets.token_bytes, issuer, passwords, authenticator, account_settings
        )
        stack.push_async_callback(account_service.close)
        operator_token_file = folder.path / "operator.token"
        await ensure_operator(
            operator_token_file,
            accounts=accounts,
            service=account_service,
            verifier=verifier,
            clock=clock,
            random_bytes=secrets.token_bytes,
            settings=account_settings,
        )

        incarnation = secrets.token_hex(8)
        feed = MemoryFeed(incarnation)
        hub = Hub()
        eraser = Eraser(message_log, projections)
        owners = Owners(
            OwnerPorts(
                message_log,
                projections,
                SqliteCommits(database, message_log, projections),
                Fanout(hub, feed, write_limit=limits.fanout_on_write_members),
                clock,
                BatchIds(secrets.token_bytes(8)),
                eraser,
                account_service,
            ),
            OwnerLimits(
                waiting_commands=limits.waiting_per_channel,
                activation=ActivationLimits(channel=_channel_limits(limits)),
            ),
            channels_limit=limits.channels_in_memory,
        )
        stack.push_async_callback(owners.stop)
        account_service.deletions.on_deletion(AccountEnd(owners, projections, positions).erase_user)
        history = History(message_log, projections, page_limit_bytes=limits.page_bytes)
        messages = Messages(
            owners,
            message_log,
            projections,
            positions,
            history,
            DirectBlocks(projections, account_service.blocks),
            clock,
            text_limit_code_points=limits.text_code_points,
        )
        channels = Channels(
            owners,
            projections,
            account_service,
            account_service.blocks,
            clock,
            group_members_limit=limits.group_members,
            channel_members_limit=limits.channel_members,
        )
        invite_key = await asyncio.to_thread(secret_bytes, folder.path / "invite.key", secrets.token_bytes)
        administration = Administration(owners, projections, account_service, clock, invite_key=invite_key)
        inbox = Inbox(message_log, projections, positions)
        heads = Heads(inbox, projections, positions)

        metrics = Metrics()
        rates = RateCheck(MemoryRateLimiter(clock), settings.rates)
        sessions = Sessions(
            clock,
            settings.sessions,
            streams_limit=limits.streams,
            streams_per_user_limit=limits.streams_per_user,
            waiting_limit_bytes=limits.outboxes_bytes,
            random=random.random,
        )
        stack.callback(authenticator.subscribe(sessions.revoked))
        calls = ChatCalls(messages, positions, feed, hub, clock)
        health = HealthChecks(
            {"store.log": lambda: message_log.head(""), "store.accounts": accounts.ping},
            watches_limit=limits.health_watches,
        )
        await health.check()
        server = make_server(
            settings,
            CallInterceptor(
                authenticator,
                rates,
                clock,
                metrics,
                request_limit_bytes=limits.request_bytes,
                new_error_id=_new_id,
            ),
            Servicers(
                auth=AuthServicer(account_service),
                user=UserServicer(
                    account_service,
                    DataExport(
                        account_service,
                        ChatExport(message_log, projections),
                        exports_limit=limits.exports,
                    ),
                ),
                channel=ChannelServicer(
                    channels, administration, projections, positions, Mutes(positions, hub, clock)
                ),
                chat=ChatServicer(calls, history, inbox, sessions),
                admin=AdminServicer(account_service),
                streams=StreamServices(
                    node_id=node_id,
                    authenticator=authenticator,
                    rates=rates,
                    calls=calls,
                    incarnation=incarnation,
                    joins=Joins(
                        feed,
                        heads,
                        positions,
                        watch_above_members=limits.fanout_on_write_members,
                        replay_limit_events=limits.replay_events,
                    ),
                    catch_up=CatchUp(
                        History(message_log, projections, page_limit_bytes=limits.frame_bytes),
                        heads,
                        projections,
                        positions,
                        feed,
                        read_mark_field=frames.read_position,
                        digest_field=lambda head: frames.digest([head]),
                    ),
                    routes=MemoryRoutes(clock),
                    hub=hub,
                    sessions=sessions,
                    clock=clock,
                    metrics=metrics,
                    limits=limits,
                    session_settings=settings.sessions,
                    new_session_id=_new_id,
                    new_error_id=_new_id,
                ),
                health=health,
            ),
        )
        port = add_port(server, settings.listen, settings.tls)
        await server.start()
        # From here on it takes calls: however this ends, they end before the stores close.
        try:
            metrics_address = await _serve_metrics(stack, settings.metrics_listen, metrics)
            await stack.enter_async_context(
                background(
                    stream_sweep=sessions.sweep(),
                    health_checks=health.keep_checking(),
                    account_deletions=account_service.deletions.run(),
                    erasures=eraser.keep_sweeping(every_seconds=ERASE_EVERY_SECONDS),
                )
            )
            address = _bound_address(settings.listen, port)
            log.info(
                "node serves", node=node_id, address=address, metrics=metrics_address, data=str(folder.path)
            )
            yield RunningNode(node_id, address, metrics_address, folder.path, operator_token_file)
        finally:
            started = time.monotonic()
            health.leave()
            await sessions.stop(settings.stop_grace_seconds)
            left_seconds = settings.stop_grace_seconds - (time.monotonic() - started)
            await server.stop(max(0.0, left_seconds))
            log.info("node left", node=node_id)


def _bound_address(listen: str, port: int) -> str:
    # gRPC says that the port of a unix socket is 1.
    return listen if listen.startswith("unix:") else f"{listen.rpartition(':')[0]}:{port}"


async def _serve_metrics(stack: AsyncExitStack, listen: str, metrics: Metrics) -> str:
    if not listen:
        return ""
    host, _, port = listen.rpartition(":")
    try:
        server, thread = prometheus_client.start_http_server(
            int(port), host or "127.0.0.1", registry=metrics.registry
        )
    except (OSError, ValueError) as error:
        raise AddressUnusable(f"cannot serve metrics on {listen}: {error}") from error

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    stack.push_async_callback(asyncio.to_thread, stop)
    return f"{host}:{server.server_port}"


def _sqlite_url(path: Path) -> str:
    # SQLAlchemy reads a URL: what would mean something in one is escaped by it.
    return URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)


def _channel_limits(limits: Limits) -> ChannelLimits:
    return ChannelLimits(
        edit_window_seconds=limits.edit_window_seconds,
        emojis_per_message=limits.emojis_per_message,
        emojis_per_user_and_message=limits.emojis_per_user_and_message,
        pins=limits.pins_per_channel,
        invites=limits.invites_per_channel,
        bans=limits.bans_per_channel,
    )


def _account_settings(settings: Settings) -> AccountSettings:
    auth = settings.auth
    return AccountSettings(
        sign_up_open=auth.sign_up == "open",
        access_lifetime_seconds=auth.access_token_seconds,
        refresh_lifetime_seconds=auth.refresh_token_seconds,
        refresh_grace_seconds=auth.refresh_grace_seconds,
        device_limit=settings.limits.devices_per_user,
        contact_limit=settings.limits.contacts_per_user,
        block_limit=settings.limits.blocks_per_user,
        password_workers=auth.password_workers,
        password_waiting=auth.password_queue,
    )


def _new_id() -> str:
    return uuid_utils.uuid7().hex
