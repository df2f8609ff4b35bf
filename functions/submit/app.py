"""Submits one upload: reads its row and the object, decides, and acts: usually it creates one task, and records it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext
from botocore.exceptions import BotoCoreError, ClientError
from msgspec import Meta

from lumendrop import clients, options, outcomes, same_photo, settings, storage, upload_queue, uploads, workflow
from lumendrop.api_key import ApiKey
from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.decisions import (
    AmbiguousSubmit,
    Claim,
    EndRetry,
    Inspect,
    MarkUnknown,
    Photo,
    RecordTask,
    Reject,
    Reuse,
    SamePhoto,
    Skip,
    StartWorkflow,
    Wait,
    decide,
    may_resubmit,
)
from lumendrop.enhancer import Ambiguous, Enhancer, Refused, Unavailable
from lumendrop.ledger import DailyLimitReached, Ledger, LedgerBusy, PaidTask, PhotoHeld, Row
from lumendrop.outcomes import Outcome, Rejected
from lumendrop.rate_limiter import DynamoDBRateStore, RateLimiter
from lumendrop.telemetry import count, follow, log_context, logger, metrics
from lumendrop.throttle import RETRY_SECONDS, Throttle
from lumendrop.upload_queue import Deferred, Message
from lumendrop.uploads import BackfillItem, Upload


class Settings(msgspec.Struct, frozen=True):
    """The parameters of template.yaml with these names describe them."""

    api_base_url: str
    key_secret_arn: str
    resolution: str
    creativity: str
    resemblance: str
    profile_ids: str
    max_upload_bytes: Annotated[int, Meta(gt=0)]
    max_concurrent_submits: Annotated[int, Meta(gt=0)]
    daily_task_limit: Annotated[int, Meta(gt=0)]
    max_wait_minutes: Annotated[int, Meta(gt=0)]
    ambiguous_submit: AmbiguousSubmit
    same_photo: SamePhoto
    ledger_table: str
    upload_queue_url: str
    workflow_arn: str
    bucket_owner: str


SETTINGS = settings.read(Settings)
DEFAULTS = options.defaults(SETTINGS.resolution, SETTINGS.creativity, SETTINGS.resemblance, SETTINGS.profile_ids)
S3 = clients.s3(SETTINGS.bucket_owner)
SQS = clients.sqs()
STEPFUNCTIONS = clients.stepfunctions()
DYNAMODB = clients.dynamodb()
LEDGER = Ledger(DYNAMODB, SETTINGS.ledger_table, SETTINGS.daily_task_limit)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))
RATE_LIMITER = RateLimiter(DynamoDBRateStore(DYNAMODB, SETTINGS.ledger_table), SETTINGS.max_concurrent_submits)
THROTTLE = Throttle(CircuitBreaker(), RATE_LIMITER, ENHANCER.probe)

_SUBMIT_SECONDS = 40  # claim, POST, record, start of the workflow
_POST_SECONDS = 36
_QUEUE_SECONDS = 15  # to send a task that could not be recorded to the queue


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Handles one SQS message (BatchSize is 1). An exception sends it to the dead-letter queue after five receives."""
    ends = time.time() + context.get_remaining_time_in_millis() / 1000
    for message in upload_queue.messages(event):
        handle_message(message, ends)


def handle_message(message: Message, ends: float) -> None:
    found = uploads.parse_event(message.body)
    upload = storage.resolve_version(S3, found) if isinstance(found, BackfillItem) else found
    if upload is None:
        logger.append_keys(upload=found.uri)
        skip("deleted")
        return
    with log_context(upload.correlation_id, upload=upload.uri, version_id=upload.version_id):
        process_upload(upload, message, ends)


def skip(reason: str) -> None:
    count("UploadsSkipped")
    logger.info("upload skipped", extra={"reason": reason})


def process_upload(upload: Upload, message: Message, ends: float) -> None:
    """Submits the upload and starts its workflow, or requeues it. Lambda kills the function at `ends`."""
    try:
        row = submit_with_backoff(upload, message, ends)
    except storage.OwnResult:
        skip("enhanced photo")
        return
    except Deferred as error:
        requeue(message, error)
        return
    if row is not None:
        logger.info("upload processed", extra={"status": row.status, "task_id": row.task_id, "attempt": row.attempt})
        workflow.start(STEPFUNCTIONS, SETTINGS.workflow_arn, row)


def requeue(message: Message, error: Deferred) -> None:
    """Sends a copy to the queue, unless another copy of the same message already continues."""
    if not (error.task or message.task or is_current(message)):
        skip("stale copy")
        return
    count("UploadsWaiting")
    seconds = upload_queue.requeue(SQS, SETTINGS.upload_queue_url, message, error)
    extra = {"reason": error.reason, "detail": str(error), "seconds": seconds}
    logger.warning("upload requeued", extra=extra | {"requeue_count": message.requeue_count + 1})


def is_current(message: Message) -> bool:
    try:
        return LEDGER.take_requeue(message.chain, message.requeue_count + 1, message.message_id)
    except (BotoCoreError, ClientError):
        return True  # a copy too many is better than a lost upload


def submit_with_backoff(upload: Upload, message: Message, ends: float) -> Row | None:
    """Retries transient errors for some seconds, because that is cheaper than requeuing the upload."""
    while True:
        try:
            return submit(upload, message, ends)
        except Deferred as error:
            wait = max(error.seconds or 0, RETRY_SECONDS)
            if not error.transient or time.time() + wait > ends - _SUBMIT_SECONDS:
                raise
            logger.warning("submit retried", extra={"reason": error.reason, "detail": str(error), "seconds": wait})
            time.sleep(wait)


def submit(upload: Upload, message: Message, ends: float) -> Row | None:
    """Changes the row until only its workflow has to be started. Returns that row, or None if nothing is left to do."""
    row, photo = LEDGER.read(upload), None
    if row is None and not message.requeue_count:
        count("UploadsReceived")
    while True:
        match decide(upload, row, photo, message, SETTINGS.ambiguous_submit, time.time()):
            case Inspect():
                photo = inspect(upload)
                if isinstance(photo, Photo) and photo.source.upload.key != upload.key:  # the key had to be decoded
                    upload = photo.source.upload
                    follow(upload.correlation_id, upload=upload.uri)
                    row = LEDGER.read(upload)
            case Claim(wanted, previous):
                try:
                    row, acquired = claim(wanted, previous, ends)
                except PhotoHeld:
                    photo = same_photo.with_twin(S3, LEDGER, wanted)
                    continue
                row = create_task(row, previous, wanted, message, ends) if acquired else row
            case Reuse() as reusable:
                row = reuse(reusable)
            case Reject(outcome):
                count("UploadsRejected")
                row = LEDGER.reject(upload, outcome)
            case EndRetry(retrying, outcome):
                row = LEDGER.end_retry(retrying, outcome)
            case MarkUnknown(expired):
                row = mark_unknown(expired, "The function that claimed the upload ended without an answer.", message)
            case RecordTask(found, task):
                row = record(found, task, ends)
            case StartWorkflow(found):
                return found
            case Wait(reason, text, seconds):
                raise Deferred(reason, text, seconds)
            case Skip(reason):
                skip(reason)
                return None


def inspect(upload: Upload) -> Photo | Outcome:
    """The photo to enhance, or the reason why it can't be enhanced."""
    if upload.size == 0:
        return outcomes.outcome("empty")
    try:
        source = storage.inspect(S3, upload, SETTINGS.max_upload_bytes)
        photo = Photo(source, options.read(source.metadata, DEFAULTS))
    except Rejected as rejected:
        return rejected.outcome
    if SETTINGS.same_photo == "pay":
        return photo
    return same_photo.with_twin(S3, LEDGER, same_photo.identify(S3, photo))


def reuse(wanted: Reuse) -> Row:
    try:
        row = same_photo.reuse(S3, LEDGER, wanted)
    except storage.LostRace as error:
        raise Deferred("same_photo", str(error)) from None
    count("PhotosReused")
    logger.info("photo reused", extra={"same_as": row.same_as, "status": row.status})
    return row


def claim(photo: Photo, previous: Row | None, ends: float) -> tuple[Row, bool]:
    """Claims the upload. Everything that can fail without cost comes before that. See Ledger.claim."""
    try:
        THROTTLE.wait(ends - _SUBMIT_SECONDS)
        ENHANCER.prepare()
    except Unavailable as error:
        raise unavailable(error) from None
    require_time(ends)
    try:
        holder = photo.twin.holder if photo.twin else None
        seconds, chosen = ends - time.time(), photo.options.as_text()
        return LEDGER.claim(photo.source.upload, chosen, seconds, previous, photo.key, holder)
    except DailyLimitReached as error:
        count("DailyLimitReached")
        raise THROTTLE.stop("daily_limit", str(error)) from None


def require_time(ends: float) -> None:
    """Raises Deferred if Lambda could kill the function before the answer of a POST is recorded."""
    if time.time() > ends - _POST_SECONDS:
        raise Deferred("no_time", "too little time is left to wait for the enhancer's answer", 1)


def unavailable(error: Unavailable) -> Deferred:
    count("AccountBlocked" if error.account else "EnhancerUnavailable")
    return THROTTLE.defer(error)


def create_task(claim: Row, previous: Row | None, photo: Photo, message: Message, ends: float) -> Row:
    """Creates the task of a claim, and records the result. The claim is settled before anything else is written."""
    try:
        require_time(ends)
        THROTTLE.on_send()
        task, sent = ENHANCER.submit_supported(storage.presign(S3, photo.source), photo.options)
    except Deferred:
        LEDGER.release(claim, previous, ends - _QUEUE_SECONDS)
        raise
    except Unavailable as error:
        try:
            LEDGER.release(claim, previous, ends - _QUEUE_SECONDS)
        finally:
            deferred = unavailable(error)
        raise deferred from None
    except Refused as error:
        count("UploadsRejected")
        outcome = outcomes.refused_by_enhancer(error.code, error.message, may_have_cost=bool(claim.earlier))
        row = LEDGER.finish_claim(claim, outcome)
        THROTTLE.on_refused()
        return row
    except Ambiguous as error:
        count("EnhancerUnavailable")
        try:
            return mark_unknown(claim, error.message, message)
        finally:
            THROTTLE.on_ambiguous()
    logger.info("task created", extra={"task_id": task.id, "attempt": claim.attempt, "credits": task.credits})
    count("TasksCreated")
    if task.credits:
        count("CreditsReserved", task.credits)
    if sent != photo.options:
        logger.warning("the enhancer does not support these options", extra={"options": photo.options.as_json()})
    now = int(time.time())
    paid = PaidTask(
        attempt=claim.attempt,
        task_id=task.id,
        options=sent.as_text(),
        submitted_at=now,
        deadline=now + SETTINGS.max_wait_minutes * 60,
        estimated_seconds=task.estimated_seconds,
        credits=task.credits,
    )
    try:
        return record(claim, paid, ends)
    finally:
        THROTTLE.on_accepted()


def record(row: Row, task: PaidTask, ends: float) -> Row:
    """Records a paid task. If that fails until the time is up, the message takes the task to its next delivery."""
    try:
        return LEDGER.record(row, task, ends - _QUEUE_SECONDS)
    except (BotoCoreError, ClientError, LedgerBusy) as error:
        raise Deferred("not_recorded", f"{type(error).__name__}: {error}", task=task) from None


def mark_unknown(claim: Row, detail: str, message: Message) -> Row:
    """Records that a task may have been created. Another one is created only if the owner asks for it."""
    count("SubmitsUnknown")
    row = LEDGER.finish_claim(claim, outcomes.outcome("ambiguous_submit", detail=detail))
    if may_resubmit(row, message, SETTINGS.ambiguous_submit):
        raise Deferred("ambiguous_submit", "the submit was ambiguous and AmbiguousSubmit is retry")
    return row
