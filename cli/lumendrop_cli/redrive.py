"""`lumendrop redrive`: moves messages from the dead-letter queue back to the upload queue."""

from __future__ import annotations

from typing import Any

import typer

from lumendrop_cli import upload_queue
from lumendrop_cli.errors import CliError, on_interrupt
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.selection import DryRunOption
from lumendrop_cli.stack import Stack, load_stack

_MOVE_SECONDS = 3600
_RUNNING = ("RUNNING", "CANCELLING")


def redrive(context: typer.Context, dry_run: DryRunOption = False) -> None:
    """Move the messages in the dead-letter queue back to the upload queue.

    First fix the cause of the failures. The log of submit shows it.
    """
    stack, out = load_stack(context), printer(context)
    total = upload_queue.count_messages(stack, stack.output("DeadLetterQueueUrl"))
    if not total:
        out.result({"moved": 0}, ["The dead-letter queue is empty."])
        return
    if dry_run:
        out.result({"moved": 0, "would_move": total}, [f"This would move {total:,} back to the upload queue."])
        return
    continues = "AWS continues to move the messages. `lumendrop doctor` counts what is left in the dead-letter queue."
    with on_interrupt(continues), out.progress(f"Moving {total:,} back to the upload queue …") as progress:
        moved = _move(stack, total, progress)
    out.result({"moved": moved}, [f"{moved:,} moved back to the upload queue."])


def _move(stack: Stack, total: int, progress: Progress) -> int:
    sqs = stack.client("sqs")
    source = upload_queue.queue_arn(stack, stack.output("DeadLetterQueueUrl"))
    target = upload_queue.queue_arn(stack, stack.output("UploadQueueUrl"))
    earlier = _latest_task(sqs, source)
    # The destination is explicit, because messages that EventBridge put there have no source queue.
    sqs.start_message_move_task(SourceArn=source, DestinationArn=target)

    def ended() -> dict[str, Any] | None:
        task = _latest_task(sqs, source)
        if task is None or (earlier and task["StartedTimestamp"] == earlier["StartedTimestamp"]):
            return None
        progress(f"{task.get('ApproximateNumberOfMessagesMoved', 0):,} of {total:,} moved …")
        return None if task["Status"] in _RUNNING else task

    task = poll_until(ended, _MOVE_SECONDS)
    if task is None:
        raise CliError(
            "The move is not finished after an hour. AWS continues it; `lumendrop doctor` counts what is left."
        )
    if task["Status"] != "COMPLETED":
        raise CliError(
            f"The move ended as {task['Status']}: {task.get('FailureReason', 'no reason given')}. "
            "Run `lumendrop redrive` again."
        )
    return int(task["ApproximateNumberOfMessagesMoved"])


def _latest_task(sqs: Any, source: str) -> dict[str, Any] | None:
    tasks: list[dict[str, Any]] = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1).get("Results", [])
    return tasks[0] if tasks else None
