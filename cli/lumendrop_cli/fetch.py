"""`lumendrop fetch KEY`: fetches a result that was paid for already."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.markup import escape

from lumendrop_cli import ledger
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import Trouble
from lumendrop_cli.waiting import until
from lumendrop_cli.workflow import execution_arn, running


def fetch(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key whose newest version failed.")],
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="This version of the key instead.")] = None,
    timeout: Annotated[int, typer.Option(min=1, help="Seconds to wait for it.")] = 600,
) -> None:
    """Fetch the result of a failed upload without paying again.

    For uploads whose workflow gave up, was stopped or broke: the result of a task lives 24 hours at the enhancer.
    """
    stack, out = find(context), output(context)
    row = _paid_for(stack, key, version_id)
    states = stack.client("stepfunctions")
    if runs := next(running(stack, [row]), None):
        raise Trouble(f"Its workflow still runs: {runs}. `lumendrop status` tells how it is.")
    with out.working("The workflow runs once more, with the same task …"):
        start = states.describe_execution(executionArn=execution_arn(stack, row))["input"]
        execution = states.start_execution(stateMachineArn=stack.output("WorkflowArn"), input=start)["executionArn"]
        ended = until(lambda: _end(stack, execution), timeout)
    if ended is None:
        raise Trouble(f"It still runs after {timeout} seconds, and goes on: {execution}. `lumendrop status` tells.")
    now = ledger.of_version(stack, key, row["version_id"]) or row
    if now["status"] != "enhanced":
        raise Trouble(f"It ended as {now['status']}: {now.get('outcome', {}).get('message', ended['status'])}")
    photo = f"s3://{now['output']['bucket']}/{now['output']['key']}"
    out.result(
        {"photo": photo, "execution": execution, "row": now}, [f"Fetched, without paying again: {escape(photo)}"]
    )


def _paid_for(stack: Stack, key: str, version_id: str | None) -> Row:
    rows = [row for row in ledger.of_key(stack, key) if version_id in (None, row["version_id"])]
    if not rows:
        raise Trouble(f"The ledger has no such upload of {key!r}. `lumendrop status` says what it has.")
    row = rows[0]
    # Submitted it still is if its execution ended and nobody could say so.
    if row["status"] not in ("failed", "submitted") or not row.get("task_id"):
        raise Trouble(f"The upload is {row['status']}; only one that failed after its task was created has a result.")
    return row


def _end(stack: Stack, execution: str) -> dict[str, Any] | None:
    found: dict[str, Any] = stack.client("stepfunctions").describe_execution(executionArn=execution)
    return None if found["status"] == "RUNNING" else found
