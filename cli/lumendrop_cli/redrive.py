"""`lumendrop redrive`: sends what is in the dead-letter queue back to the upload queue."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import typer

from lumendrop_cli import upload_queue
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import Trouble
from lumendrop_cli.waiting import until

_MOVE_SECONDS = 3600


def redrive(context: typer.Context) -> None:
    """Send what is in the dead-letter queue back to the upload queue.

    Mend first what made submit crash; its log says what that was.
    """
    stack, out = find(context), output(context)
    dead = upload_queue.length(stack, stack.output("DeadLetterQueueUrl"))
    if not dead:
        out.result({"moved": 0}, ["The dead-letter queue is empty; there is nothing to do."])
        return
    with out.working(f"Sending {dead:,} back to the upload queue …") as say:
        moved = _move(stack, dead, say)
    out.result({"moved": moved}, [f"{moved:,} in the upload queue again."])


def _move(stack: Stack, dead: int, say: Callable[[str], None]) -> int:
    sqs = stack.client("sqs")
    source = upload_queue.arn(stack, stack.output("DeadLetterQueueUrl"))
    target = upload_queue.arn(stack, stack.output("UploadQueueUrl"))
    earlier = _latest(sqs, source)
    # The destination is named: what EventBridge put there itself has no queue that it came from.
    sqs.start_message_move_task(SourceArn=source, DestinationArn=target)

    def ended() -> dict[str, Any] | None:
        task = _latest(sqs, source)
        if task is None or (earlier and task["StartedTimestamp"] == earlier["StartedTimestamp"]):
            return None
        say(f"{task.get('ApproximateNumberOfMessagesMoved', 0):,} of {dead:,} sent back …")
        return None if task["Status"] in ("RUNNING", "CANCELLING") else task

    task = until(ended, _MOVE_SECONDS)
    if task is None:
        raise Trouble("After an hour not all uploads are sent back. AWS goes on with it; `lumendrop doctor` counts.")
    if task["Status"] != "COMPLETED":
        raise Trouble(
            f"AWS ended it as {task['Status']}: {task.get('FailureReason', 'no reason given')}. Run it again."
        )
    return int(task["ApproximateNumberOfMessagesMoved"])


def _latest(sqs: Any, source: str) -> dict[str, Any] | None:
    tasks: list[dict[str, Any]] = sqs.list_message_move_tasks(SourceArn=source, MaxResults=1).get("Results", [])
    return tasks[0] if tasks else None
