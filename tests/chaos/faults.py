"""What goes wrong around the functions in AWS: events twice and in any order, processes killed, services that throttle.

Everything by chance, but from seeded streams, one for each kind; and every fault that really happened is counted.
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

# How often the place where a function downloads to is looked at.
_LOOK_SECONDS = 0.002


@dataclass(frozen=True)
class _Point:
    """A place in a function where it can be killed, told by a call of AWS: before it is heard, half sent, or done."""

    name: str
    function: str
    operation: str
    when: Literal["before", "midway", "after"]
    mark: bytes = b""


WHILE_LOOKING = "killed while looking at the upload"
BEFORE_POST = "killed after the claim, before the POST"
BEFORE_RECORD = "killed between the POST and the record"
IN_MID_DOWNLOAD = "killed in mid-download"

_POINTS = (
    # Only a claim asks whether the day's limit is reached.
    _Point(BEFORE_POST, "SubmitFunction", "TransactWriteItems", "after", b":limit"),
    _Point(BEFORE_RECORD, "SubmitFunction", "PutItem", "before", b'"submitted"'),
    _Point("killed between the record and the start", "SubmitFunction", "StartExecution", "before"),
    _Point("killed after the start", "SubmitFunction", "StartExecution", "after"),
    _Point("killed between the copy and the acknowledgement", "SubmitFunction", "SendMessage", "after"),
    _Point("killed in mid-upload", "DeliverFunction", "PutObject", "midway"),
    _Point("killed after the upload", "DeliverFunction", "PutObject", "after"),
)
KILLS = (*(point.name for point in _POINTS), IN_MID_DOWNLOAD)
"""Every name that `Plan.kills` knows."""


class _Trouble(NamedTuple):
    status: str
    code: str


# As the services' API references name them.
_THROTTLED = {
    "dynamodb": _Trouble("400 Bad Request", "ProvisionedThroughputExceededException"),
    "s3": _Trouble("503 Slow Down", "SlowDown"),
    "states": _Trouble("400 Bad Request", "ThrottlingException"),
    "sqs": _Trouble("400 Bad Request", "RequestThrottled"),
    "lambda": _Trouble("429 Too Many Requests", "TooManyRequestsException"),
    "events": _Trouble("400 Bad Request", "ThrottlingException"),
    "secretsmanager": _Trouble("400 Bad Request", "ThrottlingException"),
}
_BROKEN = {
    "dynamodb": _Trouble("500 Internal Server Error", "InternalServerError"),
    "s3": _Trouble("500 Internal Server Error", "InternalError"),
    "states": _Trouble("500 Internal Server Error", "InternalFailure"),
    "sqs": _Trouble("500 Internal Server Error", "InternalFailure"),
    "lambda": _Trouble("500 Internal Server Error", "ServiceException"),
    "events": _Trouble("500 Internal Server Error", "InternalException"),
    "secretsmanager": _Trouble("500 Internal Server Error", "InternalServiceError"),
}
SERVICES = tuple(_THROTTLED)
"""Every service that `Plan.throttles`, `Plan.lost_answers` and `Plan.slow` know."""
SLOW_SECONDS = 0.3


@dataclass(frozen=True)
class _Answer:
    """An answer as a WSGI application."""

    status: str
    headers: list[tuple[str, str]]
    content: list[bytes]

    def __call__(self, environ: Environ, start_response: Any) -> Iterable[bytes]:
        # An answer before the body is read would reset the connection under a client that still sends.
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        start_response(self.status, self.headers)
        return [] if environ["REQUEST_METHOD"] == "HEAD" else self.content


@dataclass(frozen=True)
class Plan:
    """What shall go wrong, and how often: rates from 0 to 1.

    `duplicates`: S3's events that come twice. `late_seconds`: each comes up to so much later, by the clock.
    `kills`: by the names in KILLS. `throttles`: calls refused, `lost_answers`: calls carried out and answered with an
    error, `slow`: calls that take up to SLOW_SECONDS longer, all by service. `doomed`: `submit` is killed whenever it
    looks at an upload whose key starts with this.
    """

    seed: int = 0
    duplicates: float = 0
    late_seconds: float = 0
    kills: Mapping[str, float] = field(default_factory=dict)
    throttles: Mapping[str, float] = field(default_factory=dict)
    lost_answers: Mapping[str, float] = field(default_factory=dict)
    slow: Mapping[str, float] = field(default_factory=dict)
    doomed: str = ""


class Faults(ClockHooks):
    """A plan being played, by `clock`.

    `counts`: how often each fault happened. `crashes`: how often `submit` was killed, by the upload's version id.
    `struck`: version ids of uploads, by the name of the kill. `signatures`: those of all presigned URLs that were used.
    `messages`: what roles sent to queues. `execution_started` is called with the ARN of each execution that `submit`
    started.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        super().__init__(clock)
        self.plan = plan
        self.counts: Counter[str] = Counter()
        self.crashes: Counter[str] = Counter()
        self.struck: dict[str, set[str]] = {}
        self.signatures: set[str] = set()
        self.messages: list[str] = []
        self.execution_started: Callable[[str], None] = lambda _: None
        self._chances: dict[str, Random] = {}
        self._running: dict[str, tuple[str, Invocation]] = {}
        self._lock = Lock()

    def publish(self, send: Callable[[], None]) -> None:
        """Publish an event of S3, perhaps twice, perhaps later."""
        twice = self._strikes("event delivered twice", self.plan.duplicates)
        for _ in range(1 + twice):
            self.clock.start_work()
            late = self._chance("late").uniform(0, self.plan.late_seconds)
            Thread(target=self._publish_late, args=(late, send), daemon=True).start()

    def _publish_late(self, seconds: float, send: Callable[[], None]) -> None:
        try:
            self.clock.wait(seconds)
            send()
        finally:
            self.clock.end_work()

    def started(self, function: Function, invocation: Invocation) -> None:
        """Remember the run of a function until it ends, and perhaps kill it in mid-download."""
        super().started(function, invocation)
        with self._lock:
            self._running[invocation.trace] = function.logical_id, invocation
        if function.logical_id == "DeliverFunction" and self._draws(
            IN_MID_DOWNLOAD, self.plan.kills.get(IN_MID_DOWNLOAD, 0)
        ):
            Thread(target=self._kill_in_mid_download, args=(invocation,), daemon=True).start()

    def ended(self, invocation: Invocation) -> None:
        with self._lock:
            del self._running[invocation.trace]
        super().ended(invocation)

    def _kill_in_mid_download(self, invocation: Invocation) -> None:
        while not invocation.over.wait(_LOOK_SECONDS):
            for file in invocation.scratch.glob("*/result"):
                if _is_cut_short(file):
                    self._kill(IN_MID_DOWNLOAD, "DeliverFunction", invocation)
                    return

    def wrap(self, app: App) -> App:
        """A WSGI application in front of moto's, which lets things go wrong by the plan."""

        def run(environ: Environ, start_response: Any) -> Iterable[bytes]:
            call = environ.get("sandbox.call")
            if call is None:
                return app(environ, start_response)
            if "X-Amz-Signature" in environ.get("QUERY_STRING", ""):
                self.signatures.update(parse_qs(environ["QUERY_STRING"])["X-Amz-Signature"])
                return app(environ, start_response)
            if call.service != "s3":
                self._listen(call, environ)
            if self._strikes(f"{call.service} slow", self.plan.slow.get(call.service, 0)):
                time.sleep(self._chance("how slow").uniform(0, SLOW_SECONDS))
            function, invocation = self._running.get(unquote(environ.get("HTTP_X_AMZN_TRACE_ID", "")), ("", None))
            if invocation and (answer := self._killed(function, invocation, call, app, environ)):
                return answer(environ, start_response)
            if call.operation == "ReceiveMessage" or (call.operation == "StartExecution" and invocation is None):
                # Lambda's pollers, whose failures nobody sees; and EventBridge, which repeats for a day what it tries
                # once here.
                return app(environ, start_response)
            if self._strikes(f"{call.service} throttled", self.plan.throttles.get(call.service, 0)):
                return _answer(call, _THROTTLED[call.service])(environ, start_response)
            if self._strikes(f"{call.service}'s answer lost", self.plan.lost_answers.get(call.service, 0)):
                _carried_out(app, environ)
                return _answer(call, _BROKEN[call.service])(environ, start_response)
            return app(environ, start_response)

        return run if self.plan != Plan() else app

    def _listen(self, call: Any, environ: Environ) -> None:
        if call.operation in ("SendMessage", "SendMessageBatch"):
            self.messages.append(_body(environ).decode())
        if call.operation == "StartExecution" and "name" in (asked := json.loads(_body(environ))):
            self.execution_started(
                asked["stateMachineArn"].replace(":stateMachine:", ":execution:") + f":{asked['name']}"
            )

    def _killed(self, function: str, invocation: Invocation, call: Any, app: App, environ: Environ) -> _Answer | None:
        """Kill the process that made a call, if it is its turn; then the answer that nobody will hear."""
        doomed = self.plan.doomed and (function, call.operation) == ("SubmitFunction", "GetObject")
        if doomed and f"/{self.plan.doomed}" in unquote(environ["PATH_INFO"]):
            self._kill(WHILE_LOOKING, function, invocation)
            return _answer(call, _BROKEN[call.service])
        for point in _POINTS:
            if (point.function, point.operation) != (function, call.operation):
                continue
            if point.mark and point.mark not in _body(environ):
                continue
            if not self._draws(point.name, self.plan.kills.get(point.name, 0)):
                continue
            if point.when == "midway":
                environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0) // 2)
                environ["CONTENT_LENGTH"] = "0"
            answer = _carried_out(app, environ) if point.when == "after" else _answer(call, _BROKEN[call.service])
            # What was refused was not done, and so this is not the point after it.
            if point.when != "after" or answer.status.startswith("200"):
                self._kill(point.name, function, invocation)
            return answer
        return None

    def _kill(self, name: str, function: str, invocation: Invocation) -> None:
        invocation.kill()
        self.counts[name] += 1
        version_id = _version_id(invocation.event)
        self.struck.setdefault(name, set()).add(version_id)
        self.crashes[version_id] += function == "SubmitFunction"

    def _strikes(self, name: str, rate: float) -> bool:
        strikes = self._draws(name, rate)
        self.counts[name] += strikes
        return strikes

    def _draws(self, name: str, rate: float) -> bool:
        return rate > 0 and self._chance(name).random() < rate

    def _chance(self, name: str) -> Random:
        with self._lock:
            # Not for secrets: the same seed must give the same faults.
            return self._chances.setdefault(name, Random(f"{self.plan.seed} {name}"))  # noqa: S311


def _is_cut_short(photo: Path) -> bool:
    """Whether a part of a photo is there, a JPEG or a PNG."""
    try:
        content = photo.read_bytes()
    except OSError:
        return False
    return bool(content) and not content.endswith((b"\xff\xd9", b"IEND\xaeB`\x82"))


def _body(environ: Environ) -> bytes:
    """A request's body, left to be read again."""
    body: bytes = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
    environ["wsgi.input"] = io.BytesIO(body)
    return body


def _version_id(event: bytes) -> str:
    found = json.loads(event)
    if "Records" in found:
        return str(json.loads(found["Records"][0]["body"])["detail"]["object"]["version-id"])
    return str(found["upload"]["version_id"])


def _carried_out(app: App, environ: Environ) -> _Answer:
    started: list[tuple[Any, ...]] = []
    content = list(app(environ, lambda *given: started.append(given)))
    environ["CONTENT_LENGTH"] = "0"
    return _Answer(started[0][0], started[0][1], content)


def _answer(call: Any, trouble: _Trouble) -> _Answer:
    """An error in the service's own shape."""
    body = json.dumps({"__type": trouble.code, "message": "By the fault plan."})
    if call.service == "s3":
        body = f"<Error><Code>{trouble.code}</Code><Message>By the fault plan.</Message></Error>"
    headers = [
        ("Content-Length", str(len(body))),
        ("x-amzn-ErrorType", trouble.code),
        ("x-amz-request-id" if call.service == "s3" else "x-amzn-RequestId", str(uuid.uuid4())),
    ]
    return _Answer(trouble.status, headers, [body.encode()])
