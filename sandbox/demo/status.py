"""The status of each upload, read from the ledger, the enhancer, and the workflow."""

import json
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import requests
from boto3.dynamodb.types import TypeDeserializer

from sandbox.demo.start import Sandbox

FINAL = frozenset({"enhanced", "rejected", "failed", "superseded", "unknown"})
TASK_ENDED = frozenset({"completed", "failed", "cancelled"})
SECONDS_TO_ANSWER = 10

Row = Mapping[str, Any]


@dataclass(frozen=True)
class UploadStatus:
    """One upload at one moment.

    `state` is the ledger's status, with these exceptions. For `submitted` it is `enhancing` while the task runs,
    `task ended` until the workflow polls the task, then `delivering`. It is `reporting` between the final status and
    the report. `percent` is the progress of the task.
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
        """The options of the task; empty for an upload that was not submitted."""
        options: dict[str, Any] = json.loads(self.row.get("options") or "{}")
        return options

    @property
    def reason(self) -> str:
        """Why there is no enhanced photo and what to do, as in the report; empty if there is one."""
        outcome = self.row.get("outcome") or {}
        return " ".join(text for text in (outcome.get("message"), outcome.get("advice")) if text)


class StatusReader:
    """Reads the status of the uploads in a running sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._outputs = sandbox.cloud.outputs
        self._tasks_url = f"{sandbox.enhancer}/_sandbox/tasks"
        self._dynamodb = sandbox.cloud.client("dynamodb")
        self._stepfunctions = sandbox.cloud.client("stepfunctions")
        self._version_ids: dict[str, str] = {}  # by execution
        self._delivering: set[str] = set()  # version IDs

    def read(self) -> list[UploadStatus]:
        """The current status of every upload in the ledger."""
        rows = self._rows()
        tasks = self._task_statuses() if rows else {}
        return [self._status(row, tasks.get(str(row.get("task_id")), "")) for row in rows]

    def polls(self) -> Counter[str]:
        """How often the workflow has polled each upload's task, by the upload's version ID."""
        self._find_executions()
        found: Counter[str] = Counter()
        for execution, version_id in self._version_ids.items():
            found[version_id] += self._states_entered(execution).count("CheckStatus")
        return found

    def _rows(self) -> list[Row]:
        deserialize = TypeDeserializer().deserialize
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._outputs["LedgerTableName"], ConsistentRead=True
        )
        items = ({name: deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"])
        return [row for row in items if "status" in row]  # other rows are counters

    def _task_statuses(self) -> dict[str, str]:
        answer = requests.get(self._tasks_url, timeout=SECONDS_TO_ANSWER)
        answer.raise_for_status()
        return {task["id"]: task["status"] for task in answer.json()}

    def _status(self, row: Row, task_status: str) -> UploadStatus:
        state, percent = str(row["status"]), 0
        if state in FINAL and "finished_at" not in row:
            state = "reporting"
        elif (state, task_status) == ("submitted", "processing"):
            state, percent = "enhancing", _percent(row)
        elif state == "submitted" and task_status in TASK_ENDED:
            state = "delivering" if self._is_delivering(str(row["version_id"])) else "task ended"
        return UploadStatus(str(row["key"]), str(row["version_id"]), state, percent, row)

    def _is_delivering(self, version_id: str) -> bool:
        if version_id in self._delivering:
            return True
        if version_id not in self._version_ids.values():
            self._find_executions()
        executions = [execution for execution, its_id in self._version_ids.items() if its_id == version_id]
        if any("Deliver" in self._states_entered(execution) for execution in executions):
            self._delivering.add(version_id)
        return version_id in self._delivering

    def _find_executions(self) -> None:
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._outputs["WorkflowArn"]
        )
        for execution in (one["executionArn"] for page in pages for one in page["executions"]):
            if execution not in self._version_ids:
                description = self._stepfunctions.describe_execution(executionArn=execution)
                # The input of an execution that reports another's failure has no upload.
                upload = json.loads(description["input"]).get("upload", {})
                self._version_ids[execution] = upload.get("version_id", "")

    def _states_entered(self, execution: str) -> list[str]:
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = (event for page in pages for event in page["events"])
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def _percent(row: Row) -> int:
    """The progress by the enhancer's estimate; at most 95, because tasks can take longer than estimated."""
    elapsed = time.time() - float(row["submitted_at"])
    return max(0, min(95, round(100 * elapsed / float(row.get("estimated_seconds") or 1))))
