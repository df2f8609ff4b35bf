"""Watches one task for a while: asks the enhancer how it is doing, and says how long to wait for the next look."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from lumendrop import clients, polling, settings
from lumendrop.api_key import ApiKey
from lumendrop.enhancer import RETRYABLE_CODES, Enhancer, TaskNotFound, TaskStatus, Unavailable
from lumendrop.outcomes import Outcome
from lumendrop.polling import Poll, Task
from lumendrop.telemetry import count, log_context, logger, metrics

_MOST_NOT_FOUND = 5
_LONGEST_LOOK_SECONDS = 30  # connecting, an answer that drips, reading a changed key


class Settings(msgspec.Struct, frozen=True):
    """See the parameters of template.yaml for what each means."""

    api_base_url: str
    key_secret_arn: str


class Request(msgspec.Struct, frozen=True):
    """What the workflow hands over: the task, and what the last look found."""

    correlation_id: str
    task: Task
    poll: Poll


SETTINGS = settings.read(Settings)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Returns the next `Poll`. An enhancer that can't be reached is no failed task: the answer is to wait."""
    request = msgspec.convert(event, Request)
    until = time.time() + context.get_remaining_time_in_millis() / 1000 - _LONGEST_LOOK_SECONDS
    with log_context(request.correlation_id, task_id=request.task.id):
        poll = polling.watch(request.task, request.poll, partial(poll_once, request.task), until, time.time, time.sleep)
        logger.info(
            "watched the task",
            extra={"state": poll.state, "progress": poll.progress, "polls": poll.polls},
        )
    answer: dict[str, Any] = msgspec.to_builtins(poll)
    return answer


def poll_once(task: Task, poll: Poll) -> Poll:
    """One look at the task."""
    now = time.time()
    count("StatusChecks")
    poll = msgspec.structs.replace(poll, polls=poll.polls + 1)
    try:
        status = ENHANCER.status(task.id)
    except TaskNotFound:
        return not_found(task, poll, now)
    except Unavailable as error:
        return unreachable(task, poll, error, now)
    poll = polling.update_estimate(
        task, msgspec.structs.replace(poll, not_found=0, unreachable=0), status.progress, now
    )
    if status.state == "waiting":
        wait = polling.next_wait(task, poll, now)
        return msgspec.structs.replace(poll, state="waiting", wait_seconds=wait)
    if status.state == "failed":
        retryable = status.error_code in RETRYABLE_CODES
        return msgspec.structs.replace(poll, state="failed", retryable=retryable, outcome=failed(status, retryable))
    return msgspec.structs.replace(poll, state="completed")


def not_found(task: Task, poll: Poll, now: float) -> Poll:
    """A task may be unknown for a moment after its submit; one that stays unknown is lost."""
    misses = poll.not_found + 1
    wait = polling.wait_for_enhancer(task, misses, None, now)
    if misses < _MOST_NOT_FOUND:
        return msgspec.structs.replace(poll, state="waiting", not_found=misses, wait_seconds=wait)
    outcome = Outcome(
        status="failed",
        code="task_not_found",
        message=f"The enhancer does not know the task that it accepted ({misses} times asked).",
        advice="Ask the vendor about the task id; upload the photo again to pay for a new task.",
        may_have_cost=True,
    )
    return msgspec.structs.replace(poll, state="failed", not_found=misses, outcome=outcome)


def unreachable(task: Task, poll: Poll, error: Unavailable, now: float) -> Poll:
    failures = poll.unreachable + 1
    wait = polling.wait_for_enhancer(task, failures, error.retry_after, now)
    logger.warning("the enhancer gave no usable answer", extra={"code": error.code, "said": error.message})
    count("AccountBlocked" if error.account else "EnhancerUnreachable")
    throttled = poll.throttled + error.too_fast
    return msgspec.structs.replace(poll, state="waiting", unreachable=failures, throttled=throttled, wait_seconds=wait)


def failed(status: TaskStatus, retryable: bool) -> Outcome:
    return Outcome(
        status="failed",
        code=status.error_code,
        message=f"The enhancer's task failed: {status.error_message.rstrip('. ')}.",
        advice=(
            "The vendor had trouble with every task for this photo; upload it again later to pay for a new one."
            if retryable
            else "Another task would fail in the same way; change the photo or its options before uploading it again."
        ),
        may_have_cost=True,
    )
