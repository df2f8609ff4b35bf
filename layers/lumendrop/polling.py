"""When to poll a task, and where to wait for it.

One iteration of the workflow costs as much as about 45 seconds of a small function that sleeps. While a task may end at
any moment, `check_status` therefore polls it repeatedly, a few seconds apart. Longer waits are left to the workflow.
The schedule uses what is known of this task: the time so far, the vendor's estimate (a hint within limits), and its
progress, once that has proved to be reliable.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import msgspec

from lumendrop.outcomes import Outcome

_FIRST_SECONDS = 12
_EARLY_SECONDS = 4  # before half of the vendor's estimate
_NEAR_SECONDS = (2, 5)
_NEAR_SHARE = 0.04
_FAR_AFTER_SECONDS = 180
_FAR_SECONDS = (45, 300)
_FAR_SHARE = 0.2
_LAMBDA_THROTTLED_SECONDS = (10, 300)
_STAY_SECONDS = 30  # longer waits are left to the workflow
_UNREACHABLE_SECONDS = (5, 120)
_MOST_DOUBLINGS = 4
# Progress is reliable if it grows this evenly while the time since the submit grows by half.
_PROOF_GROWTH = 1.5
_PROOF_TOLERANCE = 0.15


class Task(msgspec.Struct, frozen=True):
    """A task to wait for. Times are in seconds since the epoch. `estimated_seconds` is the vendor's hint."""

    id: str
    submitted_at: int
    deadline: int
    estimated_seconds: float | None = None


class Poll(msgspec.Struct, frozen=True):
    """What is known of a task after `polls` polls. The workflow passes it from one iteration to the next.

    `not_found` and `unreachable` count consecutive polls, `throttled` all that were answered with 429.
    `lambda_throttled` is true after Lambda throttled `check_status`. `pace` is the number of seconds for one percent of
    progress, measured `paced_at` seconds after the submit. `total_seconds` is the task's duration according to its
    progress, if that is reliable. `incomplete` identifies the last result that `deliver` found incomplete. `remark` is
    a sentence, after a space, about a status that is not a documented one. If `state` is failed, there is an `outcome`,
    and `retryable` tells whether another task may succeed.
    """

    state: Literal["waiting", "completed", "failed"] = "waiting"
    wait_seconds: int = _FIRST_SECONDS
    polls: int = 0
    not_found: int = 0
    unreachable: int = 0
    throttled: int = 0
    lambda_throttled: bool = False
    progress: float | None = None
    pace: float | None = None
    paced_at: float = 0
    total_seconds: float | None = None
    incomplete: str | None = None
    remark: str = ""
    retryable: bool = False
    outcome: Outcome | None = None


def first_wait(estimated_seconds: float | None) -> int:
    """Seconds from the submit to the first poll: few, for tasks that are quick or fail immediately."""
    return round(min(_FIRST_SECONDS, max(2, (estimated_seconds or math.inf) / 2)))


def watch(
    task: Task,
    poll: Poll,
    poll_once: Callable[[Poll], Poll],
    until: float,
    now: Callable[[], float],
    sleep: Callable[[float], None],
) -> Poll:
    """Polls the task until it has ended or the next wait is left to the workflow. Returns the last poll.

    No poll begins after `until`. After an error, or after Lambda throttled `check_status`, there is only one poll.
    """
    poll = poll_once(poll)
    while _continues(poll) and now() < task.deadline and now() + poll.wait_seconds <= until:
        sleep(poll.wait_seconds)
        poll = poll_once(poll)
    return poll


def _continues(poll: Poll) -> bool:
    impaired = poll.not_found or poll.unreachable or poll.lambda_throttled
    return poll.state == "waiting" and not impaired and poll.wait_seconds <= _STAY_SECONDS


def update_estimate(task: Task, poll: Poll, progress: float | None, now: float) -> Poll:
    """Records the task's progress, and estimates its duration if the progress is reliable so far."""
    elapsed = now - task.submitted_at
    poll = msgspec.structs.replace(poll, progress=progress)
    if elapsed < _PROOF_GROWTH * poll.paced_at:
        return poll
    pace = elapsed / progress if progress and 0 < progress < 100 and elapsed > 0 else None
    proved = pace and poll.pace and abs(pace - poll.pace) <= _PROOF_TOLERANCE * poll.pace
    total = 100 * pace if pace and proved else None
    return msgspec.structs.replace(poll, pace=pace, paced_at=elapsed, total_seconds=total)


def next_wait(task: Task, poll: Poll, now: float) -> int:
    """Seconds until the next poll of a task that was still running at `now`. Never exceeds its deadline."""
    step = _step(task, poll, max(0, now - task.submitted_at)) * 2 ** min(poll.throttled, _MOST_DOUBLINGS)
    return _until_deadline(min(step, _FAR_SECONDS[1]), task, now)


def _step(task: Task, poll: Poll, elapsed: float) -> float:
    if poll.lambda_throttled:
        return _clamp(elapsed * _FAR_SHARE, _LAMBDA_THROTTLED_SECONDS)
    left = (poll.total_seconds or 0) - elapsed
    if left > 2 * _STAY_SECONDS:
        return min(left / 2, elapsed)
    if elapsed >= _FAR_AFTER_SECONDS:
        return _clamp(elapsed * _FAR_SHARE, _FAR_SECONDS)
    if elapsed < (task.estimated_seconds or 0) / 2:
        return _EARLY_SECONDS
    return _clamp(elapsed * _NEAR_SHARE, _NEAR_SECONDS)


def wait_for_enhancer(task: Task, failures: int, retry_after: float | None, now: float) -> int:
    """Seconds to wait after `failures` consecutive polls without a usable answer."""
    lowest, highest = _UNREACHABLE_SECONDS
    step = retry_after if retry_after is not None else lowest * 2 ** min(failures - 1, 10)
    return _until_deadline(_clamp(step, (lowest, highest)), task, now)


def _until_deadline(step: float, task: Task, now: float) -> int:
    return max(1, round(min(step, task.deadline - now)))


def _clamp(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
