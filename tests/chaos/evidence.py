"""What a run leaves behind: the buckets, the ledger, the dead-letter queue, and the enhancer's lists."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

import pyvips
from boto3.dynamodb.types import TypeDeserializer

from tests.chaos.run import Run

Json = dict[str, Any]

_REPORTS = "errors/"


@dataclass(frozen=True)
class Output:
    """An object version of the output bucket that is not a report.

    `decodes` is true for a complete image. `newer` is the number of versions of its key that were written later.
    """

    key: str
    version_id: str
    source_version_id: str
    newer: int
    decodes: bool


@dataclass
class Evidence:
    """All observations, by the version id of the upload.

    `rows` and `days` are the ledger's rows and daily counters. `dead` has one version id per dead-letter message.
    `reports` has those that were not removed. `executions` has the attempt number of each execution that `submit`
    started. `texts` has all texts that could contain a secret, by their location.
    """

    rows: dict[str, Json] = field(default_factory=dict)
    days: dict[str, int] = field(default_factory=dict)
    outputs: dict[str, list[Output]] = field(default_factory=lambda: defaultdict(list))
    reports: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    tasks: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    submits: dict[str, list[Json]] = field(default_factory=lambda: defaultdict(list))
    used: int = 0
    dead: list[str] = field(default_factory=list)
    executions: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    texts: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))


def collect(run: Run, dead: list[Json]) -> Evidence:
    """Reads all locations. `dead` are the messages from the dead-letter queue."""
    evidence = Evidence(dead=[_version_id(message) for message in dead])
    _read_ledger(run, evidence)
    _read_outputs(run, evidence)
    _read_histories(run, evidence)
    for task in run.enhancer("tasks"):
        evidence.tasks[task["version_id"]].append(task)
    for submit in run.enhancer("submits"):
        evidence.submits[submit["version_id"]].append(submit)
    evidence.used = run.enhancer("account")["used"]
    evidence.texts["log"] = (run.running.logs / "functions.log").read_text().splitlines()
    evidence.texts["queue message"] = [*run.faults.messages, *(message["Body"] for message in dead)]
    return evidence


def receive_dead_letters(run: Run) -> list[Json]:
    """Receives and deletes all messages of the dead-letter queue."""
    sqs, url = run.client("sqs"), run.outputs["DeadLetterQueueUrl"]
    found: list[Json] = []
    while messages := sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages"):
        found += messages
        for message in messages:
            sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])
    return found


def _version_id(message: Json) -> str:
    return str(json.loads(message["Body"])["detail"]["object"]["version-id"])


def _read_ledger(run: Run, evidence: Evidence) -> None:
    read = TypeDeserializer().deserialize
    pages = run.client("dynamodb").get_paginator("scan").paginate(TableName=run.outputs["LedgerTableName"])
    for item in (item for page in pages for item in page["Items"]):
        row = {name: read(value) for name, value in item.items()}
        evidence.texts["ledger row"].append(str(row))
        if row["pk"].startswith("day#"):
            evidence.days[row["pk"]] = int(row["tasks"])
        elif not row["pk"].startswith(("rate_limit", "requeue#", "photo#", "copy#")):
            evidence.rows[row["sk"]] = row


def _read_outputs(run: Run, evidence: Evidence) -> None:
    s3, bucket = run.client("s3"), run.outputs["OutputBucketName"]
    pages = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
    newer: Counter[str] = Counter()
    for version in (version for page in pages for version in page.get("Versions", [])):
        found = s3.get_object(Bucket=bucket, Key=version["Key"], VersionId=version["VersionId"])
        body = found["Body"].read()
        if version["Key"].startswith(_REPORTS):
            if version["IsLatest"]:
                report = json.loads(body)
                evidence.reports[report["upload"]["version_id"]].append(report)
            evidence.texts["report"].append(body.decode())
            continue
        source = found["Metadata"].get("source-version-id", "")
        # S3 lists the versions of a key from the newest to the oldest.
        output = Output(version["Key"], version["VersionId"], source, newer[version["Key"]], _decodes(body))
        newer[version["Key"]] += 1
        evidence.outputs[source].append(output)
        evidence.texts["metadata"].append(str(found["Metadata"]))


def _decodes(body: bytes) -> bool:
    try:
        pyvips.Image.new_from_buffer(body, "", fail_on="truncated").avg()
    except pyvips.Error:
        return False
    return True


def _read_histories(run: Run, evidence: Evidence) -> None:
    states = run.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=run.outputs["WorkflowArn"])
    for execution in (execution for page in pages for execution in page["executions"]):
        pages_of = states.get_paginator("get_execution_history").paginate(executionArn=execution["executionArn"])
        histories = [page["events"] for page in pages_of]
        evidence.texts["workflow history"] += map(str, histories)
        execution_input = json.loads(histories[0][0]["executionStartedEventDetails"]["input"])
        if "upload" in execution_input:
            evidence.executions[execution_input["upload"]["version_id"]].append(execution_input["attempt"])
