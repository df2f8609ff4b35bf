"""Hooks that make a cloud follow a skipping clock: its queues, workflows, event sources, and functions."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Lock, Thread
from typing import Any

from sandbox.aws.hooks import Hooks
from sandbox.aws.runtime import Function, Invocation
from tests.chaos import moto_clock
from tests.chaos.clock import Clock, FairSemaphore

_FUNCTION_CLOCK = Path(__file__).with_name("function_clock")


@dataclass
class _Run:
    function: str
    invocation: Invocation
    is_asleep: bool = False
    sleeping: Lock = field(default_factory=Lock)


class ClockHooks(Hooks):
    """Hooks that allow skips while no work is active.

    In the functions, `time.time()`, `time.monotonic()`, and `time.sleep()` follow the clock.
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._runs: dict[str, _Run] = {}
        self._sleep_address = ""
        self._network = tempfile.NamedTemporaryFile(prefix="lumendrop-network-")  # noqa: SIM115  # deleted with this

    def break_network(self, kind: str, port: int) -> None:
        """From now on, functions can't connect to `port`: its name is not resolved (`dns`), or its certificate has
        expired (`tls`).
        """
        Path(self._network.name).write_text(f"{kind} {port}")

    def mend_network(self) -> None:
        """Ends `break_network`."""
        Path(self._network.name).write_text("")

    @contextlib.contextmanager
    def patch(self, account: str, region: str) -> Iterator[None]:
        with self.serving_sleep(), moto_clock.apply(self.clock, account, region, self._count_asleep):
            yield

    @contextlib.contextmanager
    def serving_sleep(self) -> Iterator[None]:
        """Serves the functions' requests to sleep."""
        with ThreadingHTTPServer(("127.0.0.1", 0), _SleepHandler) as server:
            server.sleep = self._sleep  # type: ignore[attr-defined]  # for the handler
            server.daemon_threads = True
            Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
            self._sleep_address = f"127.0.0.1:{server.server_port}"
            yield
            server.shutdown()

    def polling(self) -> AbstractContextManager[None]:
        return self.clock.working()

    def limit(self, count: int) -> AbstractContextManager[Any]:
        return FairSemaphore(count, self.clock)

    def now(self) -> float:
        return self.clock.now()

    def configure(self, function: Function) -> Function:
        variables = {"CHAOS_CLOCK": str(self.clock.path), "CHAOS_SLEEP": self._sleep_address}
        variables["CHAOS_NETWORK"] = self._network.name
        return replace(
            function, variables={**function.variables, **variables}, layers=(*function.layers, _FUNCTION_CLOCK)
        )

    def started(self, function: Function, invocation: Invocation) -> None:
        self._runs[invocation.trace] = _Run(function.arn, invocation)

    def ended(self, invocation: Invocation) -> None:
        with self._runs.pop(invocation.trace).sleeping:
            pass  # From here on, a function that was killed while it slept counts as active work again.

    def _sleep(self, trace: str, seconds: float) -> None:
        if run := self._runs.get(trace):
            with run.sleeping:
                run.is_asleep = True
                self.clock.wait(seconds, lambda: not run.invocation.over.is_set())
                run.is_asleep = False

    def _count_asleep(self, function: str) -> int:
        """How many runs of the function with this ARN, which may end with a version or alias, sleep."""
        runs = list(self._runs.values())
        return sum(run.is_asleep for run in runs if f"{function}:".startswith(f"{run.function}:"))


class _SleepHandler(BaseHTTPRequestHandler):
    server: Any

    def do_POST(self) -> None:
        seconds = float(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.sleep(self.headers["X-Amzn-Trace-Id"], seconds)
        with contextlib.suppress(ConnectionError):
            self.send_response(200)
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Log nothing."""
