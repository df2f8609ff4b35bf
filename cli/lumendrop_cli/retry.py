"""`lumendrop retry`: sends uploads again that ended without an enhanced photo; this pays for a new task each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Annotated

import typer
from rich.markup import escape

from lumendrop_cli import ledger
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE, Trouble

# Only these take another attempt; submit looks again when the message arrives.
_AGAIN = frozenset({"failed", "rejected", "superseded", "unknown"})


def retry(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="The key whose newest version is sent again.")] = None,
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="This version of the key instead.")] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="All uploads whose status is unknown.")] = False,
    code: Annotated[str | None, typer.Option(help="All uploads whose report has this code.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say which.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
) -> None:
    """Send uploads again that ended without an enhanced photo. Pays for a new task each.

    --unknown and --code read the whole ledger, some minutes for a million rows. Exit code 1 if nothing is to be sent.
    """
    if [key is not None, unknown, code is not None].count(True) != 1 or (version_id and key is None):
        raise typer.BadParameter("name one KEY (with --version-id, if you like), or --unknown, or --code CODE")
    stack, out = find(context), output(context)
    with out.working("Reading the ledger …") as say:
        rows = _chosen(stack, key, version_id, code, say)
    uploads = [{name: row[name] for name in ("key", "version_id", "status", "attempt")} for row in rows]
    cost = f"{len(rows)} new {'task' if len(rows) == 1 else 'tasks'}"
    listed = [f"  {escape(one['key'])}  {one['status']}, version {escape(one['version_id'])}" for one in uploads]
    if dry_run or not rows:
        found = f"This would pay for {cost}." if rows else "No upload of this kind ended without an enhanced photo."
        out.result({"sent": 0, "uploads": uploads}, [*listed, found])
        if not rows:
            raise typer.Exit(NOT_DONE)
        return
    if not yes:
        out.confirm(f"This pays for {cost}. Go on?")
    with out.working(f"Sending {len(rows):,} uploads …") as say:
        _send(stack, rows, say)
    out.result(
        {"sent": len(rows), "uploads": uploads},
        [f"{len(rows):,} sent. `lumendrop status KEY` says what becomes of one."],
    )


def _chosen(
    stack: Stack, key: str | None, version_id: str | None, code: str | None, say: Callable[[str], None]
) -> list[Row]:
    if key is None:
        field, value = ("outcome.code", code) if code else ("status", "unknown")
        return [row for row in ledger.where(stack, field, value, say) if row["status"] in _AGAIN]
    rows = [row for row in ledger.of_key(stack, key) if version_id in (None, row["version_id"])][:1]
    if not rows:
        raise Trouble(f"The ledger has no such upload of {key!r}. `lumendrop status` says what it has.")
    if (state := rows[0]["status"]) not in _AGAIN:
        raise Trouble(f"The upload is {state}; only what ended without an enhanced photo is sent again.")
    return rows


def _send(stack: Stack, rows: list[Row], say: Callable[[str], None]) -> None:
    sqs, url, sent = stack.client("sqs"), stack.output("UploadQueueUrl"), 0
    for some in _tens(rows):
        entries = [{"Id": str(place), **_message(row)} for place, row in enumerate(some)]
        failed = sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
        sent += len(some) - len(failed)
        if failed:
            raise Trouble(
                f"SQS took {sent} of {len(rows)} uploads, then refused: {failed[0].get('Message', failed[0]['Code'])}. "
                "Run it again: no attempt is paid for twice."
            )
        say(f"{sent:,} of {len(rows):,} sent …")


def _message(row: Row) -> dict[str, object]:
    """The upload's event; the attribute names the attempt that it follows, so delivering it twice pays once."""
    named = {"key": row["key"], "version-id": row["version_id"], "size": row["size"]}
    found = {**named, "etag": row["etag"], "sequencer": row["sequencer"]}
    detail = {"bucket": {"name": row["bucket"]}, "object": found}
    return {
        "MessageBody": json.dumps({"time": row.get("time", ""), "detail": detail}),
        "MessageAttributes": {"send-again": {"DataType": "Number", "StringValue": str(row["attempt"])}},
    }


def _tens(rows: list[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while some := list(islice(left, 10)):
        yield some
