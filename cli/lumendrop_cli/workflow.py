"""The executions of the workflow: one per upload and attempt, and those that `lumendrop fetch` starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack

# The end of the names that submit chooses; see execution_arn.
_NAMED_BY_SUBMIT = re.compile(r"-([0-9a-f]{32})-[0-9]+$")


def execution_arn(stack: Stack, row: Row) -> str:
    """The execution that submit starts for a row's current attempt. layers/lumendrop/workflow.py has the same rule."""
    tail = re.sub(r"[^A-Za-z0-9]+", "-", row["key"])[-30:].strip("-")
    name = f"{tail or 'upload'}-{correlation_id(row)}-{row['attempt']}"
    return f"{stack.output('WorkflowArn').replace(':stateMachine:', ':execution:')}:{name}"


def running_executions(stack: Stack, rows: list[Row] | None = None) -> Iterator[str]:
    """The ARNs of the running executions that wait for a task or report an outcome; only those of `rows`, if given.

    Leaves out those that ExecutionFailureRule starts. They only record the outcome of an execution that ended early.
    """
    wanted = None if rows is None else {correlation_id(row) for row in rows}
    pages = stack.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.output("WorkflowArn"), statusFilter="RUNNING"):
        for execution in page["executions"]:
            upload = _correlation_id_of(stack, execution)
            if upload is not None and (wanted is None or upload in wanted):
                yield execution["executionArn"]


def _correlation_id_of(stack: Stack, execution: dict[str, Any]) -> str | None:
    """From the execution's name if submit chose it, otherwise from its input. None if it has none."""
    if match := _NAMED_BY_SUBMIT.search(execution["name"]):
        return match[1]
    described = stack.client("stepfunctions").describe_execution(executionArn=execution["executionArn"])
    given = json.loads(described["input"])
    return given.get("correlation_id") if isinstance(given, dict) else None


def correlation_id(row: Row) -> str:
    """The upload's ID in all logs. layers/lumendrop/uploads.py has the same rule."""
    return hashlib.sha256("\0".join([row["bucket"], row["key"], row["version_id"]]).encode()).hexdigest()[:32]
