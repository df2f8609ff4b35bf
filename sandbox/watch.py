"""Where each upload is: read from the ledger, and from the enhancer for those with a task."""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from boto3.dynamodb.types import TypeDeserializer

from sandbox.start import Sandbox

FINAL = frozenset({"enhanced", "rejected", "failed", "superseded", "unknown"})
SECONDS_TO_ANSWER = 10

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Sight:
    """One upload at one moment.

    `state` is the ledger's status; `enhancing` and `delivering` are what happens while that says `submitted`,
    `reporting` is what comes between an upload's last word and its report. `percent` is the enhancer's figure.
    """

    key: str
    version_id: str
    state: str
    percent: int
    row: Row

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def options(self) -> dict[str, Any]:
        """What the enhancer was asked for; empty for an upload that was not submitted."""
        options: dict[str, Any] = json.loads(self.row.get("options") or "{}")
        return options

    @property
    def reason(self) -> str:
        """Why there is no enhanced photo and what to do, as the report has it; empty if there is one."""
        outcome = self.row.get("outcome") or {}
        return " ".join(text for text in (outcome.get("message"), outcome.get("advice")) if text)


def look(sandbox: Sandbox) -> list[Sight]:
    """Every upload in the ledger, as it is now."""
    rows = _rows(sandbox)
    tasks = _tasks(sandbox) if rows else {}
    return [_sight(row, tasks) for row in rows]


def _rows(sandbox: Sandbox) -> list[Row]:
    read = TypeDeserializer().deserialize
    pages = (
        sandbox.cloud.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=sandbox.cloud.outputs["LedgerTableName"], ConsistentRead=True)
    )
    items = ({name: read(value) for name, value in item.items()} for page in pages for item in page["Items"])
    return [row for row in items if "status" in row]  # the others count the day's tasks


def _tasks(sandbox: Sandbox) -> dict[str, dict[str, Any]]:
    answer = requests.get(f"{sandbox.enhancer}/_sandbox/tasks", timeout=SECONDS_TO_ANSWER)
    answer.raise_for_status()
    return {task["id"]: task for task in answer.json()}


def _sight(row: Row, tasks: Mapping[str, dict[str, Any]]) -> Sight:
    state, percent = _state(row, tasks.get(str(row.get("task_id")), {}))
    return Sight(str(row["key"]), str(row["version_id"]), state, percent, row)


def _state(row: Row, task: Mapping[str, Any]) -> tuple[str, int]:
    status = str(row["status"])
    if status in FINAL and "finished_at" not in row:
        return "reporting", 0
    match status, task.get("status"):
        case "submitted", "processing":
            return "enhancing", int(task.get("progress", 0))
        case "submitted", "completed":
            return "delivering", 0
    return status, 0


def polls(sandbox: Sandbox) -> Counter[str]:
    """How often the workflow has asked for an upload's task, by the upload's version id."""
    client = sandbox.cloud.client("stepfunctions")
    found: Counter[str] = Counter()
    pages = client.get_paginator("list_executions").paginate(stateMachineArn=sandbox.cloud.outputs["WorkflowArn"])
    for execution in (one for page in pages for one in page["executions"]):
        events = client.get_execution_history(executionArn=execution["executionArn"])["events"]
        entered = [event.get("stateEnteredEventDetails", {}).get("name") for event in events]
        upload = json.loads(events[0]["executionStartedEventDetails"]["input"])["upload"]
        found[upload["version_id"]] += entered.count("CheckStatus")
    return found
