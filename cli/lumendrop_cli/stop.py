"""`lumendrop stop`: stops executions; what they paid for is not refunded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Annotated

import typer

from lumendrop_cli import ledger
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE
from lumendrop_cli.workflow import execution_arn


def stop(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Stop the executions of this key.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Stop all executions.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Stop running executions. Their tasks are paid for and not refunded; each upload gets a report.

    `lumendrop fetch KEY` fetches such a result within 24 hours. Uploads in the queue are submitted nevertheless:
    `lumendrop pause` lets them wait. Exit code 1 if nothing runs.
    """
    if (key is not None) == all_:
        raise typer.BadParameter("name one KEY, or --all")
    stack, out = find(context), output(context)
    with out.working("Looking what runs …"):
        running = list(_running(stack) if key is None else _running_of(stack, key))
    if not running:
        out.result({"stopped": []}, ["Nothing runs."])
        raise typer.Exit(NOT_DONE)
    if not yes:
        what = "1 execution" if len(running) == 1 else f"{len(running):,} executions"
        out.confirm(f"Stop {what}? Their tasks are paid for, and not refunded.")
    with out.working(f"Stopping {len(running):,} …") as say:
        _stop(stack, running, say)
    said = f"{len(running):,} stopped. Their reports come by themselves, below errors/ in the output bucket."
    out.result({"stopped": running}, [said])


def _running(stack: Stack) -> Iterator[str]:
    pages = stack.client("stepfunctions").get_paginator("list_executions")
    for page in pages.paginate(stateMachineArn=stack.output("WorkflowArn"), statusFilter="RUNNING"):
        yield from (one["executionArn"] for one in page["executions"])


def _running_of(stack: Stack, key: str) -> Iterator[str]:
    states = stack.client("stepfunctions")
    for row in ledger.of_key(stack, key):
        execution = execution_arn(stack, row)
        if row["status"] == "submitted" and states.describe_execution(executionArn=execution)["status"] == "RUNNING":
            yield execution


def _stop(stack: Stack, running: list[str], say: Callable[[str], None]) -> None:
    for place, execution in enumerate(running, 1):
        stack.client("stepfunctions").stop_execution(
            executionArn=execution, error="stopped", cause="The owner stopped it with `lumendrop stop`."
        )
        say(f"{place:,} of {len(running):,} stopped …")
