"""Runs inside every execution environment: AWS's runtime client, ended when the sandbox ends."""

import mmap
import os
import struct
import sys
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import SupportsIndex


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
    time.sleep = _sleep_by_the_clock


def _sleep_by_the_clock(seconds: float | SupportsIndex) -> None:
    connection = HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])
    try:
        connection.request("POST", "/sandbox/sleep", str(max(0.0, float(seconds))))
        connection.getresponse().read()
    finally:
        connection.close()


if __name__ == "__main__":
    threading.Thread(target=_end_with_the_sandbox, daemon=True).start()
    if clock := os.environ.pop("SANDBOX_CLOCK", ""):
        _follow_the_clock(Path(clock))
    # Only now: what it imports takes the clocks by name.
    from awslambdaric.__main__ import main

    main(sys.argv)
