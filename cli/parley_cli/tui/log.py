"""One conversation's messages as the SDK's timeline folds them."""

from __future__ import annotations

from collections.abc import Iterable

import parley
from parley_cli.tui.convert import message_of
from parley_cli.tui.model.conversation import ConversationKey
from parley_cli.tui.model.message import Message

PAGE_SIZE = 60
"""Messages fetched at once: more than a screen holds, and quick to show."""

_ABOUT_A_MESSAGE = (parley.EditEvent, parley.DeleteEvent, parley.ReactionEvent, parley.PinEvent)


class Log:
    """What is known of a conversation. It must exist before its first page is asked for: then nothing that
    happens meanwhile is missed.
    """

    def __init__(self, key: ConversationKey, me_id: str) -> None:
        self._key = key
        self._me_id = me_id
        self._timeline = parley.Timeline(key[0], me_id)
        self._pages_under_way = 0

    def take(self, event: parley.Event) -> list[Message]:
        """Take what happened; return the messages that are new or look different now."""
        if isinstance(event, parley.MessageEvent):
            root_seq = self._key[1]
            if root_seq and root_seq not in (event.seq, event.thread_root_seq):
                return []
        elif isinstance(event, _ABOUT_A_MESSAGE):
            # Of a message that is not held a later page tells everything. While one is under way it may not.
            if not self._pages_under_way and self._timeline.message(event.target_seq) is None:
                return []
        elif not isinstance(event, parley.AuthorErasedEvent):
            return []
        return self._now(self._timeline.take(event))

    async def page(self, channel: parley.Channel, before_seq: int) -> tuple[list[Message], bool]:
        """Fetch messages before `before_seq` (0: the newest), oldest first; say whether they are the first.

        Raises ParleyError.
        """
        self._pages_under_way += 1
        try:
            root_seq = self._key[1]
            # Every page brings the root as well: whoever looks at a thread sees what it is about.
            events = [await channel.message(root_seq)] if root_seq else []
            before = len(events)
            pages = (
                channel.thread(root_seq, PAGE_SIZE, before_seq)
                if root_seq
                else channel.history(PAGE_SIZE, before_seq)
            )
            events += [event async for event in pages]
            return self._now(self._timeline.take(events)), len(events) - before < PAGE_SIZE
        finally:
            self._pages_under_way -= 1

    def forget_before(self, seq: int) -> None:
        """Hold the messages before `seq` no more."""
        self._timeline.forget_before(seq)

    def _now(self, seqs: Iterable[int]) -> list[Message]:
        found = [self._timeline.message(seq) for seq in sorted(seqs)]
        return [message_of(each, self._me_id) for each in found if each is not None]
