"""One conversation as it is shown: a stretch of the log up to its end, and what is on its way."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from parley_cli.tui.model.message import Item, Key, Logged, Message, Pending

HELD_LIMIT = 5_000
"""Items of one conversation kept in memory. Whoever scrolls further is told where to read on."""

RESTING_LIMIT = 500
"""Items kept of a conversation whose end is looked at. Older ones are fetched again when wanted."""

ConversationKey = tuple[str, int]
"""The channel's id, and the seq of a thread's root or 0 for the channel itself."""


@dataclass(frozen=True, slots=True)
class Conversation:
    """A channel, or one thread of it (`root_seq`).

    `items` are by seq, without holes among messages. `complete` says that they reach the beginning, `loading`
    that older ones are on their way, `unfolded` which long messages are shown whole.
    """

    channel_id: str
    root_seq: int = 0
    items: tuple[Logged, ...] = ()
    pending: tuple[Pending, ...] = ()
    loaded: bool = False
    complete: bool = False
    loading: bool = False
    selected: Key | None = None
    unfolded: frozenset[Key] = frozenset()

    @property
    def key(self) -> ConversationKey:
        """Its name."""
        return (self.channel_id, self.root_seq)

    @property
    def full(self) -> bool:
        """Whether as much is held as may be."""
        return len(self.items) >= HELD_LIMIT

    @property
    def oldest_seq(self) -> int:
        """The seq before which older items are to be fetched; 0 when nothing is held yet."""
        # A thread's root stands in front of its replies, however many are missing between them.
        items = [item for item in self.items[:2] if item.seq != self.root_seq]
        return items[0].seq if items else 0

    def everything(self) -> Sequence[Item]:
        """All items from top to bottom."""
        return (*self.items, *self.pending)

    def find(self, key: Key | None) -> Item | None:
        """The item of that name."""
        if isinstance(key, int):
            place = bisect_left(self.items, key, key=_seq)
            found = place < len(self.items) and self.items[place].seq == key
            return self.items[place] if found else None
        return next((each for each in self.pending if each.key == key), None)


def _seq(item: Logged) -> int:
    return item.seq


def belongs(conversation: Conversation, item: Logged) -> bool:
    """Whether the item stands in this conversation."""
    if conversation.root_seq == 0:
        return True
    return isinstance(item, Message) and conversation.root_seq in (item.seq, item.thread_root_seq)


def with_news(conversation: Conversation, items: Iterable[Logged]) -> Conversation:
    """The conversation after what happened in it: new items at its end, changed ones in their place.

    An item older than all that is held is left out unless everything older is held: it would leave a hole.
    """
    held = conversation.items
    oldest = held[0].seq if held else 0
    wanted = [
        item
        for item in items
        if belongs(conversation, item)
        and (conversation.complete or not conversation.loaded or item.seq >= oldest)
    ]
    return _merged(conversation, wanted)


def with_page(conversation: Conversation, items: Iterable[Logged], *, complete: bool) -> Conversation:
    """The conversation after a page of older items. What is already held is newer than the page: it stays."""
    held = {item.seq for item in conversation.items}
    page = [item for item in items if belongs(conversation, item) and item.seq not in held]
    merged = _merged(conversation, page)
    return replace(merged, loaded=True, loading=False, complete=conversation.complete or complete)


def _merged(conversation: Conversation, items: Sequence[Logged]) -> Conversation:
    if not items:
        return conversation
    last = conversation.items[-1].seq if conversation.items else 0
    if len(items) == 1 and items[0].seq > last:
        merged: tuple[Logged, ...] = (*conversation.items, items[0])
    else:
        by_seq = {item.seq: item for item in conversation.items}
        by_seq.update((item.seq, item) for item in items)
        merged = tuple(by_seq[seq] for seq in sorted(by_seq))
    return _arrived(replace(conversation, items=merged), items)


def _arrived(conversation: Conversation, items: Sequence[Logged]) -> Conversation:
    """Messages that came are not on their way any more."""
    if not conversation.pending:
        return conversation
    seqs = {item.client_message_id: item.seq for item in items if isinstance(item, Message)}
    places = {item.seq for item in items}
    waiting = tuple(
        each
        for each in conversation.pending
        if each.client_message_id not in seqs and each.sent_seq not in places
    )
    selected = conversation.selected
    if isinstance(selected, str) and selected in seqs:
        selected = seqs[selected]
    return replace(conversation, pending=waiting, selected=selected)


def with_pending(conversation: Conversation, pending: Pending) -> Conversation:
    """The conversation with one more message on its way, or with what became of one."""
    if any(isinstance(item, Message) and item.seq == pending.sent_seq for item in conversation.items[-50:]):
        return without_pending(conversation, pending.client_message_id)
    others = conversation.pending
    for place, each in enumerate(others):
        if each.client_message_id == pending.client_message_id:
            return replace(conversation, pending=(*others[:place], pending, *others[place + 1 :]))
    return replace(conversation, pending=(*others, pending))


def without_pending(conversation: Conversation, client_message_id: str) -> Conversation:
    """The conversation without that message on its way."""
    kept = tuple(each for each in conversation.pending if each.client_message_id != client_message_id)
    selected = None if conversation.selected == client_message_id else conversation.selected
    return replace(conversation, pending=kept, selected=selected)


def rested(conversation: Conversation) -> Conversation:
    """A channel while its end is looked at: old items are let go of. A thread stays as it is."""
    if len(conversation.items) <= RESTING_LIMIT * 2 or conversation.loading or conversation.root_seq:
        return conversation
    kept = conversation.items[-RESTING_LIMIT:]
    selected = conversation.selected
    if isinstance(selected, int) and all(item.seq != selected for item in kept):
        selected = None
    return replace(conversation, items=kept, complete=False, selected=selected)


def select_step(conversation: Conversation, step: int) -> Conversation:
    """Move the selection by `step` items among messages; without one it begins at the newest."""
    keys = [item.key for item in conversation.everything() if not is_notice(item)]
    if not keys:
        return replace(conversation, selected=None)
    if conversation.selected not in keys:
        return replace(conversation, selected=keys[-1])
    place = keys.index(conversation.selected) + step
    return replace(conversation, selected=keys[min(max(place, 0), len(keys) - 1)])


def is_notice(item: Item) -> bool:
    """Whether the item is no message."""
    return not isinstance(item, Message | Pending)


def newest_own(conversation: Conversation, me_id: str) -> Message | None:
    """The user's newest message that can still be edited as far as the client knows."""
    for item in reversed(conversation.items):
        if isinstance(item, Message) and item.author_id == me_id and not item.deleted:
            return item
    return None
