"""Runs `lumendrop board` for a sandbox, in a process of its own: a busy page must not slow AWS down."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from lumendrop_cli.board.command import DEFAULT_PORT, HOST

STOP_SECONDS = 5


@contextmanager
def board(endpoint: str) -> Iterator[str | None]:
    """The board's address, which contains its token, until the block ends. None if the board doesn't start."""
    command = [sys.executable, "-m", "lumendrop_cli", "--endpoint-url", endpoint, "board", "--port", str(_free_port())]
    # The sandbox accepts any credentials; those of the shell are not used.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    with subprocess.Popen(  # noqa: S603 - this project's own module
        command,
        env=variables,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        start_new_session=True,  # Ctrl-C reaches only this process, which then stops the board
    ) as process:
        try:
            found = re.search(r"http://\S+", process.stdout.readline() if process.stdout else "")
            yield found[0] if found else None
        finally:
            _stop(process)


def _free_port() -> int:
    """The usual port, or 0 for any free one if another board uses it."""
    try:
        with socket.create_server((HOST, DEFAULT_PORT)):
            return DEFAULT_PORT
    except OSError:
        return 0


def _stop(process: "subprocess.Popen[str]") -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
