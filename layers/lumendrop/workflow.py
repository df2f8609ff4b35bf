"""Starts an upload's workflow: one execution for each upload and attempt, however often it is started."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import msgspec

from lumendrop.ledger import Row
from lumendrop.polling import Poll, Task, first_wait
from lumendrop.reports import report_key

if TYPE_CHECKING:
    from mypy_boto3_stepfunctions import SFNClient

_NAME_TAIL = 30


def execution_name(row: Row, now: float) -> str:
    """The same for the same upload and attempt, so that a second start has no effect.

    The end of the key is for people; the correlation ID makes the name unique. A name can be used only once, so an
    attempt that already had an execution gets another name. So does one that nothing has ended although its deadline
    is long over at `now`, in seconds since the epoch: EventBridge delivers an event about the end of an execution only
    as far as it can. At most 80 letters, digits, hyphens, and underscores.
    """
    tail = re.sub(r"[^A-Za-z0-9]+", "-", row.upload.key)[-_NAME_TAIL:].strip("-")
    again = (
        "-late"
        if row.is_overdue(now)
        else "-ended"
        if row.status == "failed"
        else "-recovered"
        if row.recovered
        else ""
    )
    return f"{tail or 'upload'}-{row.upload.correlation_id}-{row.attempt}{again}"


def execution_input(row: Row) -> dict[str, Any]:
    """The workflow's input, from the ledger's row alone: a task to wait for, an outcome to report, or a reused photo.

    It contains no links.
    """
    task = None
    if row.task_id and row.submitted_at and row.deadline:
        task = Task(row.task_id, row.submitted_at, row.deadline, row.estimated_seconds)
    is_reused = row.status == "enhanced" and row.same_as
    return {
        "correlation_id": row.upload.correlation_id,
        "upload": msgspec.to_builtins(row.upload),
        "row": {"pk": row.pk, "sk": row.sk},
        "attempt": row.attempt,
        "options": msgspec.json.decode(row.options or "{}"),
        "task": msgspec.to_builtins(task),
        "poll": msgspec.to_builtins(Poll(wait_seconds=first_wait(row.estimated_seconds))),
        "outcome": msgspec.to_builtins(row.outcome),
        "report_key": report_key(row.upload.key),
    } | ({"delivery": {"output": row.output, "same_as": row.same_as, "task_id": row.task_id}} if is_reused else {})


def start(client: SFNClient, workflow_arn: str, row: Row, now: float) -> None:
    """Starts the workflow of a row, unless it is running or has already ended."""
    try:
        client.start_execution(
            stateMachineArn=workflow_arn,
            name=execution_name(row, now),
            input=msgspec.json.encode(execution_input(row)).decode(),
        )
    except client.exceptions.ExecutionAlreadyExists:
        return
