"""`lumendrop fetch KEY`: fetches a result that is already paid for."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from lumendrop_cli import event_source, ledger, statuses, upload_queue
from lumendrop_cli.errors import CliError, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import printer
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.workflow import execution_arn, running_executions


def fetch(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key whose newest version failed.")],
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="Fetch this version of the key instead.")] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait for the result.")] = 600,
) -> None:
    """Fetch the result of a failed upload without paying again.

    For uploads whose workflow timed out, was stopped, failed, or never started. The enhancer keeps a task's result for
    24 hours.
    """
    stack, out = load_stack(context), printer(context)
    row = _paid_row(stack, key, version_id)
    if running := next(running_executions(stack, [row]), None):
        raise CliError(
            f"The upload's workflow is still running: {running}. `lumendrop status` shows its progress.",
            data={"key": key, "execution": running},
        )
    with out.progress("Running the workflow again with the same task …"):
        execution = _start(stack, row)
        data = {"key": key, "execution": execution}
        shows = "`lumendrop status KEY` shows its progress."
        with on_interrupt(f"The workflow of {key} continues: {execution}. {shows}", data):
            ended = poll_until(lambda: _ended_execution(stack, execution), timeout)
    if ended is None:
        raise CliError(f"The workflow is still running after {timeout} seconds: {execution}. {shows}", data=data)
    now = ledger.row_of(stack, key, row["version_id"]) or row
    if now["status"] != statuses.ENHANCED:
        cause = now.get("outcome", {}).get("message", ended["status"])
        raise CliError(f"The upload ended as {now['status']}: {cause}", data={**data, "row": now})
    photo = f"s3://{now['output']['bucket']}/{now['output']['key']}"
    out.result({"photo": photo, "execution": execution, "row": now}, [f"Fetched without paying again: {photo}"])


def _paid_row(stack: Stack, key: str, version_id: str | None) -> Row:
    row = ledger.newest_row(stack, key, version_id)
    if row["status"] not in statuses.FETCHABLE or not row.get("task_id"):
        raise CliError(
            f"The upload is {row['status']}. Only uploads that failed after their task was created can be fetched."
        )
    return row


def _start(stack: Stack, row: Row) -> str:
    """Starts the workflow with the input of the upload's first execution, and returns the new execution's ARN."""
    states, first = stack.client("stepfunctions"), execution_arn(stack, row)
    try:
        start = states.describe_execution(executionArn=first)["input"]
    except states.exceptions.ExecutionDoesNotExist:
        _send(stack, row)
        return first
    execution: str = states.start_execution(stateMachineArn=stack.output("WorkflowArn"), input=start)["executionArn"]
    return execution


def _send(stack: Stack, row: Row) -> None:
    """Sends the upload to submit, which starts the missing workflow of a paid task and pays for nothing."""
    if row["status"] != statuses.SUBMITTED:
        raise CliError("AWS no longer has the upload's execution, so its result is gone too. It lives 24 hours.")
    if event_source.state(stack) != event_source.ENABLED:
        raise CliError("The upload's workflow never started, and submit starts it. First run `lumendrop resume`.")
    message = upload_queue.upload_message(row, send_again=False)
    stack.client("sqs").send_message(QueueUrl=stack.output("UploadQueueUrl"), **message)


def _ended_execution(stack: Stack, execution: str) -> dict[str, Any] | None:
    states = stack.client("stepfunctions")
    try:
        described: dict[str, Any] = states.describe_execution(executionArn=execution)
    except states.exceptions.ExecutionDoesNotExist:
        return None
    return None if described["status"] == "RUNNING" else described
