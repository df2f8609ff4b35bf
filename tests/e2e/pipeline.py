"""The running stack from the owner's side: AWS's APIs, the ledger, the workflow, and the enhancer's sandbox API."""

import json
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import requests
from boto3.dynamodb.types import TypeDeserializer

from sandbox.demo.start import Sandbox
from tests.e2e.cli import Cli
from tests.e2e.photos import opened

Json = dict[str, Any]

WAIT_SECONDS = 120.0
POLL_SECONDS = 0.1
UPLOAD_THREADS = 4
LOG_LINES = 12
FUNCTIONS = ("SubmitFunction", "CheckStatusFunction", "DeliverFunction")


class WaitTimeout(AssertionError):
    """A condition did not become true in time; the message describes the uploads concerned."""


@dataclass(frozen=True)
class Upload:
    """One version of one object in the input bucket."""

    key: str
    version_id: str


@dataclass(frozen=True)
class Result:
    """An object of the output bucket, decoded."""

    image: Any
    content_type: str
    metadata: dict[str, str]


class Pipeline:
    """Drops photos into a running sandbox and checks the results. `scratch` is a folder for temporary files."""

    def __init__(self, running: Sandbox, scratch: Path) -> None:
        self.cloud = running.cloud
        self.outputs = running.cloud.outputs
        self.aws = Cli(running.cloud.endpoint, scratch)
        self._scratch = scratch
        self._enhancer = running.enhancer
        self._inputs: dict[str, Json] = {}  # of executions, by ARN

    # ---------------------------------------------------------------- uploads

    def drop(self, key: str, body: bytes, **arguments: Any) -> Upload:
        """Puts one object with boto3, which is faster than the AWS CLI; `drop_folder` uses the CLI.

        A photo gets bytes after its end that no other upload has. `drop_same` leaves it as it is.
        """
        return self.drop_same(key, _unique(body), **arguments)

    def drop_same(self, key: str, body: bytes, **arguments: Any) -> Upload:
        s3, bucket = self.cloud.client("s3"), self.outputs["InputBucketName"]
        return Upload(key, s3.put_object(Bucket=bucket, Key=key, Body=body, **arguments)["VersionId"])

    def drop_with_faults(self, faults: Mapping[str, list[Any]], key: str, body: bytes, *statuses: str) -> Upload:
        """Puts one object with a fault plan (see `plan`) and waits until its status is one of `statuses`."""
        self.plan(**faults)
        upload = self.drop(key, body)
        self.wait_for_status(upload, *statuses)
        return upload

    def drop_all(self, bodies: Mapping[str, bytes]) -> dict[str, Upload]:
        """Puts many objects concurrently."""
        with ThreadPoolExecutor(UPLOAD_THREADS) as workers:
            return dict(zip(bodies, workers.map(self.drop, bodies.keys(), bodies.values()), strict=True))

    def drop_folder(self, bodies: Mapping[str, bytes]) -> dict[str, Upload]:
        """Copies a folder with these files with one command of the AWS CLI."""
        bucket = self.outputs["InputBucketName"]
        with tempfile.TemporaryDirectory(dir=self._scratch) as folder:
            for name, body in bodies.items():
                path = Path(folder, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_unique(body))
            self.aws("s3", "cp", "--recursive", "--quiet", folder, f"s3://{bucket}/")
        heads = {key: self.cloud.client("s3").head_object(Bucket=bucket, Key=key) for key in bodies}
        return {key: Upload(key, head["VersionId"]) for key, head in heads.items()}

    def file(self, body: bytes) -> Path:
        path = self._scratch / uuid.uuid4().hex
        path.write_bytes(body)
        return path

    @contextmanager
    def event_source_disabled(self) -> Iterator[None]:
        """Disables the event source inside the block, so that messages stay in the upload queue."""
        mapping, functions = self.cloud.resources["SubmitFunctionUploads"], self.cloud.client("lambda")
        self.aws("lambda", "update-event-source-mapping", "--uuid", mapping, "--no-enabled")
        try:
            self.wait_until(
                lambda: functions.get_event_source_mapping(UUID=mapping)["State"] == "Disabled",
                "the event source is disabled",
            )
            yield
        finally:
            self.aws("lambda", "update-event-source-mapping", "--uuid", mapping, "--enabled")

    def backfill(self, prefix: str) -> Json:
        """Runs the backfill to its end and returns the description of its execution."""
        states, machine = self.cloud.client("stepfunctions"), self.outputs["BackfillWorkflowArn"]
        start = {"stateMachineArn": machine, "input": json.dumps({"prefix": prefix})}
        execution = states.start_execution(**start)["executionArn"]
        self.wait_until(
            lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING", "the backfill ends"
        )
        described: Json = states.describe_execution(executionArn=execution)
        return described

    # ---------------------------------------------------------------- waiting

    def wait(self, uploads: Iterable[Upload]) -> None:
        """Waits until all uploads have a final status and no execution runs. Raises WaitTimeout."""
        pending = list(uploads)

        def all_ended() -> bool:
            rows, executions = self.rows(), self.executions()
            pending[:] = [one for one in pending if not _has_ended(rows.get(one), executions.get(one, []))]
            return not pending

        self.wait_until(all_ended, "every upload ends", pending)

    def wait_for_status(self, upload: Upload, *statuses: str) -> None:
        """Waits until the status of an upload is one of `statuses`. Raises WaitTimeout."""
        self.wait_until(
            lambda: self._status(upload) in statuses,
            f"{upload.key} is {' or '.join(statuses)}",
            [upload],
        )

    def wait_until(self, condition: Callable[[], Any], what: str, about: Iterable[Upload] = ()) -> Any:
        """Waits until `condition` returns a true value, and returns it. Raises WaitTimeout."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            began = time.monotonic()
            if found := condition():
                return found
            if began > deadline:
                known = "\n\n".join(self.explain(upload) for upload in about)
                raise WaitTimeout(f"Not true within {WAIT_SECONDS:.0f} seconds: {what}\n{known or self._log_tail()}")
            # The stack runs in this process, so polling slows it down.
            time.sleep(max(POLL_SECONDS, 4 * (time.monotonic() - began)))

    # ---------------------------------------------------------------- state

    def rows(self) -> dict[Upload, Json]:
        """The ledger's row of each upload."""
        read = TypeDeserializer().deserialize
        pages = self.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=self.outputs["LedgerTableName"])
        items = [{name: read(value) for name, value in item.items()} for page in pages for item in page["Items"]]
        return {Upload(item["key"], item["version_id"]): item for item in items if "status" in item}

    def _status(self, upload: Upload) -> str | None:
        pk = f"object#{self.outputs['InputBucketName']}/{upload.key}"
        key = {"pk": {"S": pk}, "sk": {"S": upload.version_id}}
        found = self.cloud.client("dynamodb").get_item(TableName=self.outputs["LedgerTableName"], Key=key)
        return found["Item"]["status"]["S"] if "Item" in found else None

    def executions(self) -> dict[Upload, list[Json]]:
        """The executions that submit started, by upload."""
        client = self.cloud.client("stepfunctions")
        pages = client.get_paginator("list_executions").paginate(stateMachineArn=self.outputs["WorkflowArn"])
        found: dict[Upload, list[Json]] = {}
        for execution in (one for page in pages for one in page["executions"]):
            arn = execution["executionArn"]
            if arn not in self._inputs:
                self._inputs[arn] = json.loads(client.describe_execution(executionArn=arn)["input"])
            if upload := self._inputs[arn].get("upload"):
                found.setdefault(Upload(upload["key"], upload["version_id"]), []).append(execution)
        return found

    def history(self, execution: Json) -> list[Json]:
        """The events of an execution."""
        pages = self.cloud.client("stepfunctions").get_paginator("get_execution_history")
        return [
            event
            for page in pages.paginate(executionArn=execution["executionArn"], includeExecutionData=True)
            for event in page["events"]
        ]

    def tasks(self, upload: Upload) -> list[Json]:
        """The tasks that were created and charged for an upload, oldest first."""
        image = (f"/{self.outputs['InputBucketName']}/{upload.key}", upload.version_id)
        return [task for task in self._all_tasks() if (unquote(task["image"]), task["version_id"]) == image]

    def completed_tasks(self, api_key: str) -> list[Json]:
        """All completed tasks as the enhancer's public API returns them, with the links of their results."""
        ids = [task["id"] for task in self._all_tasks() if task["status"] == "completed"]
        headers = {"Authorization": f"Bearer {api_key}"}
        return [
            requests.get(f"{self._enhancer}/v1/tasks/{id_}", headers=headers, timeout=WAIT_SECONDS).json()
            for id_ in ids
        ]

    def _all_tasks(self) -> list[Json]:
        tasks: list[Json] = requests.get(f"{self._enhancer}/_sandbox/tasks", timeout=WAIT_SECONDS).json()
        return tasks

    def keys(self, prefix: str) -> list[str]:
        """The keys in the output bucket that start with `prefix`."""
        bucket = self.outputs["OutputBucketName"]
        pages = self.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def result(self, key: str) -> Result:
        """An enhanced photo from the output bucket."""
        found = self.cloud.client("s3").get_object(Bucket=self.outputs["OutputBucketName"], Key=key)
        return Result(opened(found["Body"].read()), found["ContentType"], found["Metadata"])

    def metadata(self, key: str) -> Json:
        """The metadata of an object in the output bucket."""
        found = self.cloud.client("s3").head_object(Bucket=self.outputs["OutputBucketName"], Key=key)
        metadata: Json = found["Metadata"]
        return metadata

    def report(self, key: str) -> Json:
        """The report about an upload of this key, which can follow the row."""
        at = f"errors/{key}.json"
        self.wait_until(lambda: at in self.keys(at), f"{at} exists")
        return self.report_at(at)

    def report_at(self, key: str) -> Json:
        """The report under this key of the output bucket."""
        found = self.cloud.client("s3").get_object(Bucket=self.outputs["OutputBucketName"], Key=key)
        assert found["ContentType"] == "application/json"
        report: Json = json.load(found["Body"])
        return report

    def submit_log(self, upload: Upload, message: str) -> list[Json]:
        """The log lines of submit about an upload with this message."""
        lines = [json.loads(line) for line in self.cloud.logs("SubmitFunction").splitlines() if line.startswith("{")]
        return [
            line for line in lines if line.get("version_id") == upload.version_id and line.get("message") == message
        ]

    def denied(self) -> list[Any]:
        """The calls that IAM denied so far."""
        return [call for call in self.cloud.calls if not call.allowed]

    # ---------------------------------------------------------------- the enhancer's sandbox API

    def plan(self, **routes: list[Any]) -> None:
        """Sets the faults of the next calls and tasks, one entry each; later ones succeed."""
        plan = {route: {"sequence": sequence} for route, sequence in routes.items()}
        requests.put(f"{self._enhancer}/_sandbox/faults", json=plan, timeout=WAIT_SECONDS).raise_for_status()

    def account(self, **change: Any) -> None:
        """Changes the owner's account at the enhancer."""
        requests.put(f"{self._enhancer}/_sandbox/account", json=change, timeout=WAIT_SECONDS).raise_for_status()

    # ---------------------------------------------------------------- checks

    def enhanced(
        self, upload: Upload, at: str | None = None, attempt: int = 1, options: Mapping[str, str] | None = None
    ) -> Result:
        """Checks everything about a successful upload and returns its result.

        `at` is the key of the result, by default the upload's; `options` uses the names of the metadata.
        """
        row, executions, tasks = self.rows().get(upload), self.executions().get(upload, []), self.tasks(upload)
        key = at or upload.key
        assert row, self.explain(upload)
        assert (row["status"], row.get("output", {}).get("key")) == ("enhanced", key), self.explain(upload)
        assert [one["status"] for one in executions] == ["SUCCEEDED"] * attempt, self.explain(upload)
        assert len(tasks) == attempt, f"paid {len(tasks)} times\n{self.explain(upload)}"
        result = self.result(key)
        assert result.metadata.pop("result-pixels") == f"{result.image.width}x{result.image.height}"
        assert result.metadata.pop("result-bytes") == str(row["output"]["bytes"])
        assert result.metadata.pop("source-pixels") == row["pixels"]
        result.metadata.pop("carried-over", None)  # if the upload has metadata; what is missing has a reason
        assert result.metadata == {
            "source-bucket": row["bucket"],
            "source-key": quote(upload.key),
            "source-version-id": upload.version_id,
            "sequencer": row["sequencer"],
            "correlation-id": executions[0]["name"].split("-")[-2],
            "task-id": tasks[-1]["id"],
            "attempt": str(attempt),
            "model": "phota-image-enhance",
            **({"resolution": "1K"} if options is None else options),
        }
        loader = result.image.get("vips-loader")
        assert result.content_type == {"jpegload_buffer": "image/jpeg", "pngload_buffer": "image/png"}[loader]
        return result

    def explain(self, upload: Upload) -> str:
        """All known details of an upload, for a failed check."""
        row = self.rows().get(upload)
        parts = [f"--- {upload.key} ({upload.version_id})", f"row: {row}", f"tasks: {self.tasks(upload)}"]
        parts += [self._describe(execution) for execution in self.executions().get(upload, [])]
        if row and row.get("report_key") in (keys := self.keys("errors/")):
            parts.append(f"reports: {keys}")
        return "\n".join([*parts, self._log_tail(upload.version_id)])

    def _describe(self, execution: Json) -> str:
        events = []
        for event in self.history(execution):
            details = [value for name, value in event.items() if name.endswith("EventDetails")]
            if "Failed" in event["type"] or event["type"].endswith("StateEntered"):
                events.append(f"  {event['type']} {str(details)[:400]}")
        return "\n".join([f"execution {execution['name']}: {execution['status']}", *events])

    def _log_tail(self, about: str = "") -> str:
        lines = [
            f"{function} {line[:600]}" for function in FUNCTIONS for line in self.cloud.logs(function).splitlines()
        ]
        chosen = [line for line in lines if about in line] or lines
        return "\n".join(["log:", *chosen[-LOG_LINES:]])


def _unique(body: bytes) -> bytes:
    return body + uuid.uuid4().bytes if body.startswith((b"\xff\xd8", b"\x89PNG", b"RIFF")) else body


def _has_ended(row: Json | None, executions: list[Json]) -> bool:
    return bool(row and row.get("finished_at") and executions) and all(one["status"] != "RUNNING" for one in executions)


class EventRecorder:
    """A rule on the event bus with a queue as its target; `received` has the events so far."""

    def __init__(self, pipeline: Pipeline, name: str, pattern: Json) -> None:
        self._pipeline = pipeline
        self.received: list[Json] = []
        aws = pipeline.aws
        rule = aws("events", "put-rule", "--name", name, "--event-pattern", json.dumps(pattern))["RuleArn"]
        queue = rule.replace(":events:", ":sqs:").replace(":rule/", ":")
        policy = {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"Service": "events.amazonaws.com"},
                    "Action": "sqs:SendMessage",
                    "Resource": queue,
                    "Condition": {"ArnEquals": {"aws:SourceArn": rule}},
                }
            ],
        }
        attributes = json.dumps({"Policy": json.dumps(policy)})
        self._url = aws("sqs", "create-queue", "--queue-name", name, "--attributes", attributes)["QueueUrl"]
        aws("events", "put-targets", "--rule", name, "--targets", f"Id=queue,Arn={queue}")

    def about(self, upload: Upload, kind: str) -> list[Json]:
        """Events of a kind (a detail-type) about an upload, so far."""
        self._receive()
        return [one for one in self.received if one["detail-type"] == kind and _subject(one["detail"]) == upload]

    def repeat(self, upload: Upload, times: int) -> None:
        """Sends copies of an upload's event to the upload queue, as SQS and EventBridge may do."""
        (created,) = self.about(upload, "Object Created")
        entries = [{"Id": str(place), "MessageBody": json.dumps(created)} for place in range(times)]
        queue = self._pipeline.outputs["UploadQueueUrl"]
        sent = self._pipeline.aws("sqs", "send-message-batch", "--queue-url", queue, "--entries", json.dumps(entries))
        assert len(sent["Successful"]) == times

    def _receive(self) -> None:
        sqs = self._pipeline.cloud.client("sqs")
        while messages := sqs.receive_message(QueueUrl=self._url, MaxNumberOfMessages=10).get("Messages"):
            self.received += [json.loads(message["Body"]) for message in messages]
            handles = [{"Id": one["MessageId"], "ReceiptHandle": one["ReceiptHandle"]} for one in messages]
            sqs.delete_message_batch(QueueUrl=self._url, Entries=handles)


def _subject(detail: Json) -> Upload:
    if "upload" in detail:
        return Upload(detail["upload"]["key"], detail["upload"]["version_id"])
    return Upload(detail["object"]["key"], detail["object"]["version-id"])
