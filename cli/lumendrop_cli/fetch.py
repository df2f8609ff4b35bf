"""`lumendrop fetch KEY`: fetches a result that is already paid for."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from lumendrop_cli import ledger, statuses
from lumendrop_cli.errors import CliError
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

    For uploads whose workflow timed out, was stopped, or failed. The enhancer keeps a task's result for 24 hours.
    """
    stack, out = load_stack(context), printer(context)
    row = _paid_row(stack, key, version_id)
    states = stack.client("stepfunctions")
    if running := next(running_executions(stack, [row]), None):
        raise CliError(f"The upload's workflow is still running: {running}. `lumendrop status` shows its progress.")
    with out.progress("Running the workflow again with the same task …"):
        start = states.describe_execution(executionArn=execution_arn(stack, row))["input"]
        execution = states.start_execution(stateMachineArn=stack.output("WorkflowArn"), input=start)["executionArn"]
        ended = poll_until(lambda: _ended_execution(stack, execution), timeout)
    if ended is None:
        raise CliError(
            f"The workflow is still running after {timeout} seconds: {execution}. `lumendrop status` shows progress."
        )
    now = ledger.row_of(stack, key, row["version_id"]) or row
    if now["status"] != statuses.ENHANCED:
        raise CliError(f"The upload ended as {now['status']}: {now.get('outcome', {}).get('message', ended['status'])}")
    photo = f"s3://{now['output']['bucket']}/{now['output']['key']}"
    out.result({"photo": photo, "execution": execution, "row": now}, [f"Fetched without paying again: {escape(photo)}"])


def _paid_row(stack: Stack, key: str, version_id: str | None) -> Row:
    row = ledger.newest_row(stack, key, version_id)
    if row["status"] not in statuses.FETCHABLE or not row.get("task_id"):
        raise CliError(
            f"The upload is {row['status']}. Only uploads that failed after their task was created can be fetched."
        )
    return row


def _ended_execution(stack: Stack, execution: str) -> dict[str, Any] | None:
    described: dict[str, Any] = stack.client("stepfunctions").describe_execution(executionArn=execution)
    return None if described["status"] == "RUNNING" else described
