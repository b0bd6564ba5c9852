"""What the terminal client shows and decides, as pure values and functions. No event loop, SDK or widget."""

from __future__ import annotations
