"""`lumendrop resume`: submits uploads again after a pause."""

from __future__ import annotations

import typer

from lumendrop_cli import event_source, upload_queue
from lumendrop_cli.printer import printer
from lumendrop_cli.selection import DryRunOption
from lumendrop_cli.stack import load_stack
from lumendrop_cli.text import count


def resume(context: typer.Context, dry_run: DryRunOption = False) -> None:
    """Submit uploads again after a pause."""
    stack, out = load_stack(context), printer(context)
    if dry_run:
        state = event_source.state(stack)
        out.result({"event_source": state}, [f"This would enable the event source, which is {state.lower()}."])
        return
    with out.progress("Enabling the event source …"):
        event_source.switch(stack, event_source.ENABLED)
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    text = f"Resumed. Uploads are submitted. {count(waiting, 'upload')} in the queue."
    out.result({"event_source": event_source.ENABLED, "waiting": waiting}, [text])
