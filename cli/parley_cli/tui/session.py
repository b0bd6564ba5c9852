"""The terminal client's session with the server: what happens there comes in as actions, commands go out."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack

import parley
from parley_cli.failure import CommandFailure, failure_of
from parley_cli.global_options import GlobalOptions
from parley_cli.names import Labels, Names
from parley_cli.session import credential_store, signed_in
from parley_cli.tui.convert import connection_of, line_of, notice_of, pending_of, people_of
from parley_cli.tui.desk import Desk
from parley_cli.tui.log import Log
from parley_cli.tui.model import actions as act
from parley_cli.tui.model import commands as ask
from parley_cli.tui.model.connection import Connection
from parley_cli.tui.model.conversation import ConversationKey
from parley_cli.tui.model.inbox import InboxLine
from parley_cli.tui.model.member import Member, sorted_members
from parley_cli.tui.model.message import Logged
from parley_cli.tui.outbox_state import OutboxState

_TICK_SECONDS = 0.5
_UNDER_WAY_LIMIT = 32
"""Calls at once. More are refused: a person who waits for 32 answers sees that something is wrong."""
_POSTS_LIMIT = 500
_TEND_SECONDS = 0.3
"""Read positions are told at most this often."""

Emit = Callable[[act.FromSession], None]


def now_ms() -> int:
    """The time of day."""
    return time.time_ns() // 1_000_000


class ServerSession:
    """One log-in at work. `run` it in a task of its own; `submit` and `desk` may be used while it runs.

    `emit` is called on the event loop with whatever happens, and must return at once.
    """

    def __init__(self, options: GlobalOptions, username: str, emit: Emit) -> None:
        self._options = options
        self._username = username
        self._emit = emit
        self._client: parley.Client | None = None
        self._names: Names | None = None
        self._labels: Labels | None = None
        self._logs: dict[ConversationKey, Log] = {}
        self._known: set[str] = set()
        self._told_heads: dict[str, tuple[int, int]] = {}
        self._members_wanted: set[str] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._under_way = 0
        self._posts: deque[ask.Post] = deque()
        self._post_came = asyncio.Event()
        self._marks: dict[str, int] = {}
        self._warning = ""
        self._following = asyncio.Event()
        self._live = False
        self._inbox_stale = True

    @property
    def desk(self) -> Desk:
        """What a person asks for and waits for. Raises CommandFailure while there is no client."""
        return Desk(self._client, self._options.server)

    async def run(self) -> None:
        """Be the session until cancelled. What no retry can mend is told, and ends it."""
        try:
            await self._run()
        except CommandFailure as failure:
            self._emit(act.ConnectionMoved(Connection("ended", trouble=failure.what)))
            self._emit(act.Told(f"{failure.what}. {failure.advice}".strip(), bad=True))

    async def _run(self) -> None:
        async with AsyncExitStack() as stack:
            client = await self._connected(stack)
            self._client = client
            self._names = Names(client)
            self._labels = Labels(client, self._names)
            username = client.tokens.username if client.tokens else self._username
            self._emit(act.SignedIn(client.me, username, self._options.server))
            if self._warning:
                self._emit(act.Told(self._warning, bad=True))
            for waiting in client.outbox():
                self._emit(act.PendingFound(waiting.channel_id, pending_of(waiting, now_ms())))
            try:
                async with asyncio.TaskGroup() as tasks:
                    self._tasks = tasks
                    tasks.create_task(self._follow(client), name="chat events")
                    tasks.create_task(self._post_all(client), name="chat posts")
                    tasks.create_task(self._watch(client), name="chat status")
                    tasks.create_task(self._tend(client), name="chat upkeep")
            finally:
                self._tasks = None
                self._client = None

    async def _connected(self, stack: AsyncExitStack) -> parley.Client:
        store = credential_store()
        log_in = store.load(self._options.server, self._username)
        path = store.outbox_path(log_in) if log_in is not None else None
        state = OutboxState(path) if path is not None else None
        while True:
            try:
                return await stack.enter_async_context(
                    signed_in(
                        self._options,
                        foreground=True,
                        on_status=self._status_changed,
                        on_outcome=self._outcome,
                        state=state,
                    )
                )
            except parley.StateError as error:
                if state is None:
                    raise
                # Another window of the same account: it works, but its unsent messages end with it.
                state = None
                self._warning = f"Unsent messages are not kept here: {error}"

    # --- what the server tells

    async def _follow(self, client: parley.Client) -> None:
        try:
            stream = client.events()
            await stream.ready()
            self._following.set()
            async for event in stream:
                await self._attempt(self._happened(client, stream, event))
        except parley.ParleyError as error:
            # The iterator raises only what the user has to see to. What is on the screen stays readable.
            self._tell(error)
        except parley.StateError as error:
            self._emit(act.Told(str(error), bad=True))

    async def _happened(self, client: parley.Client, stream: parley.EventStream, event: parley.Event) -> None:
        assert self._names is not None and self._labels is not None
        before = set(self._names)
        await self._names.learn(people_of(event))
        if new := set(self._names) - before:
            self._emit(act.NamesLearned({user_id: self._names[user_id] for user_id in new}))
        channel_id = event.channel_id
        if isinstance(event, parley.ChannelDeletedEvent):
            self._gone(channel_id, "This group was deleted.")
            return
        if isinstance(event, parley.MemberEvent):
            left = event.change in (parley.MemberChange.LEFT, parley.MemberChange.REMOVED)
            if left and event.user_id == client.me:
                self._gone(channel_id, "You are in this group no more.")
                return
            self._members_wanted.add(channel_id)
        self._labels.changed(event)
        if channel_id not in self._known or isinstance(event, parley.ChannelEvent):
            await self._learn_channel(channel_id, event.create_time_ms)
        direct = (await self._labels.label(channel_id)).startswith("@")
        notice = notice_of(event, self._names, direct=direct)
        for key, log in self._logs.items():
            if key[0] == channel_id:
                items: list[Logged] = [*log.take(event), *([] if notice is None else [notice])]
                if items:
                    self._emit(act.NewsCame(key, tuple(items)))
        if isinstance(event, parley.MessageEvent):
            calls_me = event.actor_id != client.me and (event.mention_all or client.me in event.mentions)
            self._emit(
                act.MessageCame(
                    channel_id, event.seq, event.actor_id, event.text, event.create_time_ms, calls_me
                )
            )
        elif isinstance(event, parley.EditEvent) and not event.superseded:
            self._emit(act.TextChanged(channel_id, event.target_seq, event.actor_id, event.text))
        elif isinstance(event, parley.DeleteEvent):
            self._emit(act.TextChanged(channel_id, event.target_seq, "", ""))
        elif isinstance(event, parley.AuthorErasedEvent):
            self._inbox_stale = True
        self._tell_heads(stream, [channel_id])

    async def _learn_channel(self, channel_id: str, time_ms: int) -> None:
        assert self._labels is not None
        label = await self._labels.label(channel_id)
        self._known.add(channel_id)
        self._emit(act.LineCame(InboxLine(channel_id, label, label.startswith("@"), time_ms=time_ms)))

    def _gone(self, channel_id: str, why: str) -> None:
        self._known.discard(channel_id)
        self._told_heads.pop(channel_id, None)
        self._emit(act.ChannelGone(channel_id, why))

    async def _load_inbox(self, client: parley.Client) -> None:
        assert self._names is not None and self._labels is not None
        self._inbox_stale = False
        lines = []
        async for entry in client.inbox():
            label = await self._labels.learn(entry)
            if entry.last_message is not None:
                await self._names.learn([entry.last_message.actor_id])
            lines.append(line_of(entry, label, self._names, client.me))
        self._known = {line.channel_id for line in lines}
        self._emit(act.NamesLearned(dict(self._names)))
        self._emit(act.InboxCame(tuple(lines)))
        self._told_heads.clear()

    def _tell_heads(self, stream: parley.EventStream, channel_ids: list[str]) -> None:
        for channel_id in channel_ids:
            head = stream.heads.get(channel_id)
            if head is None or channel_id not in self._known:
                continue
            told = (head.head_seq, head.head_message_no - head.read_message_no)
            if self._told_heads.get(channel_id) != told:
                self._told_heads[channel_id] = told
                self._emit(act.HeadMoved(channel_id, *told))

    def _status_changed(self, status: parley.ClientStatus) -> None:
        self._emit(act.ConnectionMoved(connection_of(status)))
        live = status.phase is parley.Phase.LIVE
        if live and not self._live:
            self._inbox_stale = True
        self._live = live

    def _outcome(self, outcome: parley.Outcome) -> None:
        trouble = ""
        if outcome.error is not None:
            trouble = failure_of(outcome.error, self._options.server).what
        self._emit(
            act.PendingSettled(
                outcome.channel_id,
                outcome.client_message_id,
                sent_seq=outcome.sent.seq if outcome.sent is not None else 0,
                trouble=trouble,
            )
        )

    async def _watch(self, client: parley.Client) -> None:
        # The countdown, what waits, read positions of other devices: nobody tells of them, so they are asked.
        last: Connection | None = None
        while True:
            now = connection_of(client.status())
            if now != last:
                last = now
                self._emit(act.ConnectionMoved(now))
            if now.phase == "live":
                stream = client.events()
                self._tell_heads(stream, list(stream.heads))
                wanted, self._members_wanted = self._members_wanted, set()
                for channel_id in wanted & {key[0] for key in self._logs}:
                    self.submit(ask.LoadMembers(channel_id))
            await asyncio.sleep(_TICK_SECONDS)

    async def _tend(self, client: parley.Client) -> None:
        while True:
            if self._live and self._inbox_stale:
                await self._attempt(self._load_inbox(client))
            for channel_id, seq in list(self._marks.items()):
                if self._live:
                    del self._marks[channel_id]
                    await self._attempt(client.channel(channel_id).mark_read(seq))
            await asyncio.sleep(_TEND_SECONDS)

    # --- what the model asks for

    def submit(self, command: ask.Command) -> None:
        """Do what the command says, as soon as possible. What comes of it comes as actions."""
        client, tasks = self._client, self._tasks
        match command:
            case ask.Forget(key, 0):
                self._logs.pop(key, None)
            case ask.Forget(key, before_seq):
                if (log := self._logs.get(key)) is not None:
                    log.forget_before(before_seq)
            case ask.MarkRead(channel_id, seq):
                self._marks[channel_id] = max(seq, self._marks.get(channel_id, 0))
            case ask.Post(channel_id, pending) if len(self._posts) >= _POSTS_LIMIT or client is None:
                why = "too many messages at once" if client is not None else "there is no session"
                settled = act.PendingSettled(channel_id, pending.client_message_id, trouble=why)
                self._emit(settled)
            case ask.Post():
                self._posts.append(command)
                self._post_came.set()
            case _ if client is None or tasks is None or self._under_way >= _UNDER_WAY_LIMIT:
                why = "Too much is under way: wait for an answer." if client else "There is no session."
                if isinstance(command, ask.LoadPage):
                    self._emit(act.PageFailed(command.key, why))
                else:
                    self._emit(act.Told(why, bad=True))
            case _:
                self._under_way += 1
                tasks.create_task(self._do(client, command))

    async def _post_all(self, client: parley.Client) -> None:
        # One after the other: the order in which they were written is the order in which they are sent.
        while True:
            while self._posts:
                post = self._posts.popleft()
                pending = post.pending
                try:
                    await client.channel(post.channel_id).post(
                        pending.text,
                        mentions=pending.mentions,
                        mention_all=pending.mention_all,
                        reply_to=pending.reply_to_seq,
                        thread=pending.thread_root_seq,
                        client_message_id=pending.client_message_id,
                    )
                except (parley.ParleyError, parley.StateError) as error:
                    why = error.message if isinstance(error, parley.ParleyError) else str(error)
                    self._emit(act.PendingSettled(post.channel_id, pending.client_message_id, trouble=why))
            self._post_came.clear()
            await self._post_came.wait()

    async def _do(self, client: parley.Client, command: ask.Command) -> None:
        try:
            await self._call(client, command)
        except parley.ParleyError as error:
            if isinstance(command, ask.LoadPage):
                self._emit(act.PageFailed(command.key, failure_of(error, self._options.server).what))
            else:
                self._tell(error)
        finally:
            self._under_way -= 1

    async def _call(self, client: parley.Client, command: ask.Command) -> None:
        match command:
            case ask.LoadPage(key, before_seq):
                await self._load_page(client, key, before_seq)
            case ask.LoadMembers(channel_id):
                await self._load_members(client, channel_id)
            case ask.Edit(channel_id, seq, text, mentions, mention_all):
                await client.channel(channel_id).edit(seq, text, mentions=mentions, mention_all=mention_all)
            case ask.Erase(channel_id, seq):
                await client.channel(channel_id).delete(seq)
            case ask.PutReaction(channel_id, seq, emoji, on):
                channel = client.channel(channel_id)
                await (channel.react(seq, emoji) if on else channel.unreact(seq, emoji))
            case ask.PutPin(channel_id, seq, on):
                channel = client.channel(channel_id)
                await (channel.pin(seq) if on else channel.unpin(seq))
            case _:
                raise AssertionError(f"{command} is done by submit")

    async def _load_page(self, client: parley.Client, key: ConversationKey, before_seq: int) -> None:
        assert self._names is not None
        # A page that was read before the stream begins lacks what happens in between, and so does the stream.
        await self._following.wait()
        log = self._logs.setdefault(key, Log(key, client.me))
        messages, complete = await log.page(client.channel(key[0]), before_seq)
        await self._names.learn({message.author_id for message in messages})
        self._emit(act.NamesLearned({each.author_id: self._names[each.author_id] for each in messages}))
        self._emit(act.PageCame(key, tuple(messages), complete))

    async def _load_members(self, client: parley.Client, channel_id: str) -> None:
        assert self._names is not None
        found = [member async for member in client.channel(channel_id).members()]
        await self._names.learn({member.user_id for member in found})
        members = [
            Member(each.user_id, self._names[each.user_id], each.role.name.lower(), each.read_seq)
            for each in found
        ]
        self._emit(act.MembersCame(channel_id, sorted_members(members)))

    async def _attempt(self, work: Coroutine[object, object, object]) -> None:
        try:
            await work
        except parley.ParleyError as error:
            self._tell(error)

    def _tell(self, error: parley.ParleyError) -> None:
        failure = failure_of(error, self._options.server)
        self._emit(act.Told(f"{failure.what}. {failure.advice}".strip(), bad=True))
