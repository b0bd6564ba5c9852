"""Not a bug, but a harder world: a kill -9 of this node takes everything that chat.db had not synced.

To be given to `testing.serve` before any other plant: the file system must be there before the first file.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path


def _install() -> None:
    name = "planted_crash_vfs"
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name("crash_vfs.py"))
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Here the module outlives this file's run, and with it the file system: one that is collected is gone.
    sys.modules[name] = module
    spec.loader.exec_module(module)
    vars(module)["installed"] = module.install()


_install()
