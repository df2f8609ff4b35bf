"""`lumendrop status KEY`: what became of a photo."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer
from botocore.exceptions import ClientError
from rich.markup import escape

from lumendrop_cli import ledger, upload_queue
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE
from lumendrop_cli.workflow import correlation_id, execution_arn

WORDS = {
    "claimed": "being paid for now",
    "submitted": "paid for; the workflow waits for its task or delivers the result",
    "retrying": "its task failed for a passing reason; the next one follows by itself",
    "enhanced": "in the output bucket",
    "superseded": "a newer upload of this key was delivered first",
    "rejected": "can't be enhanced; nothing was paid",
    "failed": "no enhanced photo; it may have been paid for",
    "unknown": "nobody can tell whether a task was created and paid for",
}


def status(
    context: typer.Context,
    key: Annotated[str, typer.Argument(help="The key it was dropped under, such as a/photo.jpg.")],
) -> None:
    """Say what became of a photo: every version of it, newest first.

    Exit code 1 if the ledger does not know it; then it says where it may be.
    """
    stack, out = find(context), output(context)
    rows = ledger.of_key(stack, key)
    if rows:
        made = [{"execution": execution_arn(stack, row), "correlation_id": correlation_id(row)} for row in rows]
        rows = [row | more for row, more in zip(rows, made, strict=True)]
        out.result({"key": key, "rows": rows}, (line for row in rows for line in _lines(row)))
        return
    why = _why_unknown(stack, key)
    out.result({"key": key, "rows": [], "why": why}, [escape(why)])
    raise typer.Exit(NOT_DONE)


def _lines(row: Row) -> Iterator[str]:
    state = str(row["status"])
    yield f"[bold]{state}[/bold]: {WORDS.get(state, state)}"
    outcome, where = row.get("outcome", {}), row.get("output")
    told = {
        "version": f"{row['version_id']}, {row['size']} bytes",
        "attempt": row["attempt"],
        "options": row.get("options"),
        "task": row.get("task_id"),
        "credits": row.get("credits"),
        "submitted": _time(row.get("submitted_at")),
        "given up": _time(row.get("deadline")) if state == "submitted" else None,
        "ended": row.get("finished_at"),
        "photo": where and f"s3://{where['bucket']}/{where['key']}",
        "happened": outcome.get("message"),
        "to do": outcome.get("advice"),
        "code": outcome.get("code"),
        "report": row.get("report_key"),
        "execution": row["execution"],
        "in logs": row["correlation_id"],
    }
    yield from (f"  {name:<10} {escape(str(value))}" for name, value in told.items() if value is not None)


def _time(seconds: Any) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(int(seconds), UTC).isoformat()


def _why_unknown(stack: Stack, key: str) -> str:
    """Where an upload without a row is; its place in the queue can't be known."""
    bucket, prefix = stack.output("InputBucketName"), stack.parameter("InputPrefix")
    if not key.startswith(prefix):
        return f"Only keys that begin with {prefix!r} (InputPrefix) are enhanced; {key!r} doesn't."
    try:
        head = stack.client("s3").head_object(Bucket=bucket, Key=key)
    except ClientError as error:
        if error.response["Error"].get("Code") not in ("404", "NoSuchKey"):
            raise
        return f"Neither the ledger nor the input bucket has {key!r}. It was never dropped, or under another key."
    if head["ContentLength"] == 0 or key.endswith("/"):
        return f"{key!r} is empty, or a folder marker; such objects are skipped."
    waiting = upload_queue.length(stack, stack.output("UploadQueueUrl"))
    if (state := upload_queue.event_source_state(stack)) != "Enabled":
        return f"{key!r} waits, one of {waiting}: the event source is {state.lower()}. `lumendrop resume` goes on."
    if waiting:
        return f"{key!r} waits in the upload queue, one of {waiting}. `lumendrop doctor` says for what."
    return (
        f"{key!r} is in the input bucket, but no upload waits. It was dropped before this stack was deployed, "
        "or its event was lost, or is in the dead-letter queue: see `lumendrop doctor`, or `lumendrop backfill`."
    )
