"""Runs inside every execution environment: AWS's runtime client, ended when the sandbox ends."""

import mmap
import os
import struct
import sys
import threading
import time
from pathlib import Path


def _end_with_the_sandbox() -> None:
    # Standard input is a pipe that only the sandbox holds: it ends when the sandbox does, however it died.
    os.read(0, 1)
    os._exit(1)


def _follow_the_clock(path: Path) -> None:
    """Let this process's clocks count what the sandbox's clock has skipped."""
    with path.open("rb") as file:
        skipped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    real, monotonic = time.time, time.monotonic
    time.time = lambda: real() + struct.unpack_from("d", skipped)[0]
    time.monotonic = lambda: monotonic() + struct.unpack_from("d", skipped)[0]


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_sandbox, daemon=True).start()
    if clock := os.environ.pop("SANDBOX_CLOCK", ""):
        _follow_the_clock(Path(clock))
    # Only now: what it imports takes the clocks by name.
    from awslambdaric.__main__ import main

    main(sys.argv)
