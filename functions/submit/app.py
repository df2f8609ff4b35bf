"""Submits one upload: inspects it, claims it, creates one task, records the task, and starts the workflow."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from lumendrop import clients, options, outcomes, settings, storage, upload_queue, uploads, workflow
from lumendrop.api_key import ApiKey
from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.enhancer import Ambiguous, Enhancer, Refused, Unavailable
from lumendrop.ledger import DailyLimitReached, Ledger, Row
from lumendrop.options import Options
from lumendrop.outcomes import Rejected
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
    ambiguous_submit: Literal["park", "retry"]
    ledger_table: str
    upload_queue_url: str
    workflow_arn: str


SETTINGS = settings.read(Settings)
DEFAULTS = options.defaults(SETTINGS.resolution, SETTINGS.creativity, SETTINGS.resemblance, SETTINGS.profile_ids)
S3 = clients.s3()
SQS = clients.sqs()
STEPFUNCTIONS = clients.stepfunctions()
DYNAMODB = clients.dynamodb()
LEDGER = Ledger(DYNAMODB, SETTINGS.ledger_table, SETTINGS.daily_task_limit)
RATE_LIMITER = RateLimiter(DynamoDBRateStore(DYNAMODB, SETTINGS.ledger_table), SETTINGS.max_concurrent_submits)
THROTTLE = Throttle(CircuitBreaker(), RATE_LIMITER)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))

_LONGEST_SUBMIT_SECONDS = 40  # claim, POST, record, start of the workflow


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Handles one SQS message (BatchSize is 1). An exception sends it to the dead-letter queue after five receives."""
    for message in upload_queue.messages(event):
        handle_message(message, context)


def handle_message(message: Message, context: LambdaContext) -> None:
    found = uploads.parse_event(message.body)
    upload = resolve(found) if isinstance(found, BackfillItem) else found
    if upload is not None:
        with log_context(upload.correlation_id, upload=upload.uri, version_id=upload.version_id):
            process_upload(upload, message, context)


def resolve(item: BackfillItem) -> Upload | None:
    """The object's current version, or None if it was deleted or, like most objects of a backfill, has ended."""
    logger.append_keys(upload=item.uri)
    upload = storage.resolve_version(S3, item)
    if upload is not None and not LEDGER.is_final(upload):
        return upload
    skip("already ended" if upload else "deleted")
    return None


def skip(reason: str) -> None:
    count("UploadsSkipped")
    logger.info("upload skipped", extra={"reason": reason})


def process_upload(upload: Upload, message: Message, context: LambdaContext) -> None:
    """Submits the upload and starts its workflow, or requeues it."""
    if not message.requeue_count:
        count("UploadsReceived")
    if reason := upload.reason_to_skip():
        skip(reason)
        return
    try:
        row = submit_with_backoff(upload, message, context)
    except Deferred as error:
        count("UploadsWaiting")
        seconds = upload_queue.requeue(SQS, SETTINGS.upload_queue_url, message, error)
        extra = {"reason": error.reason, "detail": str(error), "seconds": seconds}
        logger.warning("upload requeued", extra=extra | {"requeue_count": message.requeue_count + 1})
        return
    logger.info("upload processed", extra={"status": row.status, "task_id": row.task_id, "attempt": row.attempt})
    if row.needs_workflow:
        workflow.start(STEPFUNCTIONS, SETTINGS.workflow_arn, row)


def submit_with_backoff(upload: Upload, message: Message, context: LambdaContext) -> Row:
    """Retries transient errors for some seconds, because that is cheaper than requeuing the upload."""
    deadline = time.time() + context.get_remaining_time_in_millis() / 1000 - _LONGEST_SUBMIT_SECONDS
    while True:
        try:
            return submit(upload, message, context, deadline)
        except Deferred as error:
            wait = max(error.seconds or 0, RETRY_SECONDS)
            if not error.transient or time.time() + wait > deadline:
                raise
            logger.warning("submit retried", extra={"reason": error.reason, "detail": str(error), "seconds": wait})
            time.sleep(wait)


def submit(upload: Upload, message: Message, context: LambdaContext, deadline: float) -> Row:
    """Everything that can fail without cost comes before the claim; the claim comes immediately before the POST."""
    try:
        source = storage.inspect(S3, upload, SETTINGS.max_upload_bytes)
        follow(source.upload.correlation_id, upload=source.upload.uri)  # differs if the key had to be decoded
        wanted = options.read(source.metadata, DEFAULTS)
    except Rejected as rejected:
        count("UploadsRejected")
        return LEDGER.reject(upload, rejected.outcome)
    THROTTLE.wait(deadline)
    url = storage.presign(S3, source)
    previous, seconds = None, context.get_remaining_time_in_millis() / 1000
    try:
        row, acquired = LEDGER.claim(source.upload, wanted.as_text(), seconds)
        if not acquired and may_resubmit(row, message):
            previous = row
            row, acquired = LEDGER.claim(source.upload, wanted.as_text(), seconds, previous)
    except DailyLimitReached as error:
        count("DailyLimitReached")
        raise THROTTLE.stop("daily_limit", str(error)) from None
    return create_task(row, previous, url, wanted, message) if acquired else resolve_existing(row, message)


def may_resubmit(row: Row, message: Message) -> bool:
    return row.may_resubmit(message.resend_after, retry_ambiguous=SETTINGS.ambiguous_submit == "retry")


def resolve_existing(row: Row, message: Message) -> Row:
    """Handles the row of another run: waits for a claim that may be in use, marks an expired one as unknown."""
    if row.status != "claimed":
        return row
    if LEDGER.has_expired(row):
        return mark_unknown(row, "The function that claimed the upload ended before it recorded the answer.", message)
    raise Deferred("claimed", "another run is submitting this upload", (row.claim_expires or 0) - time.time() + 1)


def create_task(claim: Row, previous: Row | None, url: str, wanted: Options, message: Message) -> Row:
    """Creates the task of a claim, and records the result."""
    THROTTLE.on_send()
    try:
        task, sent = ENHANCER.submit_supported(url, wanted)
    except Refused as error:
        THROTTLE.on_refused()
        count("UploadsRejected")
        return LEDGER.finish_claim(claim, outcomes.refused_by_enhancer(error.code, error.message))
    except Unavailable as error:
        count("AccountBlocked" if error.account else "EnhancerUnavailable")
        deferred = THROTTLE.defer(error)
        LEDGER.release(claim, previous)
        raise deferred from None
    except Ambiguous as error:
        return mark_unknown(claim, error.message, message)
    THROTTLE.on_accepted()
    count("TasksCreated")
    if task.credits:
        count("CreditsReserved", task.credits)
    if sent != wanted:
        logger.warning("the enhancer does not support these options", extra={"options": wanted.as_json()})
    now = int(time.time())
    return LEDGER.record(
        claim,
        task_id=task.id,
        options=sent.as_text(),
        submitted_at=now,
        deadline=now + SETTINGS.max_wait_minutes * 60,
        estimated_seconds=task.estimated_seconds,
        credits=task.credits,
    )


def mark_unknown(claim: Row, detail: str, message: Message) -> Row:
    """Records that a task may have been created. Another one is created only if the owner asks for it."""
    count("SubmitsUnknown")
    row = LEDGER.finish_claim(claim, outcomes.outcome("ambiguous_submit", detail=detail))
    if may_resubmit(row, message):
        raise Deferred("ambiguous_submit", "the submit was ambiguous and AmbiguousSubmit is retry")
    return row
