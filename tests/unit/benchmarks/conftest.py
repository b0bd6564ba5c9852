"""The benchmarks are no installed package: they are found from the repository's root."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[3]
if str(_ROOT) not in sys.path:
    sys.path.append(str(_ROOT))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's root."""
    return _ROOT
