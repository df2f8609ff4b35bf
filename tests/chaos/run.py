"""One run: a sandbox in bad weather, uploads dropped into it, time skipped until nothing is left to do."""

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
from tests.chaos.clock import Clock, NothingAhead
from tests.chaos.faults import Faults, Plan
from tests.chaos.gate import Gate, gate
from tests.chaos.uploads import Drop

Json = Any

TASK_SECONDS = 0.05
ANSWER_SECONDS = 60
_LOOK_SECONDS = 0.003


class NeverQuiet(AssertionError):
    """The run did not come to rest in time; says what is still going on."""


@dataclass(frozen=True)
class Upload:
    """One version of one object in the input bucket."""

    key: str
    version_id: str


@dataclass
class Run:
    """A sandbox, its clock, its faults, the gate in front of its enhancer; `uploads` is what was dropped, in order.

    `aborted` counts executions that the owner stopped.
    """

    running: Sandbox
    clock: Clock
    faults: Faults
    gate: Gate
    uploads: list[Upload] = field(default_factory=list)
    aborted: int = 0
    _skips: list[tuple[float, float]] = field(default_factory=lambda: [(0.0, 0.0)])

    @property
    def outputs(self) -> Mapping[str, str]:
        """The stack's outputs."""
        return self.running.cloud.outputs

    def client(self, service: str) -> Any:
        """The owner's client of an AWS service."""
        return self.running.cloud.client(service)

    def enhancer(self, handle: str, change: Json = None) -> Json:
        """One of the enhancer's own handles, read or set."""
        url = f"{self.running.enhancer}/_sandbox/{handle}"
        method = "GET" if change is None else "PUT"
        answer = requests.request(method, url, json=change, timeout=ANSWER_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def drop(self, drops: Sequence[Drop]) -> None:
        """Uploads everything, one after the other, while nothing has time to be skipped."""
        s3, bucket = self.client("s3"), self.outputs["InputBucketName"]
        with self.clock.working():
            for drop in drops:
                put = s3.put_object(Bucket=bucket, Key=drop.key, Body=drop.body, Metadata=drop.metadata)
                self.uploads.append(Upload(drop.key, put["VersionId"]))

    def settle(self, seconds: float, until: float = float("inf")) -> bool:
        """Skips time until nothing is under way or waited for (True), or the clock shows `until` (False).

        Raises NeverQuiet after so many real `seconds`.
        """
        deadline = time.monotonic() + seconds
        while self.clock.now() < until:
            if time.monotonic() > deadline:
                raise NeverQuiet(self.still_going_on())
            if not self.clock.busy and self.enhancer("unfinished") == 0:
                try:
                    self.clock.skip(until)
                except NothingAhead:
                    return True
                self._skips.append((time.time(), self.clock.skipped))
            time.sleep(_LOOK_SECONDS)
        return False

    def move(self, seconds: float) -> None:
        """Lets so many seconds pass at once, as soon as nothing is under way."""
        while not self.clock.move(seconds):
            time.sleep(_LOOK_SECONDS)
        self._skips.append((time.time(), self.clock.skipped))

    def clock_time(self, real: float) -> float:
        """What the clock showed at a moment of real time."""
        return real + next(skipped for at, skipped in reversed(self._skips) if at <= real)

    def abort_some(self, random: Random, rate: float, most_seconds: float) -> None:
        """From now on, has the owner stop some executions, somewhere between their start and so much later."""

        def abort(arn: str) -> None:
            try:
                self.clock.wait(random.uniform(0, most_seconds))
                with contextlib.suppress(ClientError):
                    self.client("stepfunctions").stop_execution(executionArn=arn)
                    self.aborted += 1
            finally:
                self.clock.end_work()

        def started(arn: str) -> None:
            if random.random() < rate:
                self.clock.start_work()
                Thread(target=abort, args=(arn,), daemon=True).start()

        self.faults.execution_started = started

    def still_going_on(self) -> str:
        """For whoever has to find out why a run does not end."""
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
                "The run did not come to rest.",
                f"busy: {self.clock.busy}, skipped: {self.clock.skipped:.0f} s, queues: {counts}",
                f"running executions: {[execution['name'] for execution in executions[:10]]} of {len(executions)}",
                f"unfinished tasks: {self.enhancer('unfinished')}",
                *lines[-40:],
            ]
        )


@contextlib.contextmanager
def started(plan: Plan, parameters: Mapping[str, str] = {}, *, credits: int = 1_000_000) -> Iterator[Run]:
    """A run in the weather of `plan`, with the enhancer still in good health."""
    arguments = ["--task-seconds", str(TASK_SECONDS), "--credits", str(credits)]
    with Clock() as clock, gate() as opened:
        faults = Faults(plan, clock)
        values = {"Resolution": "1K", "ApiBaseUrl": f"http://127.0.0.1:{opened.port}", **parameters}
        with sandbox(values, hooks=faults, enhancer_arguments=arguments) as running:
            opened.target = int(running.enhancer.rpartition(":")[2])
            yield Run(running, clock, faults, opened)
