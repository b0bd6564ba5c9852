"""What tests of the transport share: a peer that speaks frames, and the fuzzer."""

from __future__ import annotations
