"""Channel logs for Hypothesis to draw, in the SDK's events."""

from __future__ import annotations

from hypothesis import strategies as st

import parley
from parley_server.testing.timeline.log import TimelineLog
from parley_server.testing.timeline.world import World

ME = "u0"
USERS = [f"u{number}" for number in range(5)]
EMOJIS = ["👍", "한"]
CHANNEL = "c"


class TimelineWriter:
    """Writes a log as a server could: what no server would take as `world` stands writes nothing."""

    def __init__(self) -> None:
        self.log = TimelineLog(ME)
        self.world = World()
        self.erased: set[str] = set()

    def write(self, made: type[parley.Event], actor: str, /, **fields: object) -> None:
        """The next event, of this kind and with these fields."""
        seq = len(self.log.events) + 1
        common = {"channel_id": CHANNEL, "seq": seq, "message_no": 0, "create_time_ms": 1000 + seq}
        event = made(**common, actor_id=actor, **fields)  # type: ignore[arg-type]
        self.log.events.append(event)
        self.world.apply(event)

    def entitle(self, actor: str, title: str) -> None:
        """The channel gets a title; with the first event it is created."""
        self.write(
            parley.ChannelEvent,
            actor,
            created=not self.log.events,
            kind=parley.ChannelKind.GROUP,
            title=title,
            history_visibility=parley.HistoryVisibility.FROM_START,
            member_limit=100,
        )

    def member(self, user: str, role: parley.Role) -> None:
        """Somebody gets a role, or with UNSPECIFIED is removed."""
        change = parley.MemberChange.ADDED if role else parley.MemberChange.REMOVED
        self.write(parley.MemberEvent, ME, user_id=user, change=change, role=role)

    def post(self, user: str, target: int, number: int) -> None:
        """A message. If it can, it answers the message at `target` in a thread, answers it by quoting, or has
        nothing to do with it, as `number` says by its remainder (of three).
        """
        message = self.world.messages.get(target)
        alive = message is not None and not message.delete_seq
        nested = message is not None and message.event.thread_root_seq > 0
        self.write(
            parley.MessageEvent,
            user,
            text=f"text {len(self.log.events)}",
            thread_root_seq=target if alive and not nested and number % 3 == 0 else 0,
            reply_to_seq=target if alive and number % 3 == 1 else 0,
        )

    def change(self, kind: str, user: str, target: int, emoji: str) -> None:
        """An edit, delete, pin or react of the message at `target`. What holds already is undone."""
        message = self.world.messages.get(target)
        if message is None or message.delete_seq:
            return
        author_id = message.event.actor_id
        if kind == "edit":
            self.write(parley.EditEvent, author_id, target_seq=target, text=f"edit {len(self.log.events)}")
        elif kind == "delete":
            self.write(parley.DeleteEvent, user, target_seq=target)
        elif kind == "pin":
            pinned = not message.pin_seq
            self.write(parley.PinEvent, user, target_seq=target, pinned=pinned, author_id=author_id)
        elif kind == "react":
            users = message.reactions.get(emoji, [])
            added = user not in users
            count = len(users) + (1 if added else -1)
            self.write(parley.ReactionEvent, user, target_seq=target, emoji=emoji, added=added, count=count)


@st.composite
def timeline_logs(draw: st.DrawFn) -> TimelineLog:
    """A channel's log, of 3 to 44 events, as ME reads it."""
    kinds = ["post"] * 4 + ["edit"] * 3 + ["react"] * 4 + ["delete", "pin", "pin", "member", "title", "erase"]
    users = st.sampled_from(USERS)
    step = st.tuples(st.sampled_from(kinds), st.integers(0, 2), users, st.sampled_from(EMOJIS))
    writer = TimelineWriter()
    writer.entitle(ME, "t")
    writer.member(ME, parley.Role.OWNER)
    writer.post(USERS[1], 0, 0)
    for kind, place, user, emoji in draw(st.lists(step, min_size=16, max_size=40)):
        if user in writer.erased:
            continue
        seqs = list(writer.world.messages)
        target = seqs[-1 - place] if place < len(seqs) else 0
        if kind == "post":
            writer.post(user, target, place)
        elif kind == "member" and user != ME:
            writer.member(user, parley.Role(place))
        elif kind == "title":
            writer.entitle(user, f"title {place}")
        elif kind == "erase" and not place:
            writer.write(parley.AuthorErasedEvent, user, user_id=user)
            writer.erased.add(user)
        else:
            writer.change(kind, user, target, emoji)
    if draw(st.integers(0, 19)) == 0:
        writer.write(parley.ChannelDeletedEvent, ME)
    return writer.log
