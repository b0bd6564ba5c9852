"""Keys that were pressed before the focus had moved: they belong to where it is now."""

from __future__ import annotations

from textual import events
from textual.widget import Widget


def passed_on(widget: Widget, event: events.Key) -> bool:
    """Pass a key on to the widget that has the focus, if that is another one by now. Returns whether it is.

    Textual hands keys to the focused widget's own queue: what is typed quickly waits there while the key
    before it moves the focus.
    """
    focused = widget.screen.focused
    if focused is None or focused is widget:
        return False
    event.stop()
    event.prevent_default()
    focused.post_message(events.Key(event.key, event.character))
    return True
