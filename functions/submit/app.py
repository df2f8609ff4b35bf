"""Submits one upload: reads its row and the object, decides, and acts: usually it creates one task, and records it."""

from __future__ import annotations

import time
from functools import partial
from typing import Annotated, Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from lumendrop import clients, decisions, options, outcomes, same_photo, settings, storage, upload_queue, workflow
from lumendrop.api_key import ApiKey
from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.decisions import AmbiguousSubmit, Photo, SamePhoto, decide
from lumendrop.dimensions import LargerThanResult, check_size
from lumendrop.enhancer import Enhancer
from lumendrop.ledger import Ledger, PhotoHeld, Row
from lumendrop.outcomes import Outcome, Rejected
from lumendrop.rate_limiter import DynamoDBRateStore, RateLimiter
from lumendrop.task_creation import SUBMIT_SECONDS, TaskCreator
from lumendrop.telemetry import count, follow, log_context, logger, metrics
from lumendrop.throttle import RETRY_SECONDS, Throttle
from lumendrop.upload_queue import Deferred, Message
from lumendrop.uploads import BackfillItem, Upload, parse_event


class Settings(msgspec.Struct, frozen=True):
    """The parameters of template.yaml with these names describe them."""

    api_base_url: str
    key_secret_arn: str
    resolution: str
    creativity: str
    resemblance: str
    profile_ids: str
    metadata: str
    larger_than_result: LargerThanResult
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
DEFAULTS = options.defaults(SETTINGS)
S3 = clients.s3(SETTINGS.bucket_owner)
SQS = clients.sqs()
STEPFUNCTIONS = clients.stepfunctions()
DYNAMODB = clients.dynamodb()
LEDGER = Ledger(DYNAMODB, SETTINGS.ledger_table, SETTINGS.daily_task_limit)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))
RATE_LIMITER = RateLimiter(DynamoDBRateStore(DYNAMODB, SETTINGS.ledger_table), SETTINGS.max_concurrent_submits)
TASKS = TaskCreator(
    LEDGER,
    ENHANCER,
    Throttle(CircuitBreaker(), RATE_LIMITER, ENHANCER.probe),
    partial(storage.presign, S3),
    policy=SETTINGS.ambiguous_submit,
    most_wait_seconds=SETTINGS.max_wait_minutes * 60,
    now=lambda: time.time(),
)


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Handles one SQS message (BatchSize is 1). An exception sends it to the dead-letter queue after five receives."""
    ends = time.time() + context.get_remaining_time_in_millis() / 1000
    for message in upload_queue.messages(event):
        handle_message(message, ends)


def handle_message(message: Message, ends: float) -> None:
    found = parse_event(message.body)
    logger.append_keys(upload=found.uri)
    try:
        upload = storage.resolve_version(S3, found) if isinstance(found, BackfillItem) else found
    except upload_queue.WAITS as error:
        requeue(message, upload_queue.defer(error))
        return
    if upload is None:
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
        if row := submit_with_backoff(upload, message, ends):
            processed = {"status": row.status, "task_id": row.task_id, "attempt": row.attempt}
            logger.info("upload processed", extra=processed)
            workflow.start(STEPFUNCTIONS, SETTINGS.workflow_arn, row, time.time())
    except storage.OwnResult:
        skip("enhanced photo")
    except upload_queue.WAITS as error:
        requeue(message, upload_queue.defer(error))


def requeue(message: Message, error: Deferred) -> None:
    """Sends a copy to the queue, unless another copy of the same message already continues."""
    if not (error.task or message.task or upload_queue.is_current(LEDGER, message)):
        skip("stale copy")
        return
    count("UploadsWaiting")
    if error.reason == upload_queue.AWS_UNAVAILABLE:
        count("AwsUnavailable")
    seconds = upload_queue.requeue(SQS, SETTINGS.upload_queue_url, message, error)
    extra = {"reason": error.reason, "detail": str(error), "requeue_count": message.requeue_count + 1}
    logger.warning("upload requeued", extra=extra | {"seconds": seconds})


def submit_with_backoff(upload: Upload, message: Message, ends: float) -> Row | None:
    """Retries transient errors for some seconds, because that is cheaper than requeuing the upload."""
    while True:
        try:
            return submit(upload, message, ends)
        except Deferred as error:
            wait = max(error.seconds or 0, RETRY_SECONDS)
            if not error.transient or time.time() + wait > ends - SUBMIT_SECONDS:
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
            case decisions.Inspect():
                photo = inspect(upload)
                if isinstance(photo, Photo) and photo.source.upload.key != upload.key:  # the key had to be decoded
                    upload = photo.source.upload
                    follow(upload.correlation_id, upload=upload.uri)
                    logger.warning("key decoded")  # `lumendrop verify` searches for it
                    row = LEDGER.read(upload)
            case decisions.Claim(wanted, previous):
                try:
                    row, acquired = TASKS.claim(wanted, previous, ends)
                except PhotoHeld:
                    photo = same_photo.with_twin(S3, LEDGER, wanted)
                    continue
                row = TASKS.create(row, previous, wanted, message, ends) if acquired else row
            case decisions.Reuse() as reusable:
                row = same_photo.reuse(S3, LEDGER, reusable)
            case decisions.Reject(outcome):
                count("UploadsRejected")
                row = same_photo.find_copy(S3, LEDGER, LEDGER.reject(upload, outcome))
            case decisions.EndRetry(retrying, outcome):
                row = same_photo.find_copy(S3, LEDGER, LEDGER.end_retry(retrying, outcome))
            case decisions.MarkUnknown(expired):
                row = TASKS.mark_unknown(expired, "The function that claimed it ended without an answer.", message)
            case decisions.RecordTask(found, task):
                row = TASKS.record(found, task, ends)
            case decisions.StartWorkflow(found):
                return found
            case decisions.FindCopy(ended):
                row = same_photo.find_copy(S3, LEDGER, ended)
                if row == ended:
                    skip("already ended")
                    return None
            case decisions.Wait(reason, text, seconds):
                raise Deferred(reason, text, seconds)
            case decisions.Skip(reason):
                skip(reason)
                return None


def inspect(upload: Upload) -> Photo | Outcome:
    """The photo to enhance, or the reason why it can't be enhanced."""
    if upload.size == 0:
        return outcomes.outcome("empty")
    try:
        source = storage.inspect(S3, upload, SETTINGS.max_upload_bytes)
        photo = Photo(source, options.read(source.metadata, DEFAULTS))
        check_size(source.upload.pixels, photo.options.resolution, SETTINGS.larger_than_result)
    except Rejected as rejected:
        if rejected.outcome.code == "access_denied":
            count("ReadsDenied")
        return rejected.outcome
    if SETTINGS.same_photo == "pay":
        return photo
    return same_photo.with_twin(S3, LEDGER, same_photo.identify(S3, photo))
