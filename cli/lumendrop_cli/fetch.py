"""`lumendrop fetch KEY`: fetches a result that is already paid for."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

import typer

from lumendrop_cli import event_source, ledger, selection, statuses, upload_queue
from lumendrop_cli.errors import FAILURE, CliError, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import Printer, Progress, printer
from lumendrop_cli.selection import DryRunOption, PrefixOption, SinceOption, StatusOption, TimeoutOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.workflow import correlation_id, execution_arn, execution_of_each, running_executions

_SHOWS = "`lumendrop status KEY` shows its progress."


def fetch(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="The key whose newest version failed.")] = None,
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="Fetch this version of the key instead.")] = None,
    status: StatusOption = None,
    since: SinceOption = None,
    prefix: PrefixOption = None,
    timeout: TimeoutOption = 600,
    dry_run: DryRunOption = False,
) -> None:
    """Fetch the result of a failed upload without paying again.

    For uploads whose workflow timed out, was stopped, failed, or never started. The enhancer keeps a task's result for
    24 hours. With --status, --since, or --prefix, for all of them that match; exit code 1 if one is not fetched.
    """
    if (key is None) != selection.is_given(status, since, prefix) or (version_id and key is None):
        raise typer.BadParameter(f"give either one KEY (optionally with --version-id), or {selection.HOW_TO_SELECT}")
    stack, out = load_stack(context), printer(context)
    if key is None:
        _fetch_all(stack, selection.parse_filter(status, since, prefix), timeout, dry_run, out)
        return
    row = _paid_row(stack, key, version_id)
    if running := next(running_executions(stack, [row]), None):
        raise CliError(
            f"The upload's workflow is still running: {running}. `lumendrop status` shows its progress.",
            data={"key": key, "execution": running},
        )
    if dry_run:
        out.result({"key": key, "row": row}, [f"This would fetch {key}, version {row['version_id']}, without paying."])
        return
    with out.progress("Running the workflow again with the same task …"):
        execution = _start(stack, row)
        data = {"key": key, "execution": execution}
        with on_interrupt(f"The workflow of {key} continues: {execution}. {_SHOWS}", data):
            ended = poll_until(lambda: _ended_execution(stack, execution), timeout)
    photo, now = _fetched(stack, row, execution, ended, timeout)
    out.result({"photo": photo, "execution": execution, "row": now}, [f"Fetched without paying again: {photo}"])


def _fetched(stack: Stack, row: Row, execution: str, ended: dict[str, Any] | None, timeout: int) -> tuple[str, Row]:
    """The photo and its row. Raises CliError if there is none."""
    data = {"key": row["key"], "execution": execution}
    if ended is None:
        raise CliError(f"The workflow is still running after {timeout} seconds: {execution}. {_SHOWS}", data=data)
    now = ledger.row_of(stack, row["key"], row["version_id"]) or row
    if now["status"] != statuses.ENHANCED:
        cause = now.get("outcome", {}).get("message", ended["status"])
        raise CliError(f"The upload ended as {now['status']}: {cause}", data={**data, "row": now})
    return f"s3://{now['output']['bucket']}/{now['output']['key']}", now


def _fetch_all(stack: Stack, wanted: Filter, timeout: int, dry_run: bool, out: Printer) -> None:
    with out.progress("Reading the ledger …") as progress:
        paid = [row for row in selection.select(stack, wanted, progress) if ledger.may_have_result(row)]
        running = execution_of_each(stack) if paid else {}
    rows = [row for row in paid if correlation_id(row) not in running]
    if dry_run or not rows:
        summary = (
            f"This would fetch {count(len(rows), 'upload')} without paying."
            if rows
            else "No matching upload can be fetched."
        )
        data = {"fetched": [], "would_fetch": [row["key"] for row in rows], "running": len(paid) - len(rows)}
        out.result(data, [*(f"  {row['key']}" for row in rows), summary])
        if not rows:
            raise typer.Exit(FAILURE)
        return
    text = f"Running the workflow of {count(len(rows), 'upload')} again with the same task …"
    with on_interrupt(f"The workflows continue. {_SHOWS}"), out.progress(text) as progress:
        fetched, failed = _run_all(stack, rows, timeout, progress)
    data = {"fetched": fetched, "failed": failed, "running": len(paid) - len(rows)}
    lines = [*(f"  {photo}" for photo in fetched), *(f"  {key}: {error}" for key, error in failed.items())]
    out.result(data, [*lines, f"{len(fetched):,} fetched without paying again, {len(failed):,} not fetched."])
    if failed:
        raise typer.Exit(FAILURE)


def _run_all(stack: Stack, rows: list[Row], timeout: int, progress: Progress) -> tuple[list[str], dict[str, str]]:
    """The photos that were fetched, and why the others were not."""
    deadline = time.monotonic() + timeout
    fetched, failed, executions = list[str](), dict[str, str](), list[tuple[Row, str]]()
    for row in rows:
        try:
            executions.append((row, _start(stack, row)))
        except CliError as error:
            failed[row["key"]] = str(error)
    for row, execution in executions:
        left = max(0.0, deadline - time.monotonic())
        ended = poll_until(partial(_ended_execution, stack, execution), left)
        try:
            fetched.append(_fetched(stack, row, execution, ended, timeout)[0])
        except CliError as error:
            failed[row["key"]] = str(error)
        progress(f"{len(fetched) + len(failed):,} of {len(rows):,} ended …")
    return fetched, failed


def _paid_row(stack: Stack, key: str, version_id: str | None) -> Row:
    row = ledger.newest_row(stack, key, version_id)
    if row["status"] not in statuses.FETCHABLE or not row.get("task_id"):
        raise CliError(
            f"The upload is {row['status']}. Only uploads that failed after their task was created can be fetched."
        )
    if not ledger.may_have_result(row):
        raise CliError(f"The task ended without a result, so there is nothing to fetch. {ledger.reason(row)}")
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
