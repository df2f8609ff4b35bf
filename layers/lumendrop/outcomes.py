"""The catalogue of every code: what it means, what to do about it, and whether it may have cost money.

Functions take their outcomes from here. The state machines write some of these codes themselves, and the documentation
explains all of them; a test compares all three.
"""

from __future__ import annotations

from typing import Literal

import msgspec

Status = Literal["rejected", "failed", "superseded", "unknown"]


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """Why there is no enhanced photo. Becomes the report, the event, and the final status in the ledger.

    `message` describes what happened and `advice` what to do, in one or two sentences each. `may_have_cost` is False
    only if no task was paid for.
    """

    status: Status
    code: str
    message: str
    advice: str
    may_have_cost: bool


class Entry(msgspec.Struct, frozen=True):
    """An outcome without its code. `message` and `advice` are format strings."""

    status: Status
    message: str
    advice: str
    may_have_cost: bool

    def outcome(self, code: str, **values: object) -> Outcome:
        return Outcome(
            status=self.status,
            code=code,
            message=self.message.format(**values),
            advice=self.advice.format(**values),
            may_have_cost=self.may_have_cost,
        )


class WorkflowError(msgspec.Struct, frozen=True):
    """A code that is only the error of an execution: no report, event, or row has it."""

    message: str
    advice: str


_EXECUTION_ENDED = Entry(
    "failed",
    "The workflow of this photo ended before it had recorded a delivery ({status}).",
    "The task was paid for, and the enhancer keeps its result for 24 hours. If it was just being delivered, the photo "
    "is in the output bucket. To fetch it without paying again: lumendrop fetch KEY, or start the workflow once more "
    "with the input of the execution {execution}.",
    may_have_cost=True,
)
_FETCH_FIRST = (
    "The task was paid for. Its result lives 24 hours, and lumendrop fetch KEY fetches it again without paying. "
)
_RESULT_ADVICE = _FETCH_FIRST + "After that, show the vendor the task ID. To pay for a new task: lumendrop retry KEY."

CATALOGUE = {
    # From submit, before anything is paid for.
    "bucket_not_versioned": Entry(
        "rejected",
        "Versioning is off or suspended on the bucket {bucket}, so there is no record of which photo was paid for.",
        "Enable versioning on the bucket, then upload the photo again.",
        may_have_cost=False,
    ),
    "upload_gone": Entry(
        "rejected",
        "This version of the object was deleted before it could be enhanced.",
        "If that was not intended, upload the photo again.",
        may_have_cost=False,
    ),
    "archived": Entry(
        "rejected",
        "The upload is archived (S3 Glacier) and can't be read until it is restored.",
        "Upload the photo in another storage class, or restore it and send it again.",
        may_have_cost=False,
    ),
    "access_denied": Entry(
        "rejected",
        "For a day, S3 refused to return the upload (AccessDenied).",
        "Allow the role of the submit function to read it: check the bucket's policy, and the policy of the KMS key "
        "that encrypts the object. Then send it again: lumendrop retry KEY.",
        may_have_cost=False,
    ),
    "unreadable": Entry(
        "rejected",
        "S3 does not return the upload. {detail}",
        "Upload the photo with the bucket's default encryption, or enable the key and send it again: "
        "lumendrop retry KEY.",
        may_have_cost=False,
    ),
    "empty": Entry(
        "rejected",
        "The upload is empty (0 bytes).",
        "If it was not complete, upload the photo again.",
        may_have_cost=False,
    ),
    "too_big": Entry(
        "rejected",
        "The upload has {size} bytes; this stack enhances at most {limit}.",
        "Upload a smaller file, or raise the stack's MaxUploadBytes.",
        may_have_cost=False,
    ),
    "not_an_image": Entry(
        "rejected",
        "{detail}",
        "Upload the photo in one of these formats.",
        may_have_cost=False,
    ),
    "truncated": Entry("rejected", "{detail}", "Upload the whole file.", may_have_cost=False),
    "unsupported_image": Entry(
        "rejected",
        "{detail}",
        "Convert the image to an ordinary JPEG, PNG, WebP, or HEIC file, then upload that.",
        may_have_cost=False,
    ),
    "larger_than_result": Entry(
        "rejected",
        "The upload has {upload} pixels, and its result at {resolution} would have about {result}, which is fewer.",
        "To enhance it anyway, choose another resolution (--metadata resolution=4K), or set LargerThanResult: enhance.",
        may_have_cost=False,
    ),
    "too_many_pixels": Entry("rejected", "{detail}", "Upload a smaller image.", may_have_cost=False),
    "invalid_option": Entry(
        "rejected",
        "The option {name} is {value!r}; it must be {expected}.",
        "Upload the photo again with another value, for example --metadata {name}=…, or without it.",
        may_have_cost=False,
    ),
    # From submit, after the request may have been accepted.
    "ambiguous_submit": Entry(
        "unknown",
        "It is unknown whether a task was created and paid for. {detail}",
        "Check the vendor's account for a task that was charged at that time. "
        "To send the photo again, and possibly pay twice: lumendrop retry KEY, or upload it again.",
        may_have_cost=True,
    ),
    # From check_status.
    "task_not_found": Entry(
        "failed",
        "The enhancer does not know the task that it accepted ({polls} polls).",
        "The task was paid for. If the vendor finds it again, its result lives 24 hours, and lumendrop fetch KEY "
        "fetches it without paying. Otherwise, show the vendor the task ID. To pay for a new one: lumendrop retry KEY.",
        may_have_cost=True,
    ),
    # From submit, if the workflow of an earlier version did not record how the last attempt had ended.
    "retry_not_sent": Entry(
        "failed",
        "The last task failed for a temporary reason, and the photo could not be sent again, because it can't be read.",
        "The task was paid for. To pay for a new one, upload the photo again.",
        may_have_cost=True,
    ),
    # From deliver.
    "result_refused": Entry("failed", "The result was refused. {detail}", _RESULT_ADVICE, may_have_cost=True),
    "result_not_an_image": Entry("failed", "The result is not an image.", _RESULT_ADVICE, may_have_cost=True),
    "result_incomplete": Entry(
        "failed",
        "The result is not a complete image, and a second download was identical. {detail}",
        _RESULT_ADVICE,
        may_have_cost=True,
    ),
    "result_format_unsupported": Entry(
        "failed",
        "The result is {format}, which this version can't deliver.",
        "The task was paid for, and its result lives 24 hours. Ask the vendor for the file by its task ID, or update "
        "the stack and run lumendrop fetch KEY. Another task would probably have a result of the same format.",
        may_have_cost=True,
    ),
    "newer_upload_delivered": Entry(
        "superseded",
        "A newer upload of this key was enhanced first. Its photo is in the output bucket and is not replaced.",
        "No action is needed.",
        may_have_cost=True,
    ),
    # From the workflow.
    "deadline_passed": Entry(
        "failed",
        "The task had not ended, or its result could not be fetched, by the deadline ({deadline}).{remark}",
        "The task was paid for and may still end; the enhancer keeps its result for 24 hours. To fetch it without "
        "paying again: lumendrop fetch KEY, or start the workflow once more with the input of this execution. If "
        "photos often take longer, raise MaxWaitMinutes.",
        may_have_cost=True,
    ),
    "execution_aborted": _EXECUTION_ENDED,
    "execution_timed_out": _EXECUTION_ENDED,
    "execution_failed": _EXECUTION_ENDED,
}

UNEXPLAINED_CODES = frozenset({"unknown_error", "task_expired", "request_cancelled", "resource_not_found"})
"""Codes of failed tasks that say nothing about the photo."""

# The enhancer's own codes are passed on. The vendor can add new ones at any time.
ENHANCER_REFUSED = Entry(
    "rejected",
    "The enhancer refused this photo. {detail}.",
    "Change the photo or its options, then upload it again.",
    may_have_cost=False,
)
TASK_FAILED = Entry(
    "failed",
    "The enhancer's task failed: {detail}.",
    "Another task would fail in the same way. Change the photo or its options before you upload it again.",
    may_have_cost=True,
)
TASK_FAILED_UNEXPLAINED = Entry(
    "failed",
    "The enhancer's task failed: {detail}.",
    "The enhancer gave no known reason, so another task may succeed or fail. Show the vendor the task ID. To pay for a "
    "new task: lumendrop retry KEY.",
    may_have_cost=True,
)
TASK_FAILED_RETRYABLE = Entry(
    "failed",
    "The enhancer's task failed: {detail}.",
    "Every task for this photo failed for a temporary reason. To pay for a new one, upload the photo again later.",
    may_have_cost=True,
)

WORKFLOW_ERRORS = {
    "not_recorded": WorkflowError(
        "The enhanced photo is in the output bucket, but the ledger could not be updated within five minutes.",
        "Run lumendrop fetch KEY, which records it without paying again.",
    ),
    "not_reported": WorkflowError(
        "The report could not be written within five minutes ({code}): {message} {advice}",
        "Fix the cause, then start the workflow once more with the input of this execution.",
    ),
    # From the backfill.
    "outside_input_prefix": WorkflowError(
        "Only uploads below {input_prefix} are enhanced; {prefix} is not.",
        "Choose a prefix below it, or change InputPrefix.",
    ),
    "not_versioned": WorkflowError(
        "The input bucket is not versioned.", "Enable versioning, then start the backfill again."
    ),
    "not_all_sent": WorkflowError(
        "Some photos were not sent to the upload queue: {detail}",
        "Fix that, then start the backfill again; nothing is paid for twice.",
    ),
    # Errors of its child executions, which become the `detail` of `not_all_sent`.
    "not_sent": WorkflowError("{detail}", ""),
    "batch_not_sent": WorkflowError("{detail}", ""),
}


class Rejected(Exception):
    """The upload can't be enhanced and nothing was paid for; `outcome` is the reason."""

    def __init__(self, code: str, **values: object) -> None:
        self.outcome = outcome(code, **values)
        super().__init__(f"{code}: {self.outcome.message}")


def outcome(code: str, **values: object) -> Outcome:
    """The outcome of a code of the catalogue, with the values that its texts name."""
    return CATALOGUE[code].outcome(code, **values)


def refused_by_enhancer(code: str, detail: str, *, may_have_cost: bool) -> Outcome:
    """The enhancer refused to create a task for this photo. An earlier attempt may have been paid for."""
    refused = ENHANCER_REFUSED.outcome(code, detail=detail.rstrip(". "))
    return msgspec.structs.replace(refused, may_have_cost=may_have_cost)


def task_failed(code: str, detail: str, *, retryable: bool) -> Outcome:
    """The enhancer's task ended without a result."""
    entry = TASK_FAILED_UNEXPLAINED if code in UNEXPLAINED_CODES else TASK_FAILED
    return (TASK_FAILED_RETRYABLE if retryable else entry).outcome(code, detail=detail.rstrip(". "))
