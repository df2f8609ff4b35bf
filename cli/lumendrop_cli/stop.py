"""`lumendrop stop`: stops executions; what they paid for is not refunded."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

import typer

from lumendrop_cli import ledger
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE
from lumendrop_cli.workflow import running


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
        found = list(running(stack, None if key is None else ledger.of_key(stack, key)))
    if not found:
        out.result({"stopped": []}, ["Nothing runs."])
        raise typer.Exit(NOT_DONE)
    if not yes:
        what = "1 execution" if len(found) == 1 else f"{len(found):,} executions"
        out.confirm(f"Stop {what}? Their tasks are paid for, and not refunded.")
    with out.working(f"Stopping {len(found):,} …") as say:
        _stop(stack, found, say)
    said = f"{len(found):,} stopped. Their reports come by themselves, below errors/ in the output bucket."
    out.result({"stopped": found}, [said])


def _stop(stack: Stack, found: list[str], say: Callable[[str], None]) -> None:
    for place, execution in enumerate(found, 1):
        stack.client("stepfunctions").stop_execution(
            executionArn=execution, error="stopped", cause="The owner stopped it with `lumendrop stop`."
        )
        say(f"{place:,} of {len(found):,} stopped …")
