"""The ledger's status values: what each one means to the owner, and what a command can do with it."""

from __future__ import annotations

ENHANCED = "enhanced"
SUBMITTED = "submitted"
CLAIMED = "claimed"
UNKNOWN = "unknown"
# Not a status of the ledger: the row has no status, or an attribute that no version writes.
INCOMPLETE = "incomplete"

DESCRIPTIONS = {
    CLAIMED: "its task is being created now",
    SUBMITTED: "paid for; the workflow waits for the task or delivers the result",
    "retrying": "its task failed for a temporary reason; the next task follows automatically",
    ENHANCED: "in the output bucket",
    "superseded": "a newer upload of this key was delivered first",
    "rejected": "can't be enhanced; nothing was paid",
    "failed": "no enhanced photo; it may have been paid for",
    UNKNOWN: "it is not known whether a task was created and paid for",
}

IN_PROGRESS = frozenset({CLAIMED, SUBMITTED, "retrying"})

# Of a status in a list.
COLORS = {
    ENHANCED: "green",
    "superseded": "yellow",
    "rejected": "red",
    "failed": "red",
    UNKNOWN: "red",
}

# Sets with the names that they have in the ledger, which a test compares.
FINAL = frozenset(COLORS)
# submit creates another task only for these statuses. It checks the row again when the message arrives.
RESENDABLE = frozenset({"failed", "rejected", UNKNOWN})
# An upload stays submitted if its execution ended before it could record the outcome.
FETCHABLE = frozenset({"failed", SUBMITTED})

# Codes of failures whose task has a result, or may have one, so that `lumendrop fetch` comes before `lumendrop retry`.
RESULT_MAY_EXIST = frozenset(
    {
        "deadline_passed",
        "execution_aborted",
        "execution_failed",
        "execution_timed_out",
        "result_format_unsupported",
        "result_incomplete",
        "result_not_an_image",
        "result_refused",
        "task_not_found",
    }
)

# Codes of rejections that another attempt can't change, because a version's bytes and metadata never change.
REJECTED_AGAIN = frozenset(
    {
        "empty",
        "not_an_image",
        "truncated",
        "unsupported_image",
        "too_many_pixels",
        "invalid_option",
        "bucket_not_versioned",
        "upload_gone",
    }
)
TOO_BIG = "too_big"
# Codes of rejections that another attempt may not repeat: the owner can restore it, allow access, or raise a limit.
MAY_BE_ACCEPTED = frozenset({"access_denied", "archived", "larger_than_result", "unreadable", TOO_BIG})
