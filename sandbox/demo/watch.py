"""Where each upload is: read from the ledger, and from the enhancer for those with a task."""

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
class Sight:
    """One upload at one moment.

    `state` is the ledger's status. While that says `submitted`, it is `enhancing`, `task ended` until the workflow
    looks, then `delivering`; between an upload's last word and its report, `reporting`. `percent` is how far the
    task is.
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


class Watch:
    """Looks at the uploads of a running sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._outputs = sandbox.cloud.outputs
        self._tasks_url = f"{sandbox.enhancer}/_sandbox/tasks"
        self._dynamodb = sandbox.cloud.client("dynamodb")
        self._stepfunctions = sandbox.cloud.client("stepfunctions")
        self._version_ids: dict[str, str] = {}  # by execution

    def look(self) -> list[Sight]:
        """Every upload in the ledger, as it is now."""
        rows = self._rows()
        tasks = self._task_statuses() if rows else {}
        return [self._sight(row, tasks.get(str(row.get("task_id")), "")) for row in rows]

    def polls(self) -> Counter[str]:
        """How often the workflow has asked for an upload's task, by the upload's version id."""
        self._find_executions()
        found: Counter[str] = Counter()
        for execution, version_id in self._version_ids.items():
            found[version_id] += self._states_entered(execution).count("CheckStatus")
        return found

    def _rows(self) -> list[Row]:
        read = TypeDeserializer().deserialize
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._outputs["LedgerTableName"], ConsistentRead=True
        )
        items = ({name: read(value) for name, value in item.items()} for page in pages for item in page["Items"])
        return [row for row in items if "status" in row]  # the others count the day's tasks

    def _task_statuses(self) -> dict[str, str]:
        answer = requests.get(self._tasks_url, timeout=SECONDS_TO_ANSWER)
        answer.raise_for_status()
        return {task["id"]: task["status"] for task in answer.json()}

    def _sight(self, row: Row, task_status: str) -> Sight:
        state, percent = str(row["status"]), 0
        if state in FINAL and "finished_at" not in row:
            state = "reporting"
        elif (state, task_status) == ("submitted", "processing"):
            state, percent = "enhancing", _percent(row)
        elif state == "submitted" and task_status in TASK_ENDED:
            state = "delivering" if self._is_delivering(str(row["version_id"])) else "task ended"
        return Sight(str(row["key"]), str(row["version_id"]), state, percent, row)

    def _is_delivering(self, version_id: str) -> bool:
        if version_id not in self._version_ids.values():
            self._find_executions()
        executions = [execution for execution, of in self._version_ids.items() if of == version_id]
        return any("Deliver" in self._states_entered(execution) for execution in executions)

    def _find_executions(self) -> None:
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._outputs["WorkflowArn"]
        )
        for execution in (one["executionArn"] for page in pages for one in page["executions"]):
            if execution not in self._version_ids:
                started = self._stepfunctions.describe_execution(executionArn=execution)
                # One that reports another's early end was not started with an upload.
                upload = json.loads(started["input"]).get("upload", {})
                self._version_ids[execution] = upload.get("version_id", "")

    def _states_entered(self, execution: str) -> list[str]:
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = (event for page in pages for event in page["events"])
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def _percent(row: Row) -> int:
    """By the enhancer's estimate; never 100, since the estimate is only that."""
    passed = time.time() - float(row["submitted_at"])
    return max(0, min(95, round(100 * passed / float(row.get("estimated_seconds") or 1))))
