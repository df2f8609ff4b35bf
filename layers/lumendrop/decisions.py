"""Decides what `submit` does with a message, from the ledger's row, the photo, the message, and the settings.

`decide` is pure: it reads and writes nothing. The row comes first. If the row alone determines what to do, the state of
the object does not matter, and neither do the rate limiter and the circuit breaker, which hold back only a claim.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from lumendrop import outcomes
from lumendrop.ledger import PaidTask, Row
from lumendrop.options import Options
from lumendrop.outcomes import Outcome
from lumendrop.storage import Source
from lumendrop.upload_queue import Message
from lumendrop.uploads import Upload

AmbiguousSubmit = Literal["park", "retry"]


class Photo(msgspec.Struct, frozen=True):
    """An upload that can be enhanced, and the options that its task gets."""

    source: Source
    options: Options


class Inspect(msgspec.Struct, frozen=True):
    """Read the object, then decide again."""


class Skip(msgspec.Struct, frozen=True):
    """Nothing is left to do."""

    reason: str


class StartWorkflow(msgspec.Struct, frozen=True):
    """Start the workflow that waits for the row's task or reports its outcome, unless it was already started."""

    row: Row


class Claim(msgspec.Struct, frozen=True):
    """Claim the upload, as the next attempt after `previous`, and create a task."""

    photo: Photo
    previous: Row | None = None


class Reject(msgspec.Struct, frozen=True):
    """Record that the upload can't be enhanced, and report it."""

    outcome: Outcome


class EndRetry(msgspec.Struct, frozen=True):
    """End a retry that can't be sent in the way that its last attempt ended, and report it."""

    row: Row
    outcome: Outcome


class MarkUnknown(msgspec.Struct, frozen=True):
    """The function that made this claim has ended without an answer, so a task may have been created."""

    claim: Row


class RecordTask(msgspec.Struct, frozen=True):
    """Record the paid task that the message carries."""

    row: Row
    task: PaidTask


class Wait(msgspec.Struct, frozen=True):
    """Requeue the message for `seconds`."""

    reason: str
    message: str
    seconds: float


Action = Inspect | Skip | StartWorkflow | Claim | Reject | EndRetry | MarkUnknown | RecordTask | Wait


def decide(
    upload: Upload,
    row: Row | None,
    photo: Photo | Outcome | None,
    message: Message,
    policy: AmbiguousSubmit,
    now: float,
) -> Action:
    """The one action for a message. `photo` is None if the object was not inspected, an outcome if it is rejected."""
    if row is None:
        return _first(upload, photo)
    if row.status in ("claimed", "unknown") and message.task and message.task.attempt == row.attempt:
        return RecordTask(row, message.task)
    if row.status == "claimed":
        return _claimed(row, now)
    if row.status == "submitted":
        return StartWorkflow(row)
    if may_resubmit(row, message, policy):
        if photo is None:
            return Inspect()
        if isinstance(photo, Photo):
            return Claim(photo, row)
    if row.status == "retrying":
        return EndRetry(row, row.outcome or outcomes.outcome("retry_not_sent"))
    return StartWorkflow(row) if not row.is_reported else Skip("already ended")


def may_resubmit(row: Row, message: Message, policy: AmbiguousSubmit) -> bool:
    """Whether another task may be paid for."""
    return row.may_resubmit(message.resend_after, retry_ambiguous=policy == "retry")


def _first(upload: Upload, photo: Photo | Outcome | None) -> Action:
    if upload.is_folder_marker:
        return Skip("folder marker")
    if photo is None:
        return Inspect()
    return Claim(photo) if isinstance(photo, Photo) else Reject(photo)


def _claimed(row: Row, now: float) -> Action:
    expires = row.claim_expires or 0
    if now >= expires:
        return MarkUnknown(row)
    return Wait("claimed", "another run is submitting this upload", expires - now + 1)
