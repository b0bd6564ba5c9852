"""The terminal client behind `parley chat`: a pure model, thin widgets, and a session with the server."""

from __future__ import annotations
