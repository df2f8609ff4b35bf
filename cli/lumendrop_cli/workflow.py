"""The executions of the workflow: one per upload and attempt, and those that `lumendrop fetch` starts."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from typing import Any

from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack

# What submit names its executions, see execution_arn.
_BY_SUBMIT = re.compile(r"-([0-9a-f]{32})-[0-9]+$")


def execution_arn(stack: Stack, row: Row) -> str:
    """The execution that submit starts for a row's present attempt; named as in layers/lumendrop/workflow.py."""
    tail = re.sub(r"[^A-Za-z0-9]+", "-", row["key"])[-30:].strip("-")
    name = f"{tail or 'upload'}-{correlation_id(row)}-{row['attempt']}"
    return f"{stack.output('WorkflowArn').replace(':stateMachine:', ':execution:')}:{name}"


def running(stack: Stack, rows: list[Row] | None = None) -> Iterator[str]:
    """The ARNs of all running executions that wait for a task or report an outcome; those of these rows only, if given.

    Not those that ExecutionFailureRule starts: each writes the last word about an execution that has ended.
    """
    ours = None if rows is None else {correlation_id(row) for row in rows}
    pages = stack.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.output("WorkflowArn"), statusFilter="RUNNING"):
        for one in page["executions"]:
            upload = _upload_of(stack, one)
            if upload is not None and (ours is None or upload in ours):
                yield one["executionArn"]


def _upload_of(stack: Stack, execution: dict[str, Any]) -> str | None:
    """An execution's correlation id, from its name if submit chose it, else from its input; None if it has none."""
    if named := _BY_SUBMIT.search(execution["name"]):
        return named[1]
    described = stack.client("stepfunctions").describe_execution(executionArn=execution["executionArn"])
    given = json.loads(described["input"])
    return given.get("correlation_id") if isinstance(given, dict) else None


def correlation_id(row: Row) -> str:
    """What an upload is called in all logs; made as in layers/lumendrop/uploads.py."""
    return hashlib.sha256("\0".join([row["bucket"], row["key"], row["version_id"]]).encode()).hexdigest()[:32]
