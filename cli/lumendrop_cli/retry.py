"""`lumendrop retry`: sends uploads again that ended without an enhanced photo. Each one pays for a new task."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from itertools import compress
from operator import not_
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from lumendrop_cli import cost, ledger, selection, statuses, upload_queue
from lumendrop_cli.batches import batches
from lumendrop_cli.errors import FAILURE, CliError, error_code, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.printer import Progress, printer, some_of
from lumendrop_cli.selection import PrefixOption, SinceOption, StatusOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count, sentence
from lumendrop_cli.workflow import correlation_id, execution_of_each

_BATCH_SIZE = 10  # the most that SQS accepts in one SendMessageBatch
_RESULT_SECONDS = 24 * 3600  # how long the enhancer keeps a result


@dataclass(frozen=True)
class Selection:
    """The uploads to send, and those that are left out: running, rejected again, or replaced by a newer version."""

    rows: list[Row]
    running: dict[str, str]
    rejected: list[Row]
    replaced: list[Row] = field(default_factory=list)


def retry(
    context: typer.Context,
    key: Annotated[str | None, typer.Argument(help="Send the newest version of this key again.")] = None,
    version_id: Annotated[str | None, typer.Option(metavar="ID", help="Send this version of the key instead.")] = None,
    unknown: Annotated[bool, typer.Option("--unknown", help="All uploads with the status unknown.")] = False,
    code: Annotated[str | None, typer.Option(help="All uploads whose report has this code.")] = None,
    status: StatusOption = None,
    since: SinceOption = None,
    prefix: PrefixOption = None,
    pay: Annotated[
        bool, typer.Option("--pay", help="Pay for KEY even if it, or the same photo, is already enhanced.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the uploads without sending them.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask for confirmation.")] = False,
) -> None:
    """Send uploads again that ended without an enhanced photo. Pays for a new task for each.

    With --pay, an enhanced upload is sent again too, and the result of the same photo is not reused. The new result
    replaces the earlier one.

    Uploads whose workflow runs, for example because of `lumendrop fetch`, are not sent, and neither are those that
    would be rejected again. --unknown and --code read the whole ledger, which takes minutes for a million rows.
    --status, --since, and --prefix read its index, and leave out uploads that a newer one has replaced. Exit code 1 if
    there is nothing to send.
    """
    selects = selection.is_given(status, since, prefix)
    if [key is not None, unknown, code is not None, selects].count(True) != 1 or ((version_id or pay) and key is None):
        raise typer.BadParameter(
            "give one KEY (optionally with --version-id or --pay), or --unknown, or --code CODE, or "
            f"{selection.HOW_TO_SELECT}"
        )
    wanted = selection.parse_filter(status, since, prefix)
    stack, out = load_stack(context), printer(context)
    with out.progress("Reading the ledger …") as progress:
        if key is not None:
            selected = _select_one(stack, key, version_id, pay)
        elif selects:
            selected = _select_all(stack, selection.select(stack, wanted, progress), current=True)
        else:
            name, value = ("outcome.code", code) if code else ("status", statuses.UNKNOWN)
            selected = _select_all(stack, ledger.scan(stack, name, value, progress))
    rows = selected.rows
    uploads = [{name: row[name] for name in ("key", "version_id", "status", "attempt")} for row in rows]
    data: dict[str, Any] = {
        "sent": 0,
        "uploads": uploads,
        "cost_usd": cost.cost_usd(stack, len(rows)),
        "running": selected.running,
        "rejected_again": [row["key"] for row in selected.rejected],
        "replaced": [row["key"] for row in selected.replaced],
        "fetchable": [row["key"] for row in rows if _is_fetchable(row)],
    }
    listed = [_describe(row) for row in rows]
    notes = [*_fetchable(data["fetchable"]), *_left_out(selected), *_may_pay_twice(rows)]
    if dry_run or not rows:
        would = f"This would pay for {cost.describe(stack, len(rows), 'new ')}."
        summary = would if rows else "No matching upload ended without an enhanced photo."
        out.result(data, [*(f"  {one}" for one in listed), *notes, summary])
        if not rows:
            raise typer.Exit(FAILURE)
        return
    if not yes:
        for line in (*some_of(listed), *notes):
            out.note(line)
        out.confirm(f"This pays for {cost.describe(stack, len(rows), 'new ')}. Continue?")
    with out.progress(f"Sending {count(len(rows), 'upload')} …") as progress:
        _send(stack, rows, pay, progress)
    done = f"{len(rows):,} sent. `lumendrop status KEY` shows what happens to each."
    out.result(data | {"sent": len(rows)}, [*_left_out(selected), done])


def _describe(row: Row) -> str:
    photo = row.get("output") if row["status"] == statuses.ENHANCED else None
    replaced = f"; the new result replaces s3://{photo['bucket']}/{photo['key']}" if photo else ""
    return f"{row['key']}  {row['status']}, version {row['version_id']}{replaced}"


def _is_fetchable(row: Row) -> bool:
    has_result = row.get("outcome", {}).get("code") in statuses.RESULT_MAY_EXIST
    return has_result and time.time() - int(row.get("submitted_at", 0)) < _RESULT_SECONDS


def _fetchable(keys: list[str]) -> list[str]:
    if not keys:
        return []
    uploads = count(len(keys), "upload")
    text = f"The result of {uploads} may still exist. To get one without paying again: `lumendrop fetch KEY`."
    return [text, *some_of(keys)]


def _may_pay_twice(rows: list[Row]) -> list[str]:
    unknown = sum(row["status"] == statuses.UNKNOWN for row in rows)
    uploads = count(unknown, "upload")
    text = f"{uploads} with the status unknown: a task may exist already, so another one may pay twice."
    return [text] if unknown else []


def _left_out(selected: Selection) -> list[str]:
    lines = []
    if selected.running:
        lines.append(f"Not sent, because their workflow is running: {len(selected.running):,}.")
        lines += some_of([f"{key}  {execution}" for key, execution in selected.running.items()])
    if selected.rejected:
        lines.append(f"Not sent, because they would be rejected again: {len(selected.rejected):,}.")
        lines += some_of([f"{row['key']}  {row['outcome']['code']}" for row in selected.rejected])
    if selected.replaced:
        lines.append(f"Not sent, because a newer version was uploaded, or theirs deleted: {len(selected.replaced):,}.")
        lines += some_of([f"{row['key']}  version {row['version_id']}" for row in selected.replaced])
    return lines


def _select_one(stack: Stack, key: str, version_id: str | None, pay: bool) -> Selection:
    row = ledger.newest_row(stack, key, version_id)
    if row["status"] == statuses.ENHANCED and not pay:
        raise CliError("The upload is enhanced, so nothing is sent. To pay for another task, use --pay.")
    if row["status"] not in statuses.RESENDABLE | {statuses.ENHANCED}:
        raise CliError(f"The upload is {row['status']}. Only uploads that ended without an enhanced photo are retried.")
    if execution := execution_of_each(stack).get(correlation_id(row)):
        raise CliError(
            f"The upload's workflow is running: {execution}. It may deliver the photo without a second payment. "
            "`lumendrop status KEY` shows its progress; `lumendrop stop KEY` stops it.",
            data={"key": key, "execution": execution},
        )
    if _is_rejected_again(stack, row):
        raise CliError(
            f"Nothing is sent and nothing would be paid, because this version would be rejected again "
            f"({row['outcome']['code']}): {ledger.reason(row)}"
        )
    if _is_deleted(stack, row):
        raise CliError(
            "Nothing is sent and nothing would be paid, because this version of the photo is deleted from the input "
            "bucket. Upload the photo again."
        )
    return Selection([row], {}, [])


def _select_all(stack: Stack, found: list[Row], *, current: bool = False) -> Selection:
    rows = [row for row in found if row["status"] in statuses.RESENDABLE]
    replaced = [row for row in rows if not _is_current(stack, row)] if current else []
    executions = execution_of_each(stack) if rows else {}
    rows = [row for row in rows if row not in replaced]
    running = {row["key"]: executions[correlation_id(row)] for row in rows if correlation_id(row) in executions}
    idle = [row for row in rows if correlation_id(row) not in executions]
    again = [_is_rejected_again(stack, row) for row in idle]
    return Selection(list(compress(idle, map(not_, again))), running, list(compress(idle, again)), replaced)


def _is_current(stack: Stack, row: Row) -> bool:
    """Whether the key still has this version. A result of an older one would be superseded."""
    try:
        head = stack.client("s3").head_object(Bucket=row["bucket"], Key=row["key"])
    except ClientError as error:
        if error_code(error) in ("404", "NoSuchKey"):
            return False
        raise
    return bool(head.get("VersionId", "null") == row["version_id"])


def _is_rejected_again(stack: Stack, row: Row) -> bool:
    code = row.get("outcome", {}).get("code")
    if code == statuses.TOO_BIG:
        return bool(row["size"] > stack.whole_number("MaxUploadBytes"))
    return code in statuses.REJECTED_AGAIN


def _is_deleted(stack: Stack, row: Row) -> bool:
    try:
        stack.client("s3").head_object(Bucket=row["bucket"], Key=row["key"], VersionId=row["version_id"])
    except ClientError as error:
        return error_code(error) in ("404", "405", "NoSuchKey", "NoSuchVersion")
    return False


def _send(stack: Stack, rows: list[Row], pay: bool, progress: Progress) -> None:
    sqs, url, sent = stack.client("sqs"), stack.output("UploadQueueUrl"), 0
    # With --pay, the command pays once more as soon as the new attempt is enhanced.
    status = f"Before you run the command again, check the attempt that `lumendrop status {rows[0]['key']}` shows."
    again = status if pay else "Run the command again: no attempt is paid for twice."
    with on_interrupt(f"Some of {count(len(rows), 'upload')} may be sent. {again}"):
        for batch in batches(rows, _BATCH_SIZE):
            messages = [upload_queue.upload_message(row, send_again=True, pay=pay) for row in batch]
            entries = [{"Id": str(place), **message} for place, message in enumerate(messages)]
            failed = sqs.send_message_batch(QueueUrl=url, Entries=entries).get("Failed", [])
            sent += len(batch) - len(failed)
            if failed:
                cause = sentence(failed[0].get("Message", failed[0]["Code"]))
                uploads = count(len(rows), "upload")
                raise CliError(
                    f"SQS accepted {sent:,} of {uploads}, then returned an error: {cause} {again}",
                    data={"sent": sent},
                )
            progress(f"{sent:,} of {len(rows):,} sent …")
