"""`lumendrop retry`: sends uploads again that ended without an enhanced photo. Each one pays for a new task."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.markup import escape

from lumendrop_cli import ledger, statuses
from lumendrop_cli.errors import FAILURE, CliError
from lumendrop_cli.ledger import Row
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.stack import Stack, load_stack

_BATCH_SIZE = 10  # the most that SQS accepts in one SendMessageBatch


def retry(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Send the newest version of this key again.")] = None,
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="Send this version of the key instead.")] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="All uploads with the status unknown.")] = False,
    code: Annotated[str | None, typer.Option(help="All uploads whose report has this code.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the uploads without sending them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Send uploads again that ended without an enhanced photo. Pays for a new task for each.

    --unknown and --code read the whole ledger, which takes minutes for a million rows. Exit code 1 if there is nothing
    to send.
    """
    if [key is not None, unknown, code is not None].count(True) != 1 or (version_id and key is None):
        raise typer.BadParameter("give one KEY (optionally with --version-id), or --unknown, or --code CODE")
    stack, out = load_stack(context), printer(context)
    with out.progress("Reading the ledger …") as progress:
        rows = _select(stack, key, version_id, code, progress)
    uploads = [{name: row[name] for name in ("key", "version_id", "status", "attempt")} for row in rows]
    cost = f"{len(rows)} new {'task' if len(rows) == 1 else 'tasks'}"
    listed = [f"  {escape(one['key'])}  {one['status']}, version {escape(one['version_id'])}" for one in uploads]
    if dry_run or not rows:
        summary = f"This would pay for {cost}." if rows else "No matching upload ended without an enhanced photo."
        out.result({"sent": 0, "uploads": uploads}, [*listed, summary])
        if not rows:
            raise typer.Exit(FAILURE)
        return
    if not yes:
        out.confirm(f"This pays for {cost}. Continue?")
    with out.progress(f"Sending {len(rows):,} uploads …") as progress:
        _send(stack, rows, progress)
    out.result(
        {"sent": len(rows), "uploads": uploads},
        [f"{len(rows):,} sent. `lumendrop status KEY` shows what happens to each."],
    )


def _select(stack: Stack, key: str | None, version_id: str | None, code: str | None, progress: Progress) -> list[Row]:
    if key is None:
        field, value = ("outcome.code", code) if code else ("status", statuses.UNKNOWN)
        return [row for row in ledger.scan(stack, field, value, progress) if row["status"] in statuses.RETRYABLE]
    row = ledger.newest_row(stack, key, version_id)
    if row["status"] not in statuses.RETRYABLE:
        raise CliError(f"The upload is {row['status']}. Only uploads that ended without an enhanced photo are retried.")
    return [row]


def _send(stack: Stack, rows: list[Row], progress: Progress) -> None:
    sqs, url, sent = stack.client("sqs"), stack.output("UploadQueueUrl"), 0
    for batch in _batches(rows):
        entries = [{"Id": str(place), **_message(row)} for place, row in enumerate(batch)]
        failed = sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
        sent += len(batch) - len(failed)
        if failed:
            raise CliError(
                f"SQS accepted {sent} of {len(rows)} uploads, then returned an error: "
                f"{failed[0].get('Message', failed[0]['Code'])}. Run the command again: no attempt is paid for twice."
            )
        progress(f"{sent:,} of {len(rows):,} sent …")


def _message(row: Row) -> dict[str, object]:
    """The upload's event. The attribute names the previous attempt, so that a duplicate message doesn't pay twice."""
    named = {"key": row["key"], "version-id": row["version_id"], "size": row["size"]}
    found = {**named, "etag": row["etag"], "sequencer": row["sequencer"]}
    detail = {"bucket": {"name": row["bucket"]}, "object": found}
    return {
        "MessageBody": json.dumps({"time": row.get("time", ""), "detail": detail}),
        "MessageAttributes": {"send-again": {"DataType": "Number", "StringValue": str(row["attempt"])}},
    }


def _batches(rows: list[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while batch := list(islice(left, _BATCH_SIZE)):
        yield batch
