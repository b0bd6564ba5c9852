"""The entry point of the command. It imports next to nothing: Ctrl-C is quiet from the first moment on."""

from __future__ import annotations

import os
import sys
from typing import NoReturn


def main() -> NoReturn:
    """Do what the command line says and exit with its code."""
    # gRPC's own log lines say again, in other words, what the command says in one line.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        from parley_cli.app import run

        code = run(sys.argv[1:])
    except KeyboardInterrupt:
        code = 130
    sys.exit(code)
