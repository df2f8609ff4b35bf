"""`python -m sandbox.enhancer`: serves on 127.0.0.1 until SIGTERM."""

import argparse
import os
import signal
import socket
import stat
import sys
import tempfile
import threading
from pathlib import Path

import uvicorn

from sandbox.enhancer import API_KEY
from sandbox.enhancer.faults import FaultPlan, Faults
from sandbox.enhancer.server import Sandbox, create_app
from sandbox.enhancer.tasks import Account, TaskStore
from sandbox.enhancer.wire import WireProtocol

DAY_SECONDS = 24 * 60 * 60


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m sandbox.enhancer", description=__doc__)
    listener = parser.add_mutually_exclusive_group()
    listener.add_argument("--port", type=int, default=0, help="0 takes any free port (default)")
    listener.add_argument("--fd", type=int, help="the file descriptor of a listening socket, from the parent process")
    parser.add_argument("--credits", type=int, default=100_000, help="the balance; an image costs 12")
    parser.add_argument("--task-seconds", type=float, default=2.0, help="the minimum duration of a task")
    parser.add_argument("--result-seconds", type=float, default=DAY_SECONDS, help="the lifetime of a result link")
    return parser.parse_args()


def _exit_with_parent() -> None:
    """Exit when standard input, if it is a pipe, is closed, which happens when the parent process ends."""
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        os.read(0, 1)
        os.kill(os.getpid(), signal.SIGTERM)


def _listener(port: int) -> socket.socket:
    return socket.create_server(("127.0.0.1", port), backlog=128)


def main() -> None:
    """Print the base URL, then serve."""
    arguments = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    listener = _listener(arguments.port) if arguments.fd is None else socket.socket(fileno=arguments.fd)
    base_url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    with tempfile.TemporaryDirectory(prefix="enhancer-") as directory, listener:
        store = TaskStore(Path(directory), base_url, arguments.task_seconds, arguments.result_seconds)
        account = Account(os.environ[API_KEY], arguments.credits)
        app = create_app(Sandbox(account, store, Faults(FaultPlan())))
        config = uvicorn.Config(
            app, http=WireProtocol, ws="none", log_level="warning", access_log=False, timeout_graceful_shutdown=1
        )
        print(base_url, flush=True)
        uvicorn.Server(config).run(sockets=[listener])


if __name__ == "__main__":
    main()
