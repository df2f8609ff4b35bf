"""Runs functions as Lambda does: in execution environments that stay warm and run in parallel.

Each environment is a process that runs `awslambdaric`, AWS's own runtime client, which uses
https://docs.aws.amazon.com/lambda/latest/dg/runtimes-api.html. Errors are those of
https://docs.aws.amazon.com/lambda/latest/dg/python-exceptions.html, and those that Lambda itself reports
(`Sandbox.Timedout`, `Runtime.ExitError`).
"""

import contextlib
import json
import os
import queue
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from threading import Event, Lock, Thread
from typing import Any, NamedTuple

from sandbox.aws.hooks import Hooks

BOOTSTRAP = Path(__file__).with_name("bootstrap.py")
# Seconds for the initialization of an environment. AWS allows 10; a busy machine needs more.
INIT_SECONDS = 60.0
# Concurrent environments of a function. AWS allows 1,000; here, each is a process on the user's machine.
MAX_ENVIRONMENTS = 8

LogWriter = Callable[[str, list[str]], None]


@dataclass(frozen=True)
class Function:
    """The configuration of a function; `timeout` is in seconds, `memory` in MiB.

    `variables` are its environment variables except those that every Lambda function has. `reserved` is its reserved
    concurrency.
    """

    logical_id: str
    name: str
    arn: str
    role: str
    handler: str
    timeout: int
    memory: int
    code: Path
    layers: tuple[Path, ...]
    log_group: str
    variables: Mapping[str, str] = field(repr=False)
    reserved: int | None = None


class Outcome(NamedTuple):
    """The result of an invocation: the payload, which is JSON, and whether it describes an error."""

    payload: bytes
    failed: bool


class Throttled(Exception):
    """The function has reached its reserved concurrency."""


class Closed(Exception):
    """The sandbox is closing and runs nothing more."""


class Pool:
    """The execution environments of one function. An invocation reuses an idle one, or adds one.

    `write_log` is called with the name of a log stream and lines of the log.
    """

    def __init__(self, function: Function, write_log: LogWriter, hooks: Hooks | None = None) -> None:
        self.function = function
        self._write_log = write_log
        self._hooks = hooks or Hooks()
        self._limit = self._hooks.limit(MAX_ENVIRONMENTS)
        self._idle: list[_Environment] = []
        self._all: set[_Environment] = set()
        self._busy = 0
        self._closed = False
        self._lock = Lock()

    def invoke(self, event: bytes, client_context: str | None = None) -> Outcome:
        """Run the function once on a JSON event.

        Waits while `MAX_ENVIRONMENTS` are busy. Raises Throttled at the function's reserved concurrency, Closed after
        close().
        """
        with self._limit:
            environment = self._take()
            try:
                return environment.run(_Request(event, client_context))
            finally:
                self._give_back(environment)

    def update(self, function: Function) -> None:
        """Run another version of the function from the next invocation on; running invocations end in the old one."""
        with self._lock:
            self.function = function
            while self._idle:
                self._discard(self._idle.pop())

    def warm(self) -> None:
        """Start an environment before the first invocation, as Lambda does for provisioned concurrency."""
        with self._lock:
            if not self._all and not self._closed:
                self._idle.append(self._add())

    def close(self) -> None:
        """Kill every process."""
        with self._lock:
            self._closed = True
            for environment in self._all:
                environment.kill()

    def _take(self) -> "_Environment":
        with self._lock:
            if self.function.reserved is not None and self._busy >= self.function.reserved:
                raise Throttled(self.function.name)
            if self._closed:
                raise Closed(self.function.name)
            self._busy += 1
            while self._idle:
                environment = self._idle.pop()
                if environment.running:
                    return environment
                self._discard(environment)
            return self._add()

    def _add(self) -> "_Environment":
        environment = _Environment(self.function, self._write_log, self._hooks)
        self._all.add(environment)
        return environment

    def _give_back(self, environment: "_Environment") -> None:
        with self._lock:
            self._busy -= 1
            if environment.alive and environment.function is self.function:
                self._idle.append(environment)
            else:
                self._discard(environment)

    def _discard(self, environment: "_Environment") -> None:
        environment.kill()
        self._all.discard(environment)


@dataclass
class _Request:
    event: bytes
    client_context: str | None
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    trace: str = field(default_factory=lambda: _trace_id())


@dataclass(frozen=True)
class Invocation:
    """One run of a function. `kill` sends SIGKILL to its process; `over` is set when the run has ended.

    `event` is the JSON payload. `trace` is the X-Amzn-Trace-Id of the requests that it sends to AWS. `scratch` is its
    /tmp.
    """

    event: bytes
    trace: str
    scratch: Path
    kill: Callable[[], None]
    over: Event = field(default_factory=Event)


class _Environment:
    """One process, and the runtime API that it uses."""

    def __init__(self, function: Function, write_log: LogWriter, hooks: Hooks) -> None:
        self._hooks = hooks
        self.alive = True
        self.function = function
        self._stream = f"{datetime.now(UTC):%Y/%m/%d}/[$LATEST]{uuid.uuid4().hex}"
        self._write_log = write_log
        self.events: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()
        self.requests: queue.SimpleQueue[tuple[_Request, float] | None] = queue.SimpleQueue()
        self._scratch = tempfile.TemporaryDirectory(prefix="sandbox-", ignore_cleanup_errors=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        Thread(target=self._accept, daemon=True).start()
        self._process = self._start()
        assert self._process.stdout is not None  # noqa: S101  # because of PIPE
        self._output = self._process.stdout.fileno()
        self._unfinished = b""
        self._reading = Lock()
        Thread(target=self._read_output, daemon=True).start()

    @property
    def running(self) -> bool:
        return self.alive and self._process.poll() is None

    def run(self, request: _Request) -> Outcome:
        """Pass one request to the process, and wait until it responds, fails, exits, or times out."""
        what, body = self._next_event(INIT_SECONDS)
        if what != "next":
            return self._fail(request, what, body, INIT_SECONDS)
        self._log(f"START RequestId: {request.id} Version: $LATEST")
        started = time.monotonic()
        invocation = Invocation(request.event, request.trace, Path(self._scratch.name), self._crash)
        self._hooks.started(self.function, invocation)
        self.requests.put((request, self._hooks.now() + self.function.timeout))
        what, body = self._next_event(self.function.timeout)
        invocation.over.set()
        self._hooks.ended(invocation)
        self._drain()
        outcome = (
            Outcome(body, what == "error")
            if what in ("response", "error")
            else self._fail(request, what, body, self.function.timeout)
        )
        self._log(f"END RequestId: {request.id}", _report(request, started, self.function))
        return outcome

    def kill(self) -> None:
        """End the process and its child processes."""
        if not self.alive:
            return
        self.alive = False
        self._crash()
        self._process.wait()
        self.requests.put(None)
        with contextlib.suppress(OSError):
            # `close` alone does not end the thread's accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._scratch.cleanup()

    def _crash(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)

    def _next_event(self, seconds: float) -> tuple[str, bytes]:
        try:
            return self.events.get(timeout=seconds)
        except queue.Empty:
            return "silence", b""

    def _fail(self, request: _Request, what: str, body: bytes, limit: float) -> Outcome:
        self.kill()
        if what == "init":
            return Outcome(body, failed=True)
        if what == "silence":
            return self._platform_error(request, "Sandbox.Timedout", f"Task timed out after {limit:.2f} seconds")
        code = self._process.returncode
        how = f"signal: {str(signal.strsignal(-code)).lower()}" if code < 0 else f"exit status {code}"
        why = f"Runtime exited with error: {how}" if code else "Runtime exited without providing a reason"
        return self._platform_error(request, "Runtime.ExitError", why)

    def _platform_error(self, request: _Request, kind: str, message: str) -> Outcome:
        self._log(f"{_now()} {request.id} {message}")
        error = {"errorType": kind, "errorMessage": f"RequestId: {request.id} Error: {message}"}
        return Outcome(json.dumps(error).encode(), failed=True)

    def _start(self) -> subprocess.Popen[bytes]:
        function = self.function
        host, port = self._listener.getsockname()
        variables = {
            **function.variables,
            "_HANDLER": function.handler,
            "AWS_LAMBDA_RUNTIME_API": f"{host}:{port}",
            "AWS_LAMBDA_FUNCTION_NAME": function.name,
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory),
            "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
            "AWS_LAMBDA_LOG_GROUP_NAME": function.log_group,
            "AWS_LAMBDA_LOG_STREAM_NAME": self._stream,
            "LAMBDA_TASK_ROOT": str(function.code),
            "PYTHONPATH": os.pathsep.join(map(str, (function.code, *function.layers))),
            "LANG": "en_US.UTF-8",
            "PATH": os.defpath,
            "TZ": ":UTC",
            # On AWS, each environment has its own /tmp.
            "TMPDIR": self._scratch.name,
            "HOME": self._scratch.name,
        }
        return subprocess.Popen(  # noqa: S603  # this interpreter with a file of this package
            [sys.executable, "-s", "-P", str(BOOTSTRAP), function.handler],
            cwd=function.code,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def _accept(self) -> None:
        while True:
            try:
                connection, address = self._listener.accept()
            except OSError:
                return
            Thread(target=self._talk, args=(connection, address), daemon=True).start()

    def _talk(self, connection: socket.socket, address: Any) -> None:
        # A process that is killed resets its connections.
        with connection, contextlib.suppress(ConnectionError):
            _RuntimeApi(connection, address, self)  # type: ignore[arg-type]  # needs no more of a server than this has

    def _read_output(self) -> None:
        """Log what the process prints, until the process ends and closes its end of the pipe."""
        while _readable(self._output, None):
            with self._reading:
                # `_drain` may have read it in the meantime.
                if _readable(self._output, 0) and not self._read_some():
                    break
        self._process.wait()
        self.events.put(("exit", b""))

    def _drain(self) -> None:
        """Log what the process has printed so far, so that it precedes the end of its invocation in the log."""
        with self._reading:
            while _readable(self._output, 0) and self._read_some():
                pass
            self._log_lines(self._unfinished)
            self._unfinished = b""

    def _read_some(self) -> bool:
        text = os.read(self._output, 1 << 20)
        lines, _, self._unfinished = (self._unfinished + text).rpartition(b"\n")
        self._log_lines(lines)
        return bool(text)

    def _log_lines(self, text: bytes) -> None:
        if text:
            # The runtime client separates the lines of a record, such as a traceback, with carriage returns.
            self._log(*text.decode(errors="replace").replace("\r", "\n").split("\n"))

    def _log(self, *lines: str) -> None:
        self._write_log(self._stream, list(lines))


class _RuntimeApi(BaseHTTPRequestHandler):
    """The runtime API of one environment; `server` is that environment."""

    server: Any
    protocol_version = "HTTP/1.1"
    # Otherwise, each response waits 40 ms for the client's delayed acknowledgment.
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        self.server.events.put(("next", b""))
        item = self.server.requests.get()
        if item is None:
            self.close_connection = True
            return
        request, deadline = item
        headers = {
            "Lambda-Runtime-Aws-Request-Id": request.id,
            "Lambda-Runtime-Deadline-Ms": str(int(deadline * 1000)),
            "Lambda-Runtime-Invoked-Function-Arn": self.server.function.arn,
            "Lambda-Runtime-Trace-Id": request.trace,
        }
        if request.client_context:
            headers["Lambda-Runtime-Client-Context"] = request.client_context
        self._answer(200, request.event, headers)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        what = "init" if self.path.endswith("/init/error") else self.path.rpartition("/")[2]
        self._answer(202, b"{}", {})
        self.server.events.put((what, body))

    def _answer(self, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Type": "application/json", "Content-Length": len(body)}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        """Log nothing; the log is for invocations."""


def _readable(descriptor: int, milliseconds: int | None) -> bool:
    poll = select.poll()
    poll.register(descriptor, select.POLLIN)
    return bool(poll.poll(milliseconds))


def _trace_id() -> str:
    return f"Root=1-{int(time.time()):08x}-{uuid.uuid4().hex[:24]};Parent={uuid.uuid4().hex[:16]};Sampled=0"


def _report(request: _Request, started: float, function: Function) -> str:
    milliseconds = (time.monotonic() - started) * 1000
    return (
        f"REPORT RequestId: {request.id}\tDuration: {milliseconds:.2f} ms\t"
        f"Billed Duration: {int(milliseconds) + 1} ms\tMemory Size: {function.memory} MB"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
