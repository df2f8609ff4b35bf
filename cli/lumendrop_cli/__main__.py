"""The entry point of `lumendrop`, and of `python -m lumendrop_cli`."""

from __future__ import annotations

import sys


def run() -> None:
    """Runs the command line. Ctrl-C ends it quietly also while its modules are imported."""
    try:
        from lumendrop_cli.main import app
    except KeyboardInterrupt:
        sys.exit(130)
    app(prog_name="lumendrop")


if __name__ == "__main__":
    run()
