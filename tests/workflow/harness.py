"""The workflow of the real template, executed by moto with virtual time.

The stack is deployed as the sandbox deploys it, in this process. Scripts answer for the two functions. S3, DynamoDB,
and EventBridge are moto's, so a test sees the output bucket, the ledger, the events, and how the execution ended. Waits
and retries move a virtual clock that the workflow's expressions read.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import patch
from urllib.parse import unquote

import boto3
import msgspec
from boto3.dynamodb.types import TypeDeserializer
from botocore.awsrequest import AWSResponse
from botocore.exceptions import ClientError
from jsonata.timebox import Timebox
from moto import mock_aws
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sqs.models import sqs_backends
from moto.stepfunctions.parser.asl.component.common.retry import retrier_decl
from moto.stepfunctions.parser.asl.component.state.wait.wait_function.wait_function import WaitFunction

from lumendrop import reports
from lumendrop.ledger import Ledger, PaidTask, Row
from lumendrop.outcomes import Outcome
from lumendrop.reports import report_key
from lumendrop.uploads import Upload
from lumendrop.workflow import execution_input
from sandbox.aws import moto_patches
from sandbox.aws.stacks import deploy
from sandbox.aws.template import load

TEMPLATE = Path(__file__).resolve().parents[2] / "template.yaml"
REGION = "us-east-1"
# An execution without real waits ends within a second. An endless loop must not block the tests.
_STUCK_SECONDS = 30
_FUNCTIONS = ("CheckStatus", "Deliver")

REJECTED = Outcome(
    status="rejected",
    code="not_an_image",
    message="The file's first bytes are not those of an image.",
    advice="Upload a photo.",
    may_have_cost=False,
)
UNKNOWN = Outcome(
    status="unknown",
    code="ambiguous_submit",
    message="It is unknown whether a task was created and paid for.",
    advice="Look at the vendor's account.",
    may_have_cost=True,
)


@dataclass(frozen=True)
class Crash:
    """The function fails with an error of this type."""

    kind: str = "RuntimeError"


@dataclass(frozen=True)
class ServiceError:
    """The service rejects the call with this error and has no effect."""

    code: str
    status: int = 400


@dataclass(frozen=True)
class Forever:
    """The same answer to every call."""

    answer: Any


@dataclass(frozen=True)
class FailedEntry:
    """PutEvents accepts the call but not the event."""


Script = Sequence[Any]


@dataclass
class Clock:
    """Seconds since the epoch. Only waits move it."""

    now: float = field(default_factory=lambda: float(int(time.time())))
    waits: list[float] = field(default_factory=list)
    retries: list[float] = field(default_factory=list)

    def wait(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds

    def sleep(self, seconds: float) -> None:
        self.retries.append(seconds)
        self.now += seconds

    def milliseconds(self) -> int:
        return int(self.now * 1000)


@dataclass(frozen=True)
class Run:
    """One execution that has ended, with all its effects."""

    status: str
    error: str | None
    cause: str | None
    states: list[str]
    history: list[dict[str, Any]]
    asked: list[tuple[str, Any]]
    waits: list[float]
    retries: list[float]
    calls: list[str]
    report: dict[str, Any] | None
    report_type: str | None
    row: dict[str, Any]
    events: list[dict[str, Any]]
    queued: list[dict[str, Any]]
    given: dict[str, Any]
    ended_at: float

    def count(self, state: str) -> int:
        return self.states.count(state)

    def payloads(self, function: str) -> list[Any]:
        return [payload for name, payload in self.asked if name == function]

    def transitions(self) -> set[tuple[str, str]]:
        return set(itertools.pairwise(self.states))


@dataclass
class _Scripted:
    """The answers to the workflow's calls in one run, and a record of the calls."""

    functions: dict[str, list[Any]] = field(default_factory=dict)
    faults: dict[str, list[Any]] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    surprises: list[str] = field(default_factory=list)

    def invoke(self, function: str, payload: Any) -> tuple[AWSResponse, dict[str, Any]]:
        answer = _next(self.functions[function], default=ServiceError("Unscripted", 500))
        if answer == ServiceError("Unscripted", 500):
            self.surprises.append(f"{function} was invoked more often than its script allows")
        if isinstance(answer, ServiceError):
            return _refusal(answer)
        self.asked.append((function, payload))
        if isinstance(answer, Crash):
            crash = {"errorType": answer.kind, "errorMessage": "It crashed."}
            return _http(200), {"StatusCode": 200, "FunctionError": "Unhandled", "Payload": _body(crash)}
        return _http(200), {"StatusCode": 200, "Payload": _body(answer)}

    def call(self, action: str) -> tuple[AWSResponse, dict[str, Any]] | None:
        answer = _next(self.faults.get(action, []), default=None)
        if isinstance(answer, ServiceError):
            return _refusal(answer)
        if isinstance(answer, FailedEntry):
            return _http(200), {"FailedEntryCount": 1, "Entries": [{"ErrorCode": "InternalFailure"}]}
        return None if answer is None else (_http(200), answer)

    def check(self) -> None:
        """Check that the scripts were used completely."""
        left = {name: script for name, script in (self.functions | self.faults).items() if not _played(script)}
        assert not self.surprises, self.surprises
        assert not left, f"not used: {left}"


def _next(script: list[Any], default: Any) -> Any:
    if not script:
        return default
    return script[0].answer if isinstance(script[0], Forever) else script.pop(0)


def _played(script: list[Any]) -> bool:
    return all(isinstance(answer, Forever) for answer in script)


def _body(payload: Any) -> io.BytesIO:
    return io.BytesIO(json.dumps(payload).encode())


def _http(status: int) -> AWSResponse:
    return AWSResponse("https://aws.invalid", status, {}, None)


def _refusal(error: ServiceError) -> tuple[AWSResponse, dict[str, Any]]:
    return _http(error.status), {
        "Error": {"Code": error.code, "Message": "Refused by the script."},
        "ResponseMetadata": {"HTTPStatusCode": error.status, "RequestId": "0", "RetryAttempts": 0},
    }


class _Clients:
    """Clients of moto's AWS for the tests and for the roles of the workflow. Scripts can answer the latter."""

    def __init__(self) -> None:
        self._made: dict[tuple[str, str], Any] = {}
        self.scripted = _Scripted()
        self.output_bucket = ""
        self.ended_error: dict[str, str] = {}

    def of(self, service: str, role: str = "") -> Any:
        if (service, role) not in self._made:
            client = boto3.client(service, region_name=REGION)
            if role:
                client.meta.events.register("before-call", self._answer)
            self._made[service, role] = client
        return self._made[service, role]

    def _answer(self, model: Any, params: Mapping[str, Any], **_: object) -> Any:
        """Answer one call of the workflow to a service, or return None to let it through."""
        self.scripted.calls.append(model.name)
        if model.name == "DescribeExecution":
            return self.scripted.call(model.name) or (_http(200), self._described())
        if model.name != "Invoke":
            return self.scripted.call(model.name)
        name, payload = unquote(params["url_path"]).split("/")[-2], json.loads(params["body"])
        if "report" in payload:
            self.scripted.calls[-1] = "WriteReport"
            return self.scripted.call("WriteReport") or self._report(payload["report"])
        function = next(one for one in _FUNCTIONS if f"{one}Function" in name)
        return self.scripted.invoke(function, payload)

    def _report(self, report: dict[str, Any]) -> tuple[AWSResponse, dict[str, Any]]:
        """Write a report as deliver does."""
        key = reports.write(self.of("s3"), self.output_bucket, msgspec.convert(report["upload"], Upload), report)
        return _http(200), {"StatusCode": 200, "Payload": _body({"report_key": key})}

    def _described(self) -> dict[str, Any]:
        described = {"executionArn": "execution", "stateMachineArn": "workflow", "status": "FAILED"}
        return described | self.ended_error


class Workflow:
    """The deployed stack; `run` executes its workflow once."""

    def __init__(self, clients: _Clients, parameters: Mapping[str, str]) -> None:
        self._clients = clients
        self.client = clients.of
        self._numbers = itertools.count(1)
        template = load(TEMPLATE, {"Deployment": "all-at-once", **parameters}, REGION)  # moto knows no CodeDeploy
        deployment = deploy(template, "lumendrop", self.client, DEFAULT_ACCOUNT_ID, REGION)
        assert not [one for one in deployment.skipped if "resource of type" in one], deployment.skipped
        self.resources = deployment.resources()
        clients.output_bucket = self.resources["OutputBucket"]
        self.definition, self.backfill_definition = (
            json.loads(self.client("stepfunctions").describe_state_machine(stateMachineArn=arn)["definition"])
            for arn in (self.resources["Workflow"], self.resources["BackfillWorkflow"])
        )
        # Otherwise, each failed execution would start another one.
        self.client("events").disable_rule(Name=self.resources["ExecutionFailureRule"])
        self._queue_url = self.client("sqs").get_queue_url(QueueName=self.resources["UploadQueue"].split("/")[-1])[
            "QueueUrl"
        ]
        self._events_url = self._listen()

    def submitted(self, clock: Clock, key: str, *, patience: int = 3600, attempt: int = 1, **changes: Any) -> Row:
        """A ledger row as submit writes it after it created the task."""
        ledger = self.ledger(clock)
        upload = self.upload(key)
        facts: dict[str, Any] = {
            "options": '{"resolution":"4K"}',
            "submitted_at": int(clock.now),
            "deadline": int(clock.now) + patience,
            "estimated_seconds": 45,
            "credits": 1.0,
        }
        row: Row | None = None
        for number in range(1, attempt + 1):
            if row is not None:
                self.change_row(row, status={"S": "retrying"})
                row = msgspec.structs.replace(row, status="retrying")
            claim, _ = ledger.claim(upload, "{}", 60, row)
            named = {"attempt": number, "task_id": f"task-unified-{number}"}
            row = ledger.record(claim, PaidTask(**(facts | named | changes)), clock.now)
        assert row is not None
        return row

    def rejected(self, clock: Clock, key: str, outcome: Outcome = REJECTED) -> Row:
        return self.ledger(clock).reject(self.upload(key), outcome)

    def unknown(self, clock: Clock, key: str, outcome: Outcome = UNKNOWN) -> Row:
        ledger = self.ledger(clock)
        claim, _ = ledger.claim(self.upload(key), '{"resolution":"4K"}', 60)
        return ledger.finish_claim(claim, outcome)

    def upload(self, key: str) -> Upload:
        return Upload(self.resources["InputBucket"], key, f"v{next(self._numbers)}", "0055", 1234, "etag")

    def seen_by_submit(self, upload: Upload, clock: Clock) -> Row:
        """What the next run of submit finds in the ledger."""
        row, acquired = self.ledger(clock).claim(upload, "{}", 60)
        assert not acquired
        return row

    def change_row(self, row: Row, **attributes: dict[str, str]) -> None:
        """Write what another run could have written, as DynamoDB attribute values."""
        for name, value in attributes.items():
            self.client("dynamodb").update_item(
                TableName=self.resources["LedgerTable"],
                Key={"pk": {"S": row.pk}, "sk": {"S": row.sk}},
                UpdateExpression="SET #name = :value",
                ExpressionAttributeNames={"#name": name},
                ExpressionAttributeValues={":value": value},
            )

    def ended(self, row: Row, status: str, error: str = "", cause: str = "") -> dict[str, Any]:
        """The event about the end of the execution for a row. DescribeExecution then has its `error` and `cause`."""
        self._clients.ended_error = {"error": error, "cause": cause} if error else {}
        return ended_event(self.resources["Workflow"], execution_input(row), status)

    def run(
        self,
        row: Row,
        clock: Clock,
        *,
        given: dict[str, Any] | None = None,
        check_status: Script = (),
        deliver: Script = (),
        faults: Mapping[str, Script] | None = None,
    ) -> Run:
        """Execute the workflow for a row, with the input from submit unless another input is `given`.

        Scripts hold a payload, Crash, ServiceError or Forever per call; `faults` the same for the services' actions,
        where None lets the call through, calls beyond the script go through, and a dictionary is the service's answer.
        """
        given = execution_input(row) if given is None else given
        scripted = self._clients.scripted = _Scripted(
            functions=dict(zip(_FUNCTIONS, (list(check_status), list(deliver)), strict=True)),
            faults={action: list(script) for action, script in (faults or {}).items()},
        )
        with _virtual_time(clock):
            arn = self.client("stepfunctions").start_execution(
                stateMachineArn=self.resources["Workflow"], name=f"run-{next(self._numbers)}", input=json.dumps(given)
            )["executionArn"]
            ended = self._wait(arn)
        scripted.check()
        return self._collect(row, given, ended, clock, scripted)

    def backfill(
        self, keys: Mapping[str, bytes], prefix: str, faults: Mapping[str, Script] | None = None
    ) -> tuple[dict[str, Any], list[str]]:
        """Executes the backfill over these objects. Returns how it ended, and the keys of the messages that it sent."""
        self._clients.scripted = _Scripted(faults={action: list(script) for action, script in (faults or {}).items()})
        s3, bucket = self.client("s3"), self.resources["InputBucket"]
        for key, body in keys.items():
            s3.put_object(Bucket=bucket, Key=key, Body=body)
        self._queued()
        with _virtual_time(Clock()):
            arn = self.client("stepfunctions").start_execution(
                stateMachineArn=self.resources["BackfillWorkflow"], input=json.dumps({"prefix": prefix})
            )["executionArn"]
            ended = self._wait(arn)
        return ended, [json.loads(one["body"])["detail"]["object"]["key"] for one in self._queued()]

    def ledger(self, clock: Clock) -> Ledger:
        return Ledger(self.client("dynamodb"), self.resources["LedgerTable"], 1_000_000, lambda: clock.now)

    def _listen(self) -> str:
        sqs, events = self.client("sqs"), self.client("events")
        url: str = sqs.create_queue(QueueName="events-of-lumendrop")["QueueUrl"]
        arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        events.put_rule(Name="events-of-lumendrop", EventPattern=json.dumps({"source": ["lumendrop"]}))
        events.put_targets(Rule="events-of-lumendrop", Targets=[{"Id": "queue", "Arn": arn}])
        return url

    def _wait(self, arn: str) -> dict[str, Any]:
        client = self.client("stepfunctions")
        give_up = time.monotonic() + _STUCK_SECONDS
        while (execution := client.describe_execution(executionArn=arn))["status"] == "RUNNING":
            if time.monotonic() > give_up:
                client.stop_execution(executionArn=arn)
                raise AssertionError("the execution does not end")
            time.sleep(0.02)  # A shorter pause takes more time from the execution than it saves.
        return dict(execution)

    def _collect(
        self, row: Row, given: dict[str, Any], ended: dict[str, Any], clock: Clock, scripted: _Scripted
    ) -> Run:
        history = self._history(ended["executionArn"])
        report, report_type = self._report(report_key(row.upload.key))
        return Run(
            status=ended["status"],
            error=ended.get("error"),
            cause=ended.get("cause"),
            states=[e["stateEnteredEventDetails"]["name"] for e in history if "stateEnteredEventDetails" in e],
            history=history,
            asked=scripted.asked,
            waits=clock.waits,
            retries=clock.retries,
            calls=scripted.calls,
            report=report,
            report_type=report_type,
            row=self.row(row),
            events=[json.loads(message["Body"]) for message in self._receive(self._events_url)],
            queued=self._queued(),
            given=given,
            ended_at=clock.now,
        )

    def _history(self, arn: str) -> list[dict[str, Any]]:
        pages = self.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=arn)
        return [event for page in pages for event in page["events"]]

    def _report(self, key: str) -> tuple[dict[str, Any] | None, str | None]:
        try:
            found = self.client("s3").get_object(Bucket=self.resources["OutputBucket"], Key=key)
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchKey", error
            return None, None
        self.client("s3").delete_object(Bucket=self.resources["OutputBucket"], Key=key)
        return json.load(found["Body"]), found["ContentType"]

    def row(self, row: Row) -> dict[str, Any]:
        """The ledger's row as it is now, as plain values."""
        item = self.client("dynamodb").get_item(
            TableName=self.resources["LedgerTable"], Key={"pk": {"S": row.pk}, "sk": {"S": row.sk}}
        )["Item"]
        plain: dict[str, Any] = TypeDeserializer().deserialize({"M": item})
        return plain

    def _queued(self) -> list[dict[str, Any]]:
        """The messages in the upload queue, delayed ones too, which are gone then."""
        queue = sqs_backends[DEFAULT_ACCOUNT_ID][REGION].queues[self._queue_url.split("/")[-1]]
        queued = [{"body": one.body, "delay": one.delayed_until - one.sent_timestamp} for one in queue._messages]
        queue._messages = []
        return queued

    def _receive(self, url: str) -> list[dict[str, Any]]:
        sqs = self.client("sqs")
        found: list[dict[str, Any]] = []
        while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
            found += messages
            for message in messages:
                sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
        return found


def iso(seconds: float) -> str:
    """A time as workflows see it."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def ended_event(arn: str, given: dict[str, Any], status: str) -> dict[str, Any]:
    """The event that says how an execution of the state machine `arn` ended, as AWS sends it.

    Source: https://docs.aws.amazon.com/step-functions/latest/dg/eventbridge-integration.html
    """
    execution = f"{arn.replace(':stateMachine:', ':execution:')}:photo-1"
    return {
        "version": "0",
        "id": "315c1398-40ff-a850-213b-158f73e60175",
        "detail-type": "Step Functions Execution Status Change",
        "source": "aws.states",
        "account": DEFAULT_ACCOUNT_ID,
        "time": "2026-02-26T19:42:21Z",
        "region": REGION,
        "resources": [execution],
        "detail": {
            "executionArn": execution,
            "stateMachineArn": arn,
            "name": "photo-1",
            "status": status,
            "startDate": 1551225271984,
            "stopDate": 1551225291984,
            "input": json.dumps(given, ensure_ascii=False),
            "output": None,
            "stateMachineVersionArn": None,
            "stateMachineAliasArn": None,
            "redriveCount": 0,
            "redriveDate": None,
            "redriveStatus": "REDRIVABLE",
            "redriveStatusReason": None,
            "inputDetails": {"included": True},
            "outputDetails": None,
        },
    }


@contextlib.contextmanager
def _virtual_time(clock: Clock) -> Iterator[None]:
    def wait(_function: object, env: object, wait_seconds: float) -> None:
        clock.wait(wait_seconds)

    with (
        patch.object(WaitFunction, "_wait_interval", wait),
        patch.object(retrier_decl, "time", clock),
        patch.object(Timebox, "current_milli_time", clock.milliseconds),
    ):
        yield


@contextlib.contextmanager
def deployed(**parameters: str) -> Iterator[Workflow]:
    """The stack of the real template, deployed in this process until the context ends."""
    variables = {"VALIDATE_LAMBDA_S3": "false", "AWS_DEFAULT_REGION": REGION, "AWS_REGION": REGION}
    clients = _Clients()
    with (
        mock_aws(),
        patch.dict("os.environ", variables),
        tempfile.TemporaryDirectory() as folder,
        moto_patches.apply(
            _no_lambda,
            clients.of,
            lambda *_, **__: True,
            _no_change_set,
            lambda: False,
            Path(folder),
            DEFAULT_ACCOUNT_ID,
            REGION,
        ),
    ):
        yield Workflow(clients, parameters)


def _no_change_set(*_: object) -> None:
    raise AssertionError("the stack is deployed without a change set")


def _no_lambda(*_: object) -> bytes:
    raise AssertionError("the scripts answer every Invoke before it reaches moto")
