"""The messages of a conversation. The reader's place holds while they come, change, and are laid out anew."""

from __future__ import annotations

from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from parley_cli.tui.model.conversation import Conversation, ConversationKey
from parley_cli.tui.model.layout import Block, Layout, Line, View
from parley_cli.tui.model.message import Key
from parley_cli.tui.model.viewport import Place, last_top, place_at, top_of, top_to_show
from parley_cli.tui.style import strip_of

_GUTTER = 2
_NEAR_TOP_LINES = 8


class MessageList(ScrollView, can_focus=True):
    """Shows a conversation, keeps the place of its reader, and says what the reader sees."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up,k", "app.step(-1)", show=False),
        Binding("down,j", "app.step(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "to_top", show=False),
        Binding("end,G", "to_end", show=False),
        Binding("enter,space", "app.unfold", show=False),
        Binding("e", "app.edit", show=False),
        Binding("d,delete", "app.delete", show=False),
        Binding("r", "app.reply", show=False),
        Binding("t", "app.thread", show=False),
        Binding("plus,+", "app.react", show=False),
        Binding("a", "app.react_again", show=False),
        Binding("p", "app.pin", show=False),
    ]

    class Seen(Message):
        """The window moved: whether it shows the end, and whether the oldest item is near."""

        def __init__(self, *, at_end: bool, near_top: bool) -> None:
            super().__init__()
            self.at_end = at_end
            self.near_top = near_top

    class Clicked(Message):
        """A message was clicked."""

        def __init__(self, key: Key) -> None:
            super().__init__()
            self.key = key

    def __init__(self, *, id: str) -> None:
        super().__init__(id=id)
        self._layout = Layout()
        self._conversation: Conversation | None = None
        self._view: View | None = None
        self._lines: list[tuple[Block, int, Line]] = []
        self._heights: list[tuple[tuple[str, Key], int]] = []
        self._places: dict[ConversationKey, Place | None] = {}
        self._laid_height = 0
        self._placing = False

    @property
    def text_width(self) -> int:
        """How many cells a message may be wide."""
        return max(self.scrollable_content_region.width - _GUTTER, 10)

    @property
    def at_end(self) -> bool:
        """Whether the reader follows the end."""
        return self._conversation is None or self._places.get(self._conversation.key) is None

    def show_conversation(self, conversation: Conversation | None, view: View) -> None:
        """Show it, at the place where its reader left it; a newly selected message comes into the window."""
        before, self._conversation, self._view = self._conversation, conversation, view
        if conversation is None:
            self._lines, self._heights = [], []
            self.virtual_size = Size(self.size.width, 0)
            self.refresh()
            return
        if before is None or before.key != conversation.key:
            self._layout = Layout()
            # As many places as conversations are kept; those left longest ago go first.
            place = self._places.pop(conversation.key, None)
            self._places = dict([*list(self._places.items())[-50:], (conversation.key, place)])
        self._lay_out()
        chosen = before is None or before.key != conversation.key or before.selected != conversation.selected
        if chosen and conversation.selected is not None:
            self._show_selected(conversation.selected)
        self._tell()

    def follow_end(self) -> None:
        """Go to the end and stay there."""
        if self._conversation is not None:
            self._places[self._conversation.key] = None
            self._scroll(last_top(self._heights, self.window))
            self._tell()

    @property
    def window(self) -> int:
        """How many lines are seen at once."""
        return max(self.scrollable_content_region.height, 1)

    def _lay_out(self) -> None:
        assert self._conversation is not None and self._view is not None
        blocks = self._layout.blocks(self._conversation, self._view)
        self._lines = [(block, place, line) for block in blocks for place, line in enumerate(block.lines)]
        self._heights = [(block.key, len(block.lines)) for block in blocks]
        place = self._places.get(self._conversation.key)
        self._placing = True
        try:
            self.virtual_size = Size(self.scrollable_content_region.width, len(self._lines))
        finally:
            self._placing = False
        self._scroll(top_of(self._heights, place, self.window))
        self.refresh()

    def _scroll(self, top: int) -> None:
        self._placing = True
        try:
            self.scroll_to(y=top, animate=False, force=True, immediate=True)
        finally:
            self._placing = False

    def _show_selected(self, key: Key) -> None:
        top = top_to_show(self._heights, ("item", key), round(self.scroll_y), self.window)
        if top != round(self.scroll_y):
            self._scroll(top)
        self._keep_place(top)

    def _keep_place(self, top: int) -> None:
        if self._conversation is not None:
            self._places[self._conversation.key] = place_at(self._heights, top, self.window)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        """The reader scrolled: this is the place now."""
        super().watch_scroll_y(old_value, new_value)
        if not self._placing and self._conversation is not None:
            self._keep_place(round(new_value))
            self._tell()

    def on_resize(self, event: events.Resize) -> None:
        """The window has another size: the place stays, the lines are broken anew."""
        if self._conversation is not None and self._view is not None and event.size.width:
            width = self.text_width
            if width != self._view.width:
                self._view = View(
                    width, self._view.names, self._view.me_id, self._view.today, self._view.zone
                )
            self._lay_out()
            self._tell()

    def _tell(self) -> None:
        conversation = self._conversation
        if conversation is not None:
            near_top = self.scroll_y <= _NEAR_TOP_LINES and conversation.loaded
            self.post_message(self.Seen(at_end=self.at_end, near_top=near_top))

    def render_line(self, y: int) -> Strip:
        """One line of the window."""
        width = self.scrollable_content_region.width
        base = self.rich_style
        place = y + self.scroll_offset.y
        if self._conversation is None or place >= len(self._lines):
            return Strip.blank(width, base)
        block, number, line = self._lines[place]
        selected = block.key == ("item", self._conversation.selected)
        gutter = ("▶ " if number == 0 else "┃ ") if selected else "  "
        return strip_of(line, base, width, gutter=gutter)

    def action_page(self, by: int) -> None:
        """Scroll by a window."""
        top = round(self.scroll_y) + by * max(self.window - 2, 1)
        top = min(max(top, 0), last_top(self._heights, self.window))
        self.scroll_to(y=top, animate=False, immediate=True)

    def action_to_top(self) -> None:
        """Scroll to the oldest item held."""
        self.scroll_to(y=0, animate=False, immediate=True)

    def action_to_end(self) -> None:
        """Scroll to the newest item."""
        self.follow_end()

    def on_click(self, event: events.Click) -> None:
        """Select the message that was clicked."""
        place = event.y + self.scroll_offset.y
        if 0 <= place < len(self._lines) and self._lines[place][0].key[0] == "item":
            self.post_message(self.Clicked(self._lines[place][0].key[1]))
