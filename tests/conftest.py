"""What all tests share."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

# The shipped contract suites are plain modules: without this their assertions say nothing but False.
pytest.register_assert_rewrite("parley_server.testing")


@pytest.fixture(scope="session")
def planted() -> Path:
    """The folder of bugs that `NodeProcess` can put into a node, one file each."""
    return Path(__file__).resolve().parent / "planted"


@pytest.fixture(scope="session")
def grpcurl() -> Path:
    """The grpcurl program. Skips without one; with CI=true that is a failure. Mark such a test needs_go."""
    own = Path(__file__).resolve().parent.parent / ".tools" / "bin" / "grpcurl"
    found = str(own) if own.exists() else shutil.which("grpcurl")
    if found is not None:
        return Path(found)
    message = "no grpcurl: `make deps` builds it where a Go toolchain is present"
    if os.environ.get("CI") == "true":
        pytest.fail(message)
    pytest.skip(message)
