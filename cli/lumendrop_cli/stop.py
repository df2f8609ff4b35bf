"""`lumendrop stop`: stops executions. Their tasks are paid for and not refunded."""

from __future__ import annotations

from typing import Annotated

import typer

from lumendrop_cli import ledger, selection
from lumendrop_cli.errors import FAILURE, on_interrupt
from lumendrop_cli.printer import Progress, printer, some_of
from lumendrop_cli.selection import DryRunOption, PrefixOption, SinceOption, StatusOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.workflow import running_backfills, running_executions


def stop(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Stop the executions of this key.")] = None,
    all_: Annotated[bool, typer.Option("--all", help="Stop all executions and backfills.")] = False,
    backfills: Annotated[bool, typer.Option("--backfill", help="Stop running backfills.")] = False,
    status: StatusOption = None,
    since: SinceOption = None,
    prefix: PrefixOption = None,
    dry_run: DryRunOption = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Stop running executions. Their tasks are paid for and not refunded, and each upload gets a report.

    `lumendrop fetch KEY` fetches such a result within 24 hours. Uploads in the queue are still submitted, including
    those that a stopped backfill has sent; to keep them there, use `lumendrop pause`. Exit code 1 if nothing is
    running.
    """
    selects = selection.is_given(status, since, prefix)
    if [key is not None, all_, backfills, selects].count(True) != 1:
        raise typer.BadParameter(f"give one KEY, or --all, or --backfill, or {selection.HOW_TO_SELECT}")
    wanted = selection.parse_filter(status, since, prefix)
    stack, out = load_stack(context), printer(context)
    executions, runs = list[str](), list[str]()
    with out.progress("Listing the running executions …") as progress:
        if selects:
            executions = list(running_executions(stack, selection.select(stack, wanted, progress)))
        elif not backfills:
            executions = list(running_executions(stack, None if key is None else ledger.rows_of(stack, key)))
        if all_ or backfills:
            runs = running_backfills(stack)
    if not executions and not runs:
        out.result({"stopped": [], "backfills": []}, ["No execution is running."])
        raise typer.Exit(FAILURE)
    if dry_run:
        would = f"This would stop {' and '.join(_parts(executions, runs))}.{_consequence(executions)}"
        data = {"stopped": [], "backfills": [], "would_stop": [*runs, *executions]}
        out.result(data, [*(f"  {one}" for one in data["would_stop"]), would])
        return
    if not yes:
        for line in some_of([*runs, *executions]):
            out.note(line)
        out.confirm(f"Stop {' and '.join(_parts(executions, runs))}?{_consequence(executions)}")
    with out.progress(f"Stopping {len(executions) + len(runs):,} …") as progress:
        _stop(stack, [*runs, *executions], progress)
    reports = " Their reports appear automatically below errors/ in the output bucket." if executions else ""
    summary = f"Stopped: {' and '.join(_parts(executions, runs))}.{reports}"
    out.result({"stopped": executions, "backfills": runs}, [summary])


def _parts(executions: list[str], runs: list[str]) -> list[str]:
    found = ((executions, "execution"), (runs, "backfill"))
    return [count(len(arns), noun) for arns, noun in found if arns]


def _consequence(executions: list[str]) -> str:
    return " The tasks of executions are paid for and not refunded." if executions else ""


def _stop(stack: Stack, executions: list[str], progress: Progress) -> None:
    with on_interrupt("Some executions may be stopped. Run the command again for the others."):
        for count, execution in enumerate(executions, 1):
            stack.client("stepfunctions").stop_execution(
                executionArn=execution, error="stopped", cause="The owner stopped it with `lumendrop stop`."
            )
            progress(f"{count:,} of {len(executions):,} stopped …")
