"""Functions of a cloud that follows a skipping clock."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest

from sandbox.aws.runtime import MAX_ENVIRONMENTS, Function, Invocation, Outcome, Pool
from tests.chaos.clock import Clock, NothingScheduled
from tests.chaos.clock_hooks import ClockHooks
from tests.sandbox.test_runtime import CHECKER

pytestmark = pytest.mark.enable_socket

SLEEP_SECONDS = 0.4


class Recording(ClockHooks):
    """Keeps the invocations that were started."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock)
        self.invocations: list[Invocation] = []

    def started(self, function: Function, invocation: Invocation) -> None:
        super().started(function, invocation)
        self.invocations.append(invocation)


@pytest.fixture
def hooks() -> Iterator[Recording]:
    with Clock() as clock:
        opened = Recording(clock)
        with opened.serving_sleep():
            yield opened


@pytest.fixture
def pool(hooks: Recording) -> Iterator[Pool]:
    opened = Pool(hooks.configure(CHECKER), lambda *_: None, hooks)
    yield opened
    opened.close()


def sleep(pool: Pool, seconds: float) -> Outcome:
    return pool.invoke(json.dumps({"do": "sleep", "seconds": seconds}).encode())


def test_time_is_skipped_while_functions_sleep(hooks: Recording, pool: Pool) -> None:
    """Also while an invocation waits for a free environment."""
    sleepers, clock = MAX_ENVIRONMENTS + 2, hooks.clock

    def work(_: int) -> Any:
        with clock.working():
            return sleep(pool, SLEEP_SECONDS)

    begun = clock.now()
    with ThreadPoolExecutor(sleepers) as threads:
        asleep = [threads.submit(work, number) for number in range(sleepers)]
        while not all(one.done() for one in asleep):
            if not clock.busy:
                with suppress(NothingScheduled):  # before the first sleep, after the last
                    clock.skip()
            time.sleep(0.005)
    assert not any(one.result().failed for one in asleep)
    assert clock.now() - begun >= 2 * SLEEP_SECONDS
    assert not clock.busy


def test_a_function_that_is_killed_while_it_sleeps_counts_as_active_work(hooks: Recording, pool: Pool) -> None:
    clock = hooks.clock
    with clock.working(), ThreadPoolExecutor(1) as threads:
        lost = threads.submit(sleep, pool, 3600)
        while clock.busy:
            time.sleep(0.005)
        assert hooks._count_asleep(f"{CHECKER.arn}:1") == 1
        hooks.invocations[0].kill()
        assert json.loads(lost.result().payload)["errorType"] == "Runtime.ExitError"
        assert clock.busy
        assert hooks._count_asleep(f"{CHECKER.arn}:1") == 0
