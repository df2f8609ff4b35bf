"""`lumendrop status KEY`: shows what happened to a photo."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError

from lumendrop_cli import event_source, ledger, selection, statuses, upload_queue
from lumendrop_cli.errors import FAILURE, error_code
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.printer import Line, Printer, printer
from lumendrop_cli.selection import PrefixOption, SinceOption, StatusOption
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.times import utc_text
from lumendrop_cli.versions import history
from lumendrop_cli.workflow import correlation_id, execution_arn

_INCOMPLETE = (
    "its ledger row can't be read, because an attribute is missing or wrong; nothing is paid until it is repaired"
)


def status(
    context: typer.Context,
    key: Annotated[
        str | None, typer.Argument(help="The key of the photo in the input bucket, such as a/photo.jpg.")
    ] = None,
    status: StatusOption = None,
    since: SinceOption = None,
    prefix: PrefixOption = None,
) -> None:
    """Show what happened to a photo: every version of it, newest first.

    If the ledger has no such upload, the command says where the photo may be, and the exit code is 1. With --status,
    --since, or --prefix, it shows all uploads that match, the last change first. `lumendrop list` is shorter.
    """
    if (key is None) != selection.is_given(status, since, prefix):
        raise typer.BadParameter(f"give either one KEY, or {selection.HOW_TO_SELECT}")
    stack, out = load_stack(context), printer(context)
    if key is None:
        _show_selected(stack, selection.parse_filter(status, since, prefix), out)
        return
    rows = _with_links(stack, ledger.rows_of(stack, key))
    if rows:
        existing, deleted = _history(stack, key)
        for row in rows:
            row["deleted"] = None if existing is None else row["version_id"] not in existing
        lines = [*_deletion(deleted), *(line for row in rows for line in _lines(row, rows))]
        out.result({"key": key, "rows": rows, "deleted_at": deleted and deleted["LastModified"]}, lines)
        return
    reason = _why_no_row(stack, key)
    out.result({"key": key, "rows": [], "why": reason}, [reason])
    raise typer.Exit(FAILURE)


def _show_selected(stack: Stack, wanted: Filter, out: Printer) -> None:
    with out.progress("Reading the ledger …") as progress:
        rows = _with_links(stack, selection.select(stack, wanted, progress))
    out.result({"rows": rows}, _selected_lines(rows) if rows else ["No upload matches."])
    if not rows:
        raise typer.Exit(FAILURE)


def _selected_lines(rows: list[Row]) -> Iterator[Line]:
    for row in rows:
        yield ((str(row["key"]), "underline"),)
        yield from _lines(row | {"deleted": None}, rows)


def _with_links(stack: Stack, rows: list[Row]) -> list[Row]:
    links = [{"execution": execution_arn(stack, row), "correlation_id": correlation_id(row)} for row in rows]
    return [row | more for row, more in zip(rows, links, strict=True)]


def _history(stack: Stack, key: str) -> tuple[set[str] | None, dict[str, Any] | None]:
    """See `versions.history`; None for the versions if these credentials can't list them."""
    try:
        return history(stack.client("s3"), stack.output("InputBucketName"), key)
    except ClientError:
        return None, None


def _deletion(deleted: dict[str, Any] | None) -> Iterator[str]:
    if deleted:
        yield f"The photo was deleted from the input bucket at {utc_text(deleted['LastModified'])}."


def _same_photo(row: Row, rows: list[Row]) -> str | None:
    """The upload that was paid for. Only its ID is known, unless it is another version of the same key."""
    for other in rows:
        if other["correlation_id"] == row.get("same_as"):
            return f"same photo as version {other['version_id']}; nothing was paid"
    return f"same photo as the upload {row['same_as']}; nothing was paid" if row.get("same_as") else None


def _lines(row: Row, rows: list[Row]) -> Iterator[Line]:
    state = str(row["status"])
    yield (state, "bold"), (f": {statuses.DESCRIPTIONS.get(state, _INCOMPLETE)}", "")
    outcome, photo = row.get("outcome") or {}, row.get("output")
    details = {
        "wrong": ", ".join(row["wrong"]) if "wrong" in row else None,
        "version": f"{row['version_id']}, {row['size']} bytes{', deleted' if row['deleted'] else ''}",
        "attempt": row["attempt"],
        "options": row.get("options"),
        "task": row.get("task_id"),
        "credits": row.get("credits"),
        "submitted": _time(row.get("submitted_at")),
        "deadline": _time(row.get("deadline")) if state == statuses.SUBMITTED else None,
        "ended": _time(row.get("finished_at")),
        "photo": photo and f"s3://{photo['bucket']}/{photo['key']}",
        "reused": _same_photo(row, rows),
        "happened": outcome.get("message"),
        "to do": outcome.get("advice"),
        "code": outcome.get("code"),
        "report": row.get("report_key"),
        "execution": row["execution"],
        "in logs": row["correlation_id"],
    }
    yield from (f"  {name:<10} {value}" for name, value in details.items() if value is not None)


def _time(moment: Any) -> str | None:
    return None if moment is None else utc_text(moment)


def _why_no_row(stack: Stack, key: str) -> str:
    """Where an upload without a row may be. Its position in the queue can't be known."""
    bucket, prefix = stack.output("InputBucketName"), stack.parameter("InputPrefix")
    if not key.startswith(prefix):
        return f"{key!r} is not enhanced: only keys that begin with {prefix!r} (InputPrefix) are."
    try:
        head = stack.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error_code(error) not in ("404", "NoSuchKey"):
            raise
        return _why_no_object(stack, key)
    if head["ContentLength"] == 0 and key.endswith("/"):
        return f"{key!r} is skipped: it is a folder marker."
    if _is_result(head):
        return f"{key!r} is skipped: it is an enhanced photo, copied from an output bucket. Its metadata says so."
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    queue = f"the upload queue, which has {count(waiting, 'upload')}"
    if (state := event_source.state(stack)) != event_source.ENABLED:
        return f"{key!r} waits in {queue}: the event source is {state.lower()}. `lumendrop resume` resumes."
    if waiting:
        return f"{key!r} waits in {queue}. `lumendrop doctor` shows the reason."
    return (
        f"{key!r} is in the input bucket, but the upload queue is empty. The photo was uploaded before this stack was "
        "deployed, its event was lost, or its message is in the dead-letter queue. `lumendrop doctor` checks the "
        "queues; `lumendrop backfill` sends existing photos."
    )


def _is_result(head: Mapping[str, Any]) -> bool:
    """Whether the object is an enhanced photo. layers/lumendrop/storage.py has the same rule."""
    metadata: dict[str, str] = head["Metadata"]
    size = str(head["ContentLength"])
    return {"task-id", "source-version-id"} <= metadata.keys() and metadata.get("result-bytes", size) == size


def _why_no_object(stack: Stack, key: str) -> str:
    versions, deleted = _history(stack, key)
    if not deleted:
        return f"Neither the ledger nor the input bucket has {key!r}. Check the key."
    earlier = " Earlier versions of it still exist." if versions else ""
    return (
        f"{key!r} was deleted from the input bucket at {utc_text(deleted['LastModified'])}, before it was enhanced."
        f"{earlier} If its event still waits in the upload queue, it ends as upload_gone, unpaid."
    )
