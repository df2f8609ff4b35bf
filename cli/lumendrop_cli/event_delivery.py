"""How long S3 may still lose events: EventBridge needs about five minutes after a bucket starts to send it events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from lumendrop_cli.stack import Stack

_SWITCH_ON = timedelta(minutes=5)


def seconds_until_reliable(stack: Stack) -> int:
    """The number of seconds until events of new uploads are no longer lost; 0 if that time has passed.

    The sandbox has no such delay.
    """
    if stack.is_sandbox:
        return 0
    bucket = stack.resources.get("InputBucket")
    since = max(stack.created, bucket.updated if bucket and bucket.updated else stack.created)
    return max(0, int((since + _SWITCH_ON - datetime.now(UTC)).total_seconds()))
