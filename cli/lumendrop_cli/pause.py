"""`lumendrop pause` and `resume`: whether uploads are submitted, or wait in the queue."""

from __future__ import annotations

import typer

from lumendrop_cli import upload_queue
from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import Trouble
from lumendrop_cli.waiting import until

_SWITCH_SECONDS = 180


def pause(context: typer.Context) -> None:
    """Let uploads wait in the queue, up to 14 days. What is paid for already goes on."""
    _switch(context, "Disabled", "Paused. Uploads wait, up to 14 days; `lumendrop resume` goes on.")


def resume(context: typer.Context) -> None:
    """Go on after a pause."""
    _switch(context, "Enabled", "Uploads are submitted.")


def _switch(context: typer.Context, wanted: str, done: str) -> None:
    stack, out = find(context), output(context)
    mapping = stack.resource("SubmitFunctionUploads")
    with out.working(f"Switching the event source: {wanted.lower()} …"):
        stack.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=wanted == "Enabled")
        # AWS takes up to a minute.
        state = until(lambda: _reached(stack, wanted), _SWITCH_SECONDS)
    if state is None:
        raise Trouble(
            f"The event source is not {wanted.lower()} after {_SWITCH_SECONDS} seconds. AWS goes on with it; "
            "`lumendrop doctor` says how far it is."
        )
    waiting = upload_queue.length(stack, stack.output("UploadQueueUrl"))
    out.result({"event_source": state, "waiting": waiting}, [f"{done} {waiting:,} are in the queue."])


def _reached(stack: Stack, wanted: str) -> str | None:
    state = upload_queue.event_source_state(stack)
    return state if state == wanted else None
