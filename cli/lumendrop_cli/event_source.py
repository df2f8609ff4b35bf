"""The event source mapping that sends uploads from the queue to submit."""

from __future__ import annotations

from lumendrop_cli.errors import CliError, on_interrupt
from lumendrop_cli.polling import poll_until
from lumendrop_cli.stack import Stack

ENABLED, DISABLED = "Enabled", "Disabled"

_MAPPING = "SubmitFunctionUploads"
_SWITCH_SECONDS = 180


def state(stack: Stack) -> str:
    """`Enabled`, `Disabled`, or a transition such as `Disabling`."""
    mapping = stack.client("lambda").get_event_source_mapping(UUID=stack.resource(_MAPPING))
    current: str = mapping["State"]
    return current


def switch(stack: Stack, wanted: str) -> None:
    """Enables or disables the mapping and waits for it. AWS takes up to a minute. Raises CliError after the timeout."""
    stack.client("lambda").update_event_source_mapping(UUID=stack.resource(_MAPPING), Enabled=wanted == ENABLED)
    continues = "AWS continues to switch the event source. `lumendrop doctor` shows its state."
    with on_interrupt(continues, {"event_source": wanted}):
        switched = poll_until(lambda: state(stack) == wanted or None, _SWITCH_SECONDS)
    if switched is None:
        raise CliError(
            f"The event source is not {wanted.lower()} after {_SWITCH_SECONDS} seconds. AWS is still working on it. "
            "`lumendrop doctor` shows its state."
        )
