"""Injects faults around the functions: duplicate and late events, killed processes, throttling, lost responses.

Each kind of fault has its own seeded random generator. Every injected fault is counted.
"""

import io
import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from threading import Lock, Thread
from typing import Any, Literal, NamedTuple
from urllib.parse import parse_qs, unquote

from sandbox.aws.hooks import App, Environ
from sandbox.aws.runtime import Function, Invocation
from tests.chaos.clock import Clock
from tests.chaos.clock_hooks import ClockHooks

# How often the download folder of a function is checked.
_POLL_SECONDS = 0.002


@dataclass(frozen=True)
class _KillPoint:
    """A point where a function can be killed: before, midway through, or after one of its AWS calls."""

    name: str
    function: str
    operation: str
    when: Literal["before", "midway", "after"]
    mark: bytes = b""


DURING_INSPECTION = "killed while inspecting the upload"
BEFORE_POST = "killed after the claim, before the POST"
BEFORE_RECORD = "killed between the POST and the record"
DURING_DOWNLOAD = "killed during the download"

_KILL_POINTS = (
    # Only the claim's transaction checks the daily limit.
    _KillPoint(BEFORE_POST, "SubmitFunction", "TransactWriteItems", "after", b":limit"),
    _KillPoint(BEFORE_RECORD, "SubmitFunction", "PutItem", "before", b'"submitted"'),
    _KillPoint("killed between the record and the start", "SubmitFunction", "StartExecution", "before"),
    _KillPoint("killed after the start", "SubmitFunction", "StartExecution", "after"),
    _KillPoint("killed between the copy and the deletion of a message", "SubmitFunction", "SendMessage", "after"),
    _KillPoint("killed during the upload", "DeliverFunction", "PutObject", "midway"),
    _KillPoint("killed after the upload", "DeliverFunction", "PutObject", "after"),
)
KILLS = (*(point.name for point in _KILL_POINTS), DURING_DOWNLOAD)
"""Every name that `Plan.kills` knows."""


class _Error(NamedTuple):
    status: str
    code: str


# As the services' API references name them.
_THROTTLING_ERRORS = {
    "dynamodb": _Error("400 Bad Request", "ProvisionedThroughputExceededException"),
    "s3": _Error("503 Slow Down", "SlowDown"),
    "states": _Error("400 Bad Request", "ThrottlingException"),
    "sqs": _Error("400 Bad Request", "RequestThrottled"),
    "lambda": _Error("429 Too Many Requests", "TooManyRequestsException"),
    "events": _Error("400 Bad Request", "ThrottlingException"),
    "secretsmanager": _Error("400 Bad Request", "ThrottlingException"),
}
_SERVER_ERRORS = {
    "dynamodb": _Error("500 Internal Server Error", "InternalServerError"),
    "s3": _Error("500 Internal Server Error", "InternalError"),
    "states": _Error("500 Internal Server Error", "InternalFailure"),
    "sqs": _Error("500 Internal Server Error", "InternalFailure"),
    "lambda": _Error("500 Internal Server Error", "ServiceException"),
    "events": _Error("500 Internal Server Error", "InternalException"),
    "secretsmanager": _Error("500 Internal Server Error", "InternalServiceError"),
}
SERVICES = tuple(_THROTTLING_ERRORS)
"""Every service that `Plan.throttles`, `Plan.lost_responses` and `Plan.slow` know."""
SLOW_SECONDS = 0.3


@dataclass(frozen=True)
class _Response:
    """A response as a WSGI application."""

    status: str
    headers: list[tuple[str, str]]
    content: list[bytes]

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        # A response before the end of the request's body would reset the connection of a client that still sends.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(self.status, self.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.content


@dataclass(frozen=True)
class Plan:
    """The faults to inject, with rates from 0 to 1.

    `duplicates`: events of S3 that are delivered twice. `late_seconds`: the maximum delay of an event.
    `kills`: killed processes, by the names in KILLS.
    By service: `throttles`: throttled calls; `lost_responses`: calls that are executed but answered with an error;
    `slow`: calls that take up to SLOW_SECONDS longer.
    `crash_prefix`: `submit` is killed each time it reads an object whose key starts with this.
    """

    seed: int = 0
    duplicates: float = 0
    late_seconds: float = 0
    kills: Mapping[str, float] = field(default_factory=dict)
    throttles: Mapping[str, float] = field(default_factory=dict)
    lost_responses: Mapping[str, float] = field(default_factory=dict)
    slow: Mapping[str, float] = field(default_factory=dict)
    crash_prefix: str = ""


class Faults(ClockHooks):
    """Injects the faults of a plan, with the times of `clock`.

    `counts`: injected faults by kind. `crashes`: how often `submit` was killed, by the upload's version id.
    `killed_uploads`: version ids of uploads, by the name of the kill.
    `signatures`: those of all presigned URLs that were used. `messages`: what roles sent to queues.
    `execution_started` is called with the ARN of each execution that `submit` starts.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        super().__init__(clock)
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.killed_uploads: dict[str, set[str]] = {}
        self.signatures: set[str] = set()
        self.messages: list[str] = []
        self.execution_started: Callable[[str], None] = lambda _: None
        self._generators: dict[str, Random] = {}
        self._running: dict[str, tuple[str, Invocation]] = {}
        self._lock = Lock()

    def publish(self, send: Callable[[], None]) -> None:
        """Publishes an event of S3 late, and some events twice."""
        twice = self._injects("event delivered twice", self.plan.duplicates)
        for _ in range(1 + twice):
            self.clock.start_work()
            late = self._random("late").uniform(0, self.plan.late_seconds)
            Thread(target=self._publish_late, args=(late, send), daemon=True).start()

    def _publish_late(self, seconds: float, send: Callable[[], None]) -> None:
        try:
            self.clock.wait(seconds)
            send()
        finally:
            self.clock.end_work()

    def started(self, function: Function, invocation: Invocation) -> None:
        """Tracks an invocation until its end, and kills some during the download."""
        super().started(function, invocation)
        with self._lock:
            self._running[invocation.trace] = function.logical_id, invocation
        if function.logical_id == "DeliverFunction" and self._decides(
            DURING_DOWNLOAD, self.plan.kills.get(DURING_DOWNLOAD, 0)
        ):
            Thread(target=self._kill_during_download, args=(invocation,), daemon=True).start()

    def ended(self, invocation: Invocation) -> None:
        with self._lock:
            del self._running[invocation.trace]
        super().ended(invocation)

    def _kill_during_download(self, invocation: Invocation) -> None:
        while not invocation.over.wait(_POLL_SECONDS):
            for file in invocation.scratch.glob("*/result"):
                if _is_partial(file):
                    self._kill(DURING_DOWNLOAD, "DeliverFunction", invocation)
                    return

    def wrap(self, app: App) -> App:
        """A WSGI application that injects the faults of the plan before it calls moto's."""

        def run(environ: Environ, start_response: Any) -> Iterable[bytes]:
            call = environ.get("sandbox.call")
            if call is None:
                return app(environ, start_response)
            if "X-Amz-Signature" in environ.get("QUERY_STRING", ""):
                self.signatures.update(parse_qs(environ["QUERY_STRING"])["X-Amz-Signature"])
                return app(environ, start_response)
            if call.service != "s3":
                self._record_call(call, environ)
            if self._injects(f"{call.service} slow", self.plan.slow.get(call.service, 0)):
                time.sleep(self._random("how slow").uniform(0, SLOW_SECONDS))
            function, invocation = self._running.get(unquote(environ.get("HTTP_X_AMZN_TRACE_ID", "")), ("", None))
            if invocation and (answer := self._killed(function, invocation, call, app, environ)):
                return answer(environ, start_response)
            if call.operation == "ReceiveMessage" or (call.operation == "StartExecution" and invocation is None):
                # Lambda's pollers retry invisibly. EventBridge retries for a day, but only once in the sandbox.
                return app(environ, start_response)
            if self._injects(f"{call.service} throttled", self.plan.throttles.get(call.service, 0)):
                return _error_response(call, _THROTTLING_ERRORS[call.service])(environ, start_response)
            if self._injects(f"{call.service}'s response lost", self.plan.lost_responses.get(call.service, 0)):
                _execute(app, environ)
                return _error_response(call, _SERVER_ERRORS[call.service])(environ, start_response)
            return app(environ, start_response)

        return run

    def _record_call(self, call: Any, environ: Environ) -> None:
        if call.operation in ("SendMessage", "SendMessageBatch"):
            self.messages.append(_body(environ).decode())
        if call.operation == "StartExecution" and "name" in (asked := json.loads(_body(environ))):
            self.execution_started(
                asked["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{asked['name']}"
            )

    def _killed(self, function: str, invocation: Invocation, call: Any, app: App, environ: Environ) -> _Response | None:
        """Kills the process that made a call, if the plan says so; returns the response, which is then lost."""
        crashes = self.plan.crash_prefix and (function, call.operation) == ("SubmitFunction", "GetObject")
        if crashes and f"/{self.plan.crash_prefix}" in unquote(environ["PATH_INFO"]):
            self._kill(DURING_INSPECTION, function, invocation)
            return _error_response(call, _SERVER_ERRORS[call.service])
        for point in _KILL_POINTS:
            if (point.function, point.operation) != (function, call.operation):
                continue
            if point.mark and point.mark not in _body(environ):
                continue
            if not self._decides(point.name, self.plan.kills.get(point.name, 0)):
                continue
            if point.when == "midway":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
                environ["CONTENT_LENGTH"] = "0"
            answer = (
                _execute(app, environ) if point.when == "after" else _error_response(call, _SERVER_ERRORS[call.service])
            )
            # A call that failed was not executed, so the point after it was not reached.
            if point.when != "after" or answer.status.startswith("200"):
                self._kill(point.name, function, invocation)
            return answer
        return None

    def _kill(self, name: str, function: str, invocation: Invocation) -> None:
        invocation.kill()
        self.counts[name] += 1
        version_id = _version_id(invocation.event)
        self.killed_uploads.setdefault(name, set()).add(version_id)
        self.crashes[version_id] += function == "SubmitFunction"

    def _injects(self, name: str, rate: float) -> bool:
        strikes = self._decides(name, rate)
        self.counts[name] += strikes
        return strikes

    def _decides(self, name: str, rate: float) -> bool:
        return rate > 0 and self._random(name).random() < rate

    def _random(self, name: str) -> Random:
        with self._lock:
            # Not for secrets: the same seed must give the same faults.
            return self._generators.setdefault(name, Random(f"{self.plan.seed} {name}"))  # noqa: S311


def _is_partial(photo: Path) -> bool:
    """Whether the file is an incomplete JPEG or PNG."""
    try:
        content = photo.read_bytes()
    except OSError:
        return False
    return bool(content) and not content.endswith((b"\xff\xd9", b"IEND\xaeB`\x82"))


def _body(environ: Environ) -> bytes:
    """A request's body, which stays readable."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _version_id(event: bytes) -> str:
    found = json.loads(event)
    if "Records" in found:
        return str(json.loads(found["Records"][0]["body"])["detail"]["object"]["version-id"])
    return str(found.get("report", found)["upload"]["version_id"])


def _execute(app: App, environ: Environ) -> _Response:
    started: list[tuple[Any, ...]] = []
    content = list(app(environ, lambda *given: started.append(given)))
    environ["CONTENT_LENGTH"] = "0"
    return _Response(started[0][0], started[0][1], content)


def _error_response(call: Any, error: _Error) -> _Response:
    """An error in the format of the service."""
    body = json.dumps({"__type": error.code, "message": "By the fault plan."})
    if call.service == "s3":
        body = f"<Error><Code>{error.code}</Code><Message>By the fault plan.</Message></Error>"
    headers = [
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", error.code),
        ("x-amz-request-id" if call.service == "s3" else "x-amzn-RequestId", str(uuid.uuid4())),
    ]
    return _Response(error.status, headers, [body.encode()])
