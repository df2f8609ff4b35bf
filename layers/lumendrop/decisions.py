"""Decides what `submit` does with a message, from the ledger's row, the photo, the message, and the settings.

`decide` is pure: it reads and writes nothing. The row comes first. If the row alone determines what to do, the state of
the object does not matter, and neither do the rate limiter and the circuit breaker, which hold back only a claim.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from lumendrop import outcomes
from lumendrop.ledger import IN_PROGRESS, LATE_SECONDS, RESENDABLE, Holder, PaidTask, Row
from lumendrop.options import Options
from lumendrop.outcomes import Outcome
from lumendrop.storage import Reusable, Source
from lumendrop.upload_queue import Message
from lumendrop.uploads import Upload

AmbiguousSubmit = Literal["park", "retry"]
SamePhoto = Literal["reuse", "pay"]

_DENIED_REQUEUES = 130  # about a day: delays grow to 15 minutes


class Twin(msgspec.Struct, frozen=True):
    """Another upload of the same photo, its row, and its enhanced photo, as far as they still exist."""

    holder: Holder
    row: Row | None = None
    result: Reusable | None = None

    def is_in_progress(self, now: float) -> bool:
        """Whether its end has to be waited for. An end that is much too late is not."""
        if self.row is None or self.row.status not in IN_PROGRESS:
            return False
        due = self.row.claim_expires if self.row.status == "claimed" else self.row.deadline
        return now < (due or 0) + LATE_SECONDS


class Photo(msgspec.Struct, frozen=True):
    """An upload that can be enhanced, and the options that its task gets.

    `key` identifies its bytes and options (see `ledger.photo_key`), and `twin` is another upload that has them. Both
    are None if each upload is paid for.
    """

    source: Source
    options: Options
    key: str | None = None
    twin: Twin | None = None


class Inspect(msgspec.Struct, frozen=True):
    """Read the object, then decide again."""


class Skip(msgspec.Struct, frozen=True):
    """Nothing is left to do."""

    reason: str


class StartWorkflow(msgspec.Struct, frozen=True):
    """Start the workflow that waits for the row's task or reports its outcome, unless it was already started."""

    row: Row


class FindCopy(msgspec.Struct, frozen=True):
    """The upload ended without a photo. Look for a copy that another run made and did not live to record."""

    row: Row


class Claim(msgspec.Struct, frozen=True):
    """Claim the upload, as the next attempt after `previous`, and create a task."""

    photo: Photo
    previous: Row | None = None


class Reuse(msgspec.Struct, frozen=True):
    """Copy the enhanced photo of the twin, as the next attempt after `previous`. It costs nothing."""

    photo: Photo
    row: Row
    result: Reusable
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
    """Requeue the message for `seconds`, or with a growing delay."""

    reason: str
    message: str
    seconds: float | None = None


_WAIT_FOR_ACCESS = Wait("access_denied", "S3 refuses to return the upload (AccessDenied)")

Action = Inspect | Skip | StartWorkflow | FindCopy | Claim | Reuse | Reject | EndRetry | MarkUnknown | RecordTask | Wait


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
        return _first(upload, photo, message, now)
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
            return _pay_or_reuse(photo, row, message, now)
        if _may_be_allowed(photo, message):
            return _WAIT_FOR_ACCESS
    if row.status == "retrying":
        return EndRetry(row, row.outcome or outcomes.outcome("retry_not_sent"))
    if not row.is_reported:
        return StartWorkflow(row)
    return FindCopy(row) if row.status in RESENDABLE else Skip("already ended")


def may_resubmit(row: Row, message: Message, policy: AmbiguousSubmit) -> bool:
    """Whether another task may be paid for."""
    return row.may_resubmit(message.resend_after, retry_ambiguous=policy == "retry", pay_again=message.pay_again)


def _first(upload: Upload, photo: Photo | Outcome | None, message: Message, now: float) -> Action:
    if upload.is_folder_marker:
        return Skip("folder marker")
    if photo is None:
        return Inspect()
    if isinstance(photo, Photo):
        return _pay_or_reuse(photo, None, message, now)
    return _WAIT_FOR_ACCESS if _may_be_allowed(photo, message) else Reject(photo)


def _may_be_allowed(rejected: Outcome, message: Message) -> bool:
    """Whether access to the object may still be allowed, for example by an update of the stack or of a key's policy."""
    return rejected.code == "access_denied" and message.requeue_count < _DENIED_REQUEUES


def _pay_or_reuse(photo: Photo, previous: Row | None, message: Message, now: float) -> Action:
    twin = photo.twin
    if twin is None or message.pay_again:
        return Claim(photo, previous)
    if twin.is_in_progress(now):
        return Wait("same_photo", "another upload of the same photo is in progress")
    if twin.row and twin.result:
        return Reuse(photo, twin.row, twin.result, previous)
    return Claim(photo, previous)


def _claimed(row: Row, now: float) -> Action:
    expires = row.claim_expires or 0
    if now >= expires:
        return MarkUnknown(row)
    return Wait("claimed", "another run is submitting this upload", expires - now + 1)
