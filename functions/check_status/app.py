"""Polls one task for a while, and returns its state and the seconds until the next poll."""

from __future__ import annotations

import time
from functools import partial
from typing import Any

import msgspec
from aws_lambda_powertools.utilities.typing import LambdaContext

from lumendrop import clients, outcomes, polling, settings
from lumendrop.api_key import ApiKey
from lumendrop.enhancer import RETRYABLE_CODES, Enhancer, TaskNotFound, Unavailable
from lumendrop.polling import Poll, Task
from lumendrop.telemetry import count, log_context, logger, metrics

_MOST_NOT_FOUND = 5
_LONGEST_POLL_SECONDS = 30  # connection, slow answer, and reading a changed key


class Settings(msgspec.Struct, frozen=True):
    """The parameters of template.yaml with these names describe them."""

    api_base_url: str
    key_secret_arn: str


class Request(msgspec.Struct, frozen=True):
    """The payload from the workflow, with the result of the last poll."""

    correlation_id: str
    task: Task
    poll: Poll


SETTINGS = settings.read(Settings)
ENHANCER = Enhancer(SETTINGS.api_base_url, ApiKey(clients.secretsmanager(), SETTINGS.key_secret_arn))


@logger.inject_lambda_context(clear_state=True)
@metrics.log_metrics
def handler(event: dict[str, Any], context: LambdaContext) -> dict[str, Any]:
    """Returns the last `Poll`. If the enhancer can't be reached, the task has not failed: its state is `waiting`."""
    request = msgspec.convert(event, Request)
    until = time.time() + context.get_remaining_time_in_millis() / 1000 - _LONGEST_POLL_SECONDS
    with log_context(request.correlation_id, task_id=request.task.id):
        poll = polling.watch(request.task, request.poll, partial(poll_once, request.task), until, time.time, time.sleep)
        extra = {"state": poll.state, "progress": poll.progress, "polls": poll.polls, "remark": poll.remark}
        logger.info("task polled", extra=extra)
    answer: dict[str, Any] = msgspec.to_builtins(poll)
    return answer


def poll_once(task: Task, poll: Poll) -> Poll:
    """Polls the task once."""
    now = time.time()
    count("StatusChecks")
    poll = msgspec.structs.replace(poll, polls=poll.polls + 1)
    try:
        status = ENHANCER.status(task.id)
    except TaskNotFound:
        return not_found(task, poll, now)
    except Unavailable as error:
        return unreachable(task, poll, error, now)
    remark = f" The enhancer's last status was {status.unknown!r}, which is not documented." if status.unknown else ""
    poll = msgspec.structs.replace(poll, not_found=0, unreachable=0, remark=remark)
    poll = polling.update_estimate(task, poll, status.progress, now)
    if status.state == "waiting":
        wait = polling.next_wait(task, poll, now)
        return msgspec.structs.replace(poll, state="waiting", wait_seconds=wait)
    if status.state == "failed":
        retryable = status.error_code in RETRYABLE_CODES
        outcome = outcomes.task_failed(status.error_code, status.error_message, retryable=retryable)
        return msgspec.structs.replace(poll, state="failed", retryable=retryable, outcome=outcome)
    return msgspec.structs.replace(poll, state="completed")


def not_found(task: Task, poll: Poll, now: float) -> Poll:
    """The enhancer may not know a task for a moment after its submit. A task that stays unknown is lost."""
    misses = poll.not_found + 1
    wait = polling.wait_for_enhancer(task, misses, None, now)
    if misses < _MOST_NOT_FOUND:
        return msgspec.structs.replace(poll, state="waiting", not_found=misses, wait_seconds=wait)
    outcome = outcomes.outcome("task_not_found", polls=misses)
    return msgspec.structs.replace(poll, state="failed", not_found=misses, outcome=outcome)


def unreachable(task: Task, poll: Poll, error: Unavailable, now: float) -> Poll:
    failures = poll.unreachable + 1
    wait = polling.wait_for_enhancer(task, failures, error.retry_after, now)
    logger.warning("the enhancer gave no usable answer", extra={"code": error.code, "detail": error.message})
    count("AccountBlocked" if error.account else "EnhancerUnreachable")
    throttled = poll.throttled + error.too_fast
    return msgspec.structs.replace(poll, state="waiting", unreachable=failures, throttled=throttled, wait_seconds=wait)
