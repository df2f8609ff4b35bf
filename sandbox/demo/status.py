"""The status of each upload while it is processed, read from the ledger and the workflow.

`lumendrop status` reads one upload for its owner. This reads all of them at once, several times a second.
"""

import json
from collections import Counter
from dataclasses import dataclass

from boto3.dynamodb.types import TypeDeserializer

from lumendrop_cli.ledger import Row, is_finished
from lumendrop_cli.statuses import FINAL, SUBMITTED
from sandbox.demo.start import Sandbox


@dataclass(frozen=True)
class UploadStatus:
    """One upload at one moment.

    `state` is the ledger's status, with two exceptions: `enhancing` for `submitted`, and `reporting` between the final
    status and the report.
    """

    key: str
    version_id: str
    state: str
    row: Row

    @property
    def is_final(self) -> bool:
        return self.state in FINAL

    @property
    def reason(self) -> str:
        """Why there is no enhanced photo and what to do, as in the report; empty if there is one."""
        outcome = self.row.get("outcome") or {}
        return " ".join(text for text in (outcome.get("message"), outcome.get("advice")) if text)


class StatusReader:
    """Reads the status of the uploads in a running sandbox."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._outputs = sandbox.cloud.outputs
        self._dynamodb = sandbox.cloud.client("dynamodb")
        self._stepfunctions = sandbox.cloud.client("stepfunctions")

    def read(self) -> list[UploadStatus]:
        """The current status of every upload in the ledger."""
        return [_status(row) for row in self._rows()]

    def polls(self) -> Counter[str]:
        """How often the workflow has polled each upload's task, by the upload's version ID."""
        found: Counter[str] = Counter()
        pages = self._stepfunctions.get_paginator("list_executions").paginate(
            stateMachineArn=self._outputs["WorkflowArn"]
        )
        for execution in (one["executionArn"] for page in pages for one in page["executions"]):
            description = self._stepfunctions.describe_execution(executionArn=execution)
            # The input of an execution that reports another's failure has no upload.
            upload = json.loads(description["input"]).get("upload", {})
            found[upload.get("version_id", "")] += self._states_entered(execution).count("CheckStatus")
        return found

    def _rows(self) -> list[Row]:
        deserialize = TypeDeserializer().deserialize
        pages = self._dynamodb.get_paginator("scan").paginate(
            TableName=self._outputs["LedgerTableName"], ConsistentRead=True
        )
        items = ({name: deserialize(value) for name, value in item.items()} for page in pages for item in page["Items"])
        return [row for row in items if "status" in row]  # other rows are counters

    def _states_entered(self, execution: str) -> list[str]:
        pages = self._stepfunctions.get_paginator("get_execution_history").paginate(executionArn=execution)
        events = (event for page in pages for event in page["events"])
        return [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]


def _status(row: Row) -> UploadStatus:
    state = str(row["status"])
    if state in FINAL and not is_finished(row):
        state = "reporting"
    elif state == SUBMITTED:
        state = "enhancing"
    return UploadStatus(str(row["key"]), str(row["version_id"]), state, row)
