"""The ledger's status values: what each one means to the owner, and what a command can do with it."""

from __future__ import annotations

ENHANCED = "enhanced"
SUBMITTED = "submitted"
UNKNOWN = "unknown"

DESCRIPTIONS = {
    "claimed": "its task is being created now",
    SUBMITTED: "paid for; the workflow waits for the task or delivers the result",
    "retrying": "its task failed for a temporary reason; the next task follows automatically",
    ENHANCED: "in the output bucket",
    "superseded": "a newer upload of this key was delivered first",
    "rejected": "can't be enhanced; nothing was paid",
    "failed": "no enhanced photo; it may have been paid for",
    UNKNOWN: "it is not known whether a task was created and paid for",
}

# submit creates another task only for these statuses. It checks the row again when the message arrives.
RETRYABLE = frozenset({"failed", "rejected", "superseded", UNKNOWN})
# An upload stays submitted if its execution ended before it could record the outcome.
FETCHABLE = frozenset({"failed", SUBMITTED})
