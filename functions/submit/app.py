"""Submits one upload: look, claim, pay once, record, start the workflow."""

from __future__ import annotations

import time
from typing import Annotated, Any, Literal

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext
from msgspec import Meta

from lumendrop import clients, options, settings, storage, upload_queue, uploads, workflow
from lumendrop.api_key import ApiKey
from lumendrop.circuit_breaker import CircuitBreaker
from lumendrop.enhancer import Ambiguous, Enhancer, Refused, SubmittedTask, Unavailable
from lumendrop.ledger import DailyLimitReached, Ledger, Row
from lumendrop.options import Options
from lumendrop.outcomes import Outcome, Rejected
from lumendrop.rate_limiter import DynamoDBRateStore, RateLimiter
from lumendrop.telemetry import count, follow, log_context, logger, metrics
from lumendrop.upload_queue import Message
from lumendrop.uploads import BackfillItem, Upload


class Settings(msgspec.Struct, frozen=True):
    """See the parameters of template.yaml for what each means."""

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
DEFAULTS = options.read(
    {
        "resolution": SETTINGS.resolution,
        "creativity": SETTINGS.creativity,
        "resemblance": SETTINGS.resemblance,
        "profile-ids": SETTINGS.profile_ids,
    }
)
S3 = clients.s3()
SQS = clients.sqs()
STEPFUNCTIONS = clients.stepfunctions()
DYNAMODB = clients.dynamodb()
LEDGER = Ledger(DYNAMODB, SETTINGS.ledger_table, SETTINGS.daily_task_limit)
CIRCUIT_BREAKER = CircuitBreaker()
RATE_LIMITER = RateLimiter(DynamoDBRateStore(DYNAMODB, SETTINGS.ledger_table), SETTINGS.max_concurrent_submits)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))

_LONGEST_SUBMIT_SECONDS = 40  # claiming, the POST, recording, starting the workflow
_REFUSED_SECONDS = 1  # nothing is sent for so long after a refusal that does not say how long
CLOSED = ("enhanced", "failed", "superseded")


class Deferred(Exception):
    """The upload has to wait, for `seconds` if that is known; what is `transient` may have passed in a moment."""

    def __init__(self, reason: str, message: str, seconds: float | None = None, *, transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.seconds = seconds
        self.transient = transient


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> None:
    """Takes one SQS message (the event source's BatchSize is 1). Raises what five receives can't heal."""
    for message in upload_queue.messages(event):
        handle_message(message, context)


def handle_message(message: Message, context: LambdaContext) -> None:
    """Reads one message; each line from there on names its upload."""
    found = uploads.parse_event(message.body)
    upload = resolve(found) if isinstance(found, BackfillItem) else found
    if upload is not None:
        with log_context(upload.correlation_id, upload=upload.uri, version_id=upload.version_id):
            process_upload(upload, message, context)


def resolve(item: BackfillItem) -> Upload | None:
    """The upload that an object of a listing is now, or None if nothing is left to be done about it.

    Most of what a listing names has ended long ago. A read tells that, where a claim would cost refused writes, and
    would wait with all the others while the breaker is open.
    """
    logger.append_keys(upload=item.uri)
    upload = storage.resolve_version(S3, item)
    if upload is not None and not LEDGER.is_final(upload):
        return upload
    count("UploadsSkipped")
    logger.info("skipped", extra={"reason": "has ended before" if upload else "gone"})
    return None


def process_upload(upload: Upload, message: Message, context: LambdaContext) -> None:
    """Brings one upload as far as it goes now; whatever the ledger says of it then, its workflow runs."""
    if not message.requeue_count:
        count("UploadsReceived")
    if reason := upload.reason_to_skip():
        count("UploadsSkipped")
        logger.info("skipped", extra={"reason": reason})
        return
    try:
        row = submit_with_backoff(upload, message, context)
    except Deferred as error:
        count("UploadsWaiting")
        delay = upload_queue.requeue(SQS, SETTINGS.upload_queue_url, message, error.reason, error.seconds)
        said = {"reason": error.reason, "said": str(error), "seconds": delay, "waits": message.requeue_count + 1}
        logger.warning("sent to the back of the queue", extra=said)
        return
    logger.info("settled", extra={"status": row.status, "task_id": row.task_id, "attempt": row.attempt})
    if row.status not in CLOSED:
        workflow.start(STEPFUNCTIONS, SETTINGS.workflow_arn, row)


def submit_with_backoff(upload: Upload, message: Message, context: LambdaContext) -> Row:
    """Submits, again and again while the vendor is too busy or away: a moment is cheaper than a round of the queue."""
    until = time.time() + context.get_remaining_time_in_millis() / 1000 - _LONGEST_SUBMIT_SECONDS
    while True:
        try:
            return submit(upload, message, context, until)
        except Deferred as error:
            wait = max(error.seconds or 0, _REFUSED_SECONDS)
            if not error.transient or time.time() + wait > until:
                raise
            logger.warning("trying again soon", extra={"reason": error.reason, "said": str(error), "seconds": wait})
            time.sleep(wait)


def submit(upload: Upload, message: Message, context: LambdaContext, until: float) -> Row:
    """Everything that can fail harmlessly comes before the claim, and the claim right before the POST."""
    try:
        source = storage.inspect(S3, upload, SETTINGS.max_upload_bytes)
        follow(source.upload.correlation_id, upload=source.upload.uri)  # another one if its key had to be decoded
        wanted = options.read(source.metadata, DEFAULTS)
    except Rejected as rejected:
        count("UploadsRejected")
        return LEDGER.reject(upload, rejected.outcome)
    wait_for_turn(until)
    url = storage.presign(S3, source)
    seconds = context.get_remaining_time_in_millis() / 1000
    previous = None
    try:
        row, acquired = LEDGER.claim(source.upload, wanted.as_text(), seconds)
        if not acquired and may_resubmit(row, message):
            previous = row
            row, acquired = LEDGER.claim(source.upload, wanted.as_text(), seconds, previous)
    except DailyLimitReached as error:
        count("DailyLimitReached")
        CIRCUIT_BREAKER.open("daily_limit", str(error))
        raise Deferred("daily_limit", str(error)) from None
    return create_task(row, previous, url, wanted, message) if acquired else resolve_existing(row, message)


def wait_for_turn(until: float) -> None:
    """Returns when this function may send. Raises Deferred while there is trouble, or when `until` is too early."""
    if trouble := CIRCUIT_BREAKER.open_reason():
        raise Deferred(*trouble)
    while (wait := RATE_LIMITER.acquire(until - time.time())) is not None:
        time.sleep(wait)
        if not wait or RATE_LIMITER.is_still_valid():
            return
    time.sleep(max(0, until - time.time()))
    raise Deferred("pace", "the enhancer takes tasks more slowly than uploads come, or is away")


def create_task(claim: Row, previous: Row | None, url: str, wanted: Options, message: Message) -> Row:
    """Sends the task of a claim, and writes down what came of it."""
    RATE_LIMITER.on_send()
    try:
        task, sent = post(url, wanted)
    except Refused as error:
        CIRCUIT_BREAKER.close()
        count("UploadsRejected")
        return LEDGER.finish_claim(claim, refused(error))
    except Unavailable as error:
        trouble = deferred(error)
        LEDGER.release(claim, previous)
        raise trouble from None
    except Ambiguous as error:
        return mark_unknown(claim, error.message, message)
    CIRCUIT_BREAKER.close()
    RATE_LIMITER.on_accepted()
    count("TasksCreated")
    if task.credits:
        count("CreditsReserved", task.credits)
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


def deferred(error: Unavailable) -> Deferred:
    """What trouble with the account or the vendor means for all that is sent next."""
    if error.account:
        count("AccountBlocked")
        CIRCUIT_BREAKER.open(error.code, error.message, error.retry_after)
    else:
        count("EnhancerUnavailable")
        RATE_LIMITER.on_throttled(
            error.retry_after or (_REFUSED_SECONDS if error.too_fast else 0), too_fast=error.too_fast
        )
    return Deferred(error.code, error.message, error.retry_after, transient=not error.account)


def post(url: str, wanted: Options) -> tuple[SubmittedTask, Options]:
    """Submits; once more without the optional fields when the enhancer says that it can't take those."""
    try:
        return ENHANCER.submit(url, wanted), wanted
    except Refused as error:
        plain = wanted.required_only()
        if error.code != "unsupported_advanced_options" or wanted == plain:
            raise
        logger.warning("the enhancer does not support these options", extra={"options": wanted.as_json()})
        return ENHANCER.submit(url, plain), plain


def resolve_existing(row: Row, message: Message) -> Row:
    """Decides on what another run left behind."""
    if row.status != "claimed":
        return row
    if LEDGER.claimant_is_dead(row):
        what = "The function that was submitting this upload ended before it could record the answer."
        return mark_unknown(row, what, message)
    raise Deferred("claimed", "another run is submitting this upload", (row.claim_expires or 0) - time.time() + 1)


def mark_unknown(claim: Row, what: str, message: Message) -> Row:
    """Nobody can tell whether a task was created, so none is created again unless the owner wants that."""
    count("SubmitsUnknown")
    outcome = Outcome(
        status="unknown",
        code="ambiguous_submit",
        message=f"Nobody can tell whether a task was created and paid for. {what}",
        advice=(
            "Look at the vendor's account whether a task was charged at that time. "
            "To send the photo again, and perhaps pay twice: lumendrop retry KEY, or upload it again."
        ),
        may_have_cost=True,
    )
    row = LEDGER.finish_claim(claim, outcome)
    if may_resubmit(row, message):
        raise Deferred("ambiguous_submit", "the submit was ambiguous and AmbiguousSubmit is retry")
    return row


def may_resubmit(row: Row, message: Message) -> bool:
    """Whether another task may be paid for: its last one failed for a transient reason, or the owner wants it.

    AmbiguousSubmit: retry is the owner's word to risk a second payment, once. A message that names the attempt it
    follows is the owner's word on this upload; it holds for that attempt only, however often it is delivered.
    """
    if row.status == "unknown" and SETTINGS.ambiguous_submit == "retry" and all(one.task_id for one in row.earlier):
        return True
    if row.status in ("failed", "rejected", "superseded", "unknown"):
        return message.resend_after == row.attempt
    return row.status == "retrying"


def refused(error: Refused) -> Outcome:
    return Outcome(
        status="rejected",
        code=error.code,
        message=f"The enhancer refused this photo. {error.message.rstrip('. ')}.",
        advice="Change the photo or its options, then upload it again.",
        may_have_cost=False,
    )
