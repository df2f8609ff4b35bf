"""`lumendrop stop`: stops executions. Their tasks are paid for and not refunded."""

from __future__ import annotations

from typing import Annotated

import typer

from lumendrop_cli import ledger
from lumendrop_cli.errors import FAILURE
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.workflow import running_executions


def stop(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Stop the executions of this key.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Stop all executions.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Stop running executions. Their tasks are paid for and not refunded, and each upload gets a report.

    `lumendrop fetch KEY` fetches such a result within 24 hours. Uploads in the queue are still submitted; to keep them
    there, use `lumendrop pause`. Exit code 1 if no execution is running.
    """
    if (key is not None) == all_:
        raise typer.BadParameter("give one KEY, or --all")
    stack, out = load_stack(context), printer(context)
    with out.progress("Listing the running executions …"):
        executions = list(running_executions(stack, None if key is None else ledger.rows_of(stack, key)))
    if not executions:
        out.result({"stopped": []}, ["No execution is running."])
        raise typer.Exit(FAILURE)
    if not yes:
        what = "1 execution" if len(executions) == 1 else f"{len(executions):,} executions"
        out.confirm(f"Stop {what}? Their tasks are paid for and not refunded.")
    with out.progress(f"Stopping {len(executions):,} …") as progress:
        _stop(stack, executions, progress)
    summary = f"{len(executions):,} stopped. Their reports appear automatically below errors/ in the output bucket."
    out.result({"stopped": executions}, [summary])


def _stop(stack: Stack, executions: list[str], progress: Progress) -> None:
    for count, execution in enumerate(executions, 1):
        stack.client("stepfunctions").stop_execution(
            executionArn=execution, error="stopped", cause="The owner stopped it with `lumendrop stop`."
        )
        progress(f"{count:,} of {len(executions):,} stopped …")
