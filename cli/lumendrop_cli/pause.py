"""`lumendrop pause`: keeps uploads in the queue."""

from __future__ import annotations

import typer

from lumendrop_cli import event_source, upload_queue
from lumendrop_cli.printer import printer
from lumendrop_cli.selection import DryRunOption
from lumendrop_cli.stack import load_stack
from lumendrop_cli.text import count


def pause(context: typer.Context, dry_run: DryRunOption = False) -> None:
    """Keep uploads in the queue, for up to 14 days. Tasks that are already paid for are still delivered."""
    stack, out = load_stack(context), printer(context)
    if dry_run:
        state = event_source.state(stack)
        out.result({"event_source": state}, [f"This would disable the event source, which is {state.lower()}."])
        return
    with out.progress("Disabling the event source …"):
        event_source.switch(stack, event_source.DISABLED)
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    text = (
        f"Paused. Uploads wait for up to 14 days; `lumendrop resume` resumes. {count(waiting, 'upload')} in the queue."
    )
    out.result({"event_source": event_source.DISABLED, "waiting": waiting}, [text])
