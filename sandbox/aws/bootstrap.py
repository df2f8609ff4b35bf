"""Runs inside every execution environment: AWS's runtime client, ended when the sandbox ends."""

import os
import sys
import threading

from awslambdaric.__main__ import main


def _end_with_the_sandbox() -> None:
    # Standard input is a pipe that only the sandbox holds: it ends when the sandbox does, however it died.
    os.read(0, 1)
    os._exit(1)


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_sandbox, daemon=True).start()
    main(sys.argv)
