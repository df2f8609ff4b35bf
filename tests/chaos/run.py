"""One run: a sandbox with a fault plan, uploads, and a clock that skips until no work is left."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from threading import Thread
from typing import Any

import requests
from botocore.exceptions import ClientError

from sandbox.demo.start import Sandbox, sandbox
from tests.chaos.clock import Clock, NothingScheduled
from tests.chaos.faults import Faults, Plan
from tests.chaos.proxy import Proxy, proxy
from tests.chaos.uploads import Object

Json = Any

TASK_SECONDS = 0.05
RESPONSE_SECONDS = 60
_POLL_SECONDS = 0.003
# Of the clock. Every upload ends within hours, except with the daily limit, where the suite advances the clock.
_MAX_CLOCK_SECONDS = 43_200


class NotIdle(AssertionError):
    """The run still has work to do after its time limit; the message describes the work."""


@dataclass(frozen=True)
class Upload:
    """One version of one object in the input bucket."""

    key: str
    version_id: str


@dataclass
class Run:
    """A sandbox, its clock, its faults, and the proxy in front of its enhancer.

    `uploads` has the uploads in order; `stopped_executions` counts the executions that the owner stopped.
    """

    running: Sandbox
    clock: Clock
    faults: Faults
    proxy: Proxy
    uploads: list[Upload] = field(default_factory=list)
    stopped_executions: int = 0
    _skips: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])
    _session: requests.Session = field(default_factory=requests.Session)

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.running.cloud.outputs

    def client(self, service: str) -> Any:
        """The owner's client of an AWS service."""
        return self.running.cloud.client(service)

    def enhancer(self, resource: str, change: Json = None) -> Json:
        """Reads or changes one of the enhancer's `/_sandbox` resources."""
        url = f"{self.running.enhancer}/_sandbox/{resource}"
        method = "GET" if change is None else "PUT"
        response = self._session.request(method, url, json=change, timeout=RESPONSE_SECONDS)
        response.raise_for_status()
        return response.json()

    def upload(self, objects: Sequence[Object]) -> None:
        """Uploads the objects in order; no time is skipped meanwhile."""
        s3, bucket = self.client("s3"), self.outputs["InputBucketName"]
        with self.clock.working():
            for one in objects:
                put = s3.put_object(Bucket=bucket, Key=one.key, Body=one.body, Metadata=one.metadata)
                self.uploads.append(Upload(one.key, put["VersionId"]))

    def run_until_idle(self, seconds: float, until: float = float("inf")) -> bool:
        """Skips time until no work is active or scheduled (True), or the clock reaches `until` (False).

        Raises NotIdle after `seconds` of real time, or after twelve hours of the clock.
        """
        deadline, last = time.monotonic() + seconds, self.clock.now() + _MAX_CLOCK_SECONDS
        while self.clock.now() < until:
            if time.monotonic() > deadline or self.clock.now() > last:
                raise NotIdle(self.describe_pending_work())
            if not self.clock.busy and self.enhancer("unfinished") == 0:
                try:
                    self.clock.skip(until)
                except NothingScheduled:
                    return True
                self._skips.append((time.time(), self.clock.skipped))
            time.sleep(_POLL_SECONDS)
        return False

    def advance(self, seconds: float) -> None:
        """Skips `seconds` at once, as soon as no work is active."""
        while not self.clock.advance(seconds):
            time.sleep(_POLL_SECONDS)
        self._skips.append((time.time(), self.clock.skipped))

    def clock_time(self, real: float) -> float:
        """The clock's time at a point in real time."""
        return real + next(skipped for at, skipped in reversed(self._skips) if at <= real)

    def stop_some_executions(self, random: Random, rate: float, most_seconds: float) -> None:
        """Stops some of the executions that start from now on, each up to `most_seconds` after its start."""

        def stop(arn: str) -> None:
            try:
                self.clock.wait(random.uniform(0, most_seconds))
                with contextlib.suppress(ClientError):
                    self.client("stepfunctions").stop_execution(executionArn=arn)
                    self.stopped_executions += 1
            finally:
                self.clock.end_work()

        def started(arn: str) -> None:
            if random.random() < rate:
                self.clock.start_work()
                Thread(target=stop, args=(arn,), daemon=True).start()

        self.faults.execution_started = started

    def describe_pending_work(self) -> str:
        """The active and scheduled work, to find out why a run does not end."""
        sqs = self.client("sqs")
        queues = {
            name: sqs.get_queue_attributes(QueueUrl=self.outputs[name], AttributeNames=["All"])["Attributes"]
            for name in ("UploadQueueUrl", "DeadLetterQueueUrl")
        }
        counts = {
            name: {k: v for k, v in attributes.items() if k.startswith("Approximate")}
            for name, attributes in queues.items()
        }
        executions = self.client("stepfunctions").list_executions(
            stateMachineArn=self.outputs["WorkflowArn"], statusFilter="RUNNING"
        )["executions"]
        lines = (self.running.logs / "functions.log").read_text().splitlines()
        return "\n".join(
            [
                "The run is not idle.",
                f"busy: {self.clock.busy}, skipped: {self.clock.skipped:.0f} s, queues: {counts}",
                f"running executions: {[execution['name'] for execution in executions[:10]]} of {len(executions)}",
                f"unfinished tasks: {self.enhancer('unfinished')}",
                *lines[-40:],
            ]
        )


@contextlib.contextmanager
def start_run(plan: Plan, parameters: Mapping[str, str] = {}, *, credits: int = 1_000_000) -> Iterator[Run]:
    """Starts a run with a fault plan for the functions; the enhancer works normally until it gets a plan."""
    arguments = ["--task-seconds", str(TASK_SECONDS), "--credits", str(credits)]
    with Clock() as clock, proxy() as opened:
        faults = Faults(plan, clock)
        values = {"Resolution": "1K", "ApiBaseUrl": f"http://127.0.0.1:{opened.port}", **parameters}
        with sandbox(values, hooks=faults, enhancer_arguments=arguments) as running:
            opened.target = int(running.enhancer.rpartition(":")[2])
            yield Run(running, clock, faults, opened)
