"""Why the stack delays uploads."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from lumendrop_cli import event_source, ledger, upload_queue
from lumendrop_cli.stack import Stack

_RECENT_SECONDS = 1200  # a requeued upload comes back after 15 minutes at most

# By the reason in the log of submit; docs/operations.md has the same list.
REASONS = {
    "authentication_error": "the enhancer rejects the API key: run `lumendrop set-key`",
    "key_unavailable": "no API key is set: run `lumendrop set-key`",
    "insufficient_quota": "the balance with the vendor is empty: top it up",
    "model_not_found": "the API key may not use the model: grant its group that permission at the vendor",
    "daily_limit": "the daily limit is reached; uploads resume tomorrow (UTC)",
    "rate_limit_error": "the vendor accepts tasks more slowly than uploads arrive",
    "pace": "the vendor accepts tasks more slowly than uploads arrive, or has an outage",
    "service_unavailable_error": "the vendor has an outage; uploads resume automatically",
    "unreachable": "the vendor has an outage; uploads resume automatically",
    "ambiguous_submit": "the vendor has an outage; uploads resume automatically",
    "same_photo": "the same photo is in progress; its result is reused",
    "access_denied": "S3 refuses to return the upload: allow `submit` to read it within a day",
    "claimed": "another invocation submits the upload",
    "not_recorded": "the ledger can't be written; the paid task is recorded as soon as it can",
    "aws_unavailable": "an AWS service throttles or does not answer; uploads resume automatically",
    "no_time": "an AWS service is slow; uploads resume automatically",
}


def delay_reason(stack: Stack) -> str | None:
    """Why uploads without a row wait, if that is known. Never fails: without a permission, less is known."""
    for find in (_paused, _daily_limit, _logged, _lost):
        try:
            if reason := find(stack):
                return reason
        except (BotoCoreError, ClientError):
            continue
    return None


def _paused(stack: Stack) -> str | None:
    state = event_source.state(stack)
    return None if state == event_source.ENABLED else f"the stack is paused ({state.lower()}): run `lumendrop resume`"


def _daily_limit(stack: Stack) -> str | None:
    limit = stack.whole_number("DailyTaskLimit")
    if ledger.count_tasks(stack, datetime.now(UTC).date()) < limit:
        return None
    return f"the daily limit of {limit:,} tasks is reached; uploads resume tomorrow (UTC)"


def _logged(stack: Stack) -> str | None:
    """The last reason in the log of submit."""
    found = stack.client("logs").filter_log_events(
        logGroupName=stack.resource("SubmitLogs"),
        filterPattern='"upload requeued"',
        startTime=int((time.time() - _RECENT_SECONDS) * 1000),
        limit=1000,
    )
    events = sorted(found["events"], key=lambda event: event["timestamp"])
    for event in reversed(events):
        reason = _reason(event["message"])
        if reason:
            return REASONS.get(reason, reason)
    return None


def _lost(stack: Stack) -> str | None:
    """An upload that is neither in the queue nor in the ledger, if that lasts."""
    if upload_queue.count_messages(stack, stack.output("UploadQueueUrl")):
        return None
    return "the upload queue is empty; if this lasts, `lumendrop backfill` sends what is missing, unpaid"


def _reason(message: str) -> str | None:
    try:
        line: Any = json.loads(message)
    except (ValueError, RecursionError):
        return None
    reason = line.get("reason") if isinstance(line, dict) and line.get("message") == "upload requeued" else None
    return str(reason) if reason else None
