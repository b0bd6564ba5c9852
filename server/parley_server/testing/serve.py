"""Runs a node for a test: `python -m parley_server.testing.serve SETTINGS_JSON [PLANT_FILE]`.

Prints one JSON line with the addresses once it serves. A plant is a Python file that is run first: it can put
a bug into the product's code in this process, so that a test can show that it would be found.
"""

from __future__ import annotations

import ctypes
import json
import runpy
import signal
import sys
from typing import TYPE_CHECKING

from parley_runtime.logs import configure_logs
from parley_runtime.settings import load_settings

if TYPE_CHECKING:
    from parley_server.node import RunningNode

_PR_SET_PDEATHSIG = 1


def _end_with_parent() -> None:
    """Have Linux kill this process when its parent is gone: a test that was killed leaves no node."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    """Serve until SIGTERM or SIGINT."""
    _end_with_parent()
    settings = load_settings(None, {}, json.loads(sys.argv[1]))
    configure_logs(settings.log_level, settings.log_format)
    for plant in sys.argv[2:]:
        runpy.run_path(plant)
    # After the plants, so that they can replace what the node is made of.
    from parley_server.serving import serve

    def announce(node: RunningNode) -> None:
        addresses = {
            "address": node.address,
            "metrics_address": node.metrics_address,
            "operator_token_file": str(node.operator_token_file),
        }
        sys.stdout.write(json.dumps(addresses) + "\n")
        sys.stdout.flush()

    serve(settings, announce=announce)


if __name__ == "__main__":
    main()
