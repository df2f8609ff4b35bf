"""When to ask for a task again.

Few looks while nothing can have finished, many where most tasks finish: early once, for tasks that fail at once; then
near the vendor's estimate, taken as a hint within limits; after that in steps that grow with the time waited so far.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from lumendrop.outcomes import Outcome

_FIRST_SECONDS = 5
_HINT_SECONDS = (10, 60)
_STEP_SECONDS = (2, 300)
_STEP_SHARE = 0.12
_UNREACHABLE_SECONDS = (5, 120)


class Task(msgspec.Struct, frozen=True):
    """A task to wait for. Times in seconds since the epoch; `estimated_seconds` is the vendor's hint."""

    id: str
    submitted_at: int
    deadline: int
    estimated_seconds: float | None = None


class Poll(msgspec.Struct, frozen=True):
    """What is known of a task after so many looks; goes round the workflow's loop.

    `not_found` and `unreachable` count looks in a row. When `state` is failed, there is an `outcome`, and `retryable`
    says whether another task may go well.
    """

    state: Literal["waiting", "completed", "failed"] = "waiting"
    wait_seconds: int = _FIRST_SECONDS
    polls: int = 0
    not_found: int = 0
    unreachable: int = 0
    progress: float | None = None
    retryable: bool = False
    outcome: Outcome | None = None


def first_wait(estimated_seconds: float | None) -> int:
    """Seconds from the submit to the first look: soon, for tasks that are quick or fail at once."""
    return round(min(_FIRST_SECONDS, max(2, (estimated_seconds or math.inf) / 2)))


def next_wait(task: Task, now: float) -> int:
    """Seconds to the next look at a task that was still running at `now`; never past its deadline."""
    elapsed = max(0, now - task.submitted_at)
    if task.estimated_seconds and elapsed < (hint := _clamp(task.estimated_seconds * 0.9, _HINT_SECONDS)):
        step = hint - elapsed
    else:
        step = elapsed * _STEP_SHARE
    return _until_deadline(_clamp(step, _STEP_SECONDS), task, now)


def wait_for_enhancer(task: Task, failures: int, retry_after: float | None, now: float) -> int:
    """Seconds to wait for an enhancer that gave no usable answer, `failures` times in a row."""
    lowest, highest = _UNREACHABLE_SECONDS
    step = retry_after if retry_after is not None else lowest * 2 ** min(failures - 1, 10)
    return _until_deadline(_clamp(step, (lowest, highest)), task, now)


def _until_deadline(step: float, task: Task, now: float) -> int:
    return max(1, round(min(step, task.deadline - now)))


def _clamp(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])
