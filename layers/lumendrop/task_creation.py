"""Creates the task of an upload and records it: the only steps that cost money."""

from __future__ import annotations

from collections.abc import Callable

from botocore.exceptions import BotoCoreError, ClientError

from lumendrop import outcomes
from lumendrop.decisions import AmbiguousSubmit, Photo, may_resubmit
from lumendrop.enhancer import Ambiguous, Enhancer, Refused, Unavailable
from lumendrop.ledger import DailyLimitReached, Ledger, LedgerBusy, PaidTask, Row, UnreadableRow
from lumendrop.storage import Source
from lumendrop.telemetry import count, logger
from lumendrop.throttle import Throttle
from lumendrop.upload_queue import Deferred, Message

SUBMIT_SECONDS = 40
"""For a claim, the POST, the record, and the start of the workflow."""

_POST_SECONDS = 36
_QUEUE_SECONDS = 15  # to send a task that could not be recorded to the queue


class TaskCreator:
    """Creates tasks. `presign` returns a URL of a photo, and `now` the time in seconds since the epoch.

    `ends` is the time at which Lambda kills the function.
    """

    def __init__(
        self,
        ledger: Ledger,
        enhancer: Enhancer,
        throttle: Throttle,
        presign: Callable[[Source], str],
        *,
        policy: AmbiguousSubmit,
        most_wait_seconds: int,
        now: Callable[[], float],
    ) -> None:
        self.ledger = ledger
        self.enhancer = enhancer
        self.throttle = throttle
        self.presign = presign
        self._policy = policy
        self._most_wait_seconds = most_wait_seconds
        self._now = now

    def claim(self, photo: Photo, previous: Row | None, ends: float) -> tuple[Row, bool]:
        """Claims the upload. Everything that can fail without cost comes before that. See Ledger.claim."""
        try:
            self.throttle.wait(ends - SUBMIT_SECONDS)
            self.enhancer.prepare()
        except Unavailable as error:
            raise self._unavailable(error) from None
        self._require_time(ends)
        try:
            held = (photo.twin.holder, photo.twin.row) if photo.twin else ()
            seconds, chosen = ends - self._now(), photo.options.as_text()
            return self.ledger.claim(photo.source.upload, chosen, seconds, previous, photo.key, *held)
        except DailyLimitReached as error:
            count("DailyLimitReached")
            raise self.throttle.stop("daily_limit", str(error)) from None

    def _require_time(self, ends: float) -> None:
        """Raises Deferred if Lambda could kill the function before the answer of a POST is recorded."""
        if self._now() > ends - _POST_SECONDS:
            raise Deferred("no_time", "too little time is left to wait for the enhancer's answer", 1)

    def _unavailable(self, error: Unavailable) -> Deferred:
        count("AccountBlocked" if error.account else "EnhancerUnavailable")
        return self.throttle.defer(error)

    def create(self, claim: Row, previous: Row | None, photo: Photo, message: Message, ends: float) -> Row:
        """Creates the task of a claim, and records the result. The claim is settled before anything else is written."""
        try:
            self._require_time(ends)
            self.throttle.on_send()
            task, sent = self.enhancer.submit_supported(self.presign(photo.source), photo.options)
        except Deferred:
            self.ledger.release(claim, previous, ends - _QUEUE_SECONDS)
            raise
        except Unavailable as error:
            try:
                self.ledger.release(claim, previous, ends - _QUEUE_SECONDS)
            finally:
                deferred = self._unavailable(error)
            raise deferred from None
        except Refused as error:
            count("UploadsRejected")
            outcome = outcomes.refused_by_enhancer(error.code, error.message, may_have_cost=bool(claim.earlier))
            row = self.ledger.finish_claim(claim, outcome)
            self.throttle.on_refused()
            return row
        except Ambiguous as error:
            count("EnhancerUnavailable")
            try:
                return self.mark_unknown(claim, error.message, message)
            finally:
                self.throttle.on_ambiguous()
        logger.info("task created", extra={"task_id": task.id, "attempt": claim.attempt, "credits": task.credits})
        count("TasksCreated")
        if task.credits:
            count("CreditsReserved", task.credits)
        if sent != photo.options:
            logger.warning("the enhancer does not support these options", extra={"options": photo.options.as_json()})
        now = int(self._now())
        paid = PaidTask(
            attempt=claim.attempt,
            task_id=task.id,
            options=sent.as_text(),
            submitted_at=now,
            deadline=now + self._most_wait_seconds,
            estimated_seconds=task.estimated_seconds,
            credits=task.credits,
        )
        try:
            return self.record(claim, paid, ends)
        finally:
            self.throttle.on_accepted()

    def record(self, row: Row, task: PaidTask, ends: float) -> Row:
        """Records a paid task. If that fails until the time is up, the message takes the task to its next delivery."""
        try:
            return self.ledger.record(row, task, ends - _QUEUE_SECONDS)
        except (BotoCoreError, ClientError, LedgerBusy, UnreadableRow) as error:
            raise Deferred("not_recorded", f"{type(error).__name__}: {error}", task=task) from None

    def mark_unknown(self, claim: Row, detail: str, message: Message) -> Row:
        """Records that a task may have been created. Another one is created only if the owner asks for it."""
        count("SubmitsUnknown")
        row = self.ledger.finish_claim(claim, outcomes.outcome("ambiguous_submit", detail=detail))
        if may_resubmit(row, message, self._policy):
            raise Deferred("ambiguous_submit", "the submit was ambiguous and AmbiguousSubmit is retry")
        return row
