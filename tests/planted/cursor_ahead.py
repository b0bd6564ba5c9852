"""Planted bug: Welcome always brings the feed's newest cursor, though what it stands for may only follow."""

from __future__ import annotations

from typing import Any

from parley.chat.v1 import stream_pb2
from parley_server.api import frames
from parley_server.chat.cursor import cursor_text
from parley_server.testing.planting import plant

_welcome = frames.welcome


def _welcome_with_cursor(user_id: str, session_id: str, node_id: str, joining: Any, *rest: Any) -> bytes:
    frame = stream_pb2.ConnectResponse.FromString(_welcome(user_id, session_id, node_id, joining, *rest))
    frame.controls[0].welcome.cursor = cursor_text(user_id, joining.cursor)
    return frame.SerializeToString()


plant(frames, welcome=_welcome_with_cursor)
