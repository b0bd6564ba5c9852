"""`python -m parley_cli` is `parley`."""

from __future__ import annotations

from parley_cli.main import main

if __name__ == "__main__":
    main()
