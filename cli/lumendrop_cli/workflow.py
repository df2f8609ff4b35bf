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
_NAMED_BY_SUBMIT = re.compile(r"-([0-9a-f]{32})-[0-9]+(?:-ended|-late|-recovered)?$")


def execution_arn(stack: Stack, row: Row) -> str:
    """The execution that submit starts for a row's current attempt. layers/lumendrop/workflow.py has the same rule."""
    tail = re.sub(r"[^A-Za-z0-9]+", "-", row["key"])[-30:].strip("-")
    name = f"{tail or 'upload'}-{correlation_id(row)}-{row['attempt']}{'-recovered' if row.get('recovered') else ''}"
    return f"{stack.output('WorkflowArn').replace(':stateMachine:', ':execution:')}:{name}"


def running_executions(stack: Stack, rows: list[Row] | None = None) -> Iterator[str]:
    """The ARNs of the running executions that wait for a task or report an outcome; only those of `rows`, if given.

    Leaves out those that ExecutionFailureRule starts. They only record the outcome of an execution that ended early.
    """
    wanted = None if rows is None else {correlation_id(row) for row in rows}
    return (arn for upload, arn in _running(stack) if wanted is None or upload in wanted)


def execution_of_each(stack: Stack) -> dict[str, str]:
    """The running execution of each upload that has one, by the upload's correlation ID."""
    return dict(_running(stack))


def running_backfills(stack: Stack) -> list[str]:
    """The ARNs of the running backfills."""
    return [one["executionArn"] for one in _list_running(stack, stack.output("BackfillWorkflowArn"))]


def _running(stack: Stack) -> Iterator[tuple[str, str]]:
    for execution in _list_running(stack, stack.output("WorkflowArn")):
        upload = _correlation_id_of(stack, execution)
        if upload is not None:
            yield upload, execution["executionArn"]


def _list_running(stack: Stack, state_machine: str) -> Iterator[dict[str, Any]]:
    states = stack.client("stepfunctions")
    pages = states.get_paginator("list_executions").paginate(stateMachineArn=state_machine, statusFilter="RUNNING")
    try:
        for page in pages:
            yield from page["executions"]
    except states.exceptions.StateMachineDoesNotExist:
        return  # the stack is partly deleted


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
