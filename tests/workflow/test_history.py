"""An execution fails when its history exceeds 25,000 events, so a day of polls must stay below that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any
from unittest.mock import patch

import pytest
from jsonata.jsonata import Jsonata
from jsonata.timebox import Timebox

from lumendrop.polling import Poll, Task, next_wait, wait_for_enhancer
from tests.workflow.harness import Run, Workflow, iso
from tests.workflow.scenarios import SCENARIOS

Ran = Callable[[str], Run]
Answer = Callable[[float], float]

MOST_EVENTS = 25_000
START = 1_700_000_000
DAY = 24 * 3600
TASK = Task("task-unified-1", START, START + DAY, 45)

# How many seconds to wait, as returned by a function, given the time.
ANSWERS: dict[str, Answer] = {
    "a task that never ends": lambda now: next_wait(TASK, Poll(), now),
    "an enhancer that asks for an immediate retry": lambda now: wait_for_enhancer(TASK, 1, 0, now),
    "a result that can't be fetched": lambda _: 20,
    "crashes": lambda _: 60,
    "an impatient function": lambda _: 2,
}


def iterations(run: Run) -> Iterator[int]:
    """Events between one wait and the next."""
    waits = [event["id"] for event in run.history if event["type"] == "WaitStateEntered"]
    yield from (later - earlier for earlier, later in pairwise(waits))


@pytest.fixture(scope="package")
def most_events_per_iteration(ran: Ran) -> int:
    """Of all paths through the workflow, including those where Lambda throttles both functions."""
    return max(events for name in SCENARIOS for events in iterations(ran(name)))


def seconds(workflow: Workflow, now: float, asked: float) -> float:
    """How long the workflow waits if it is asked to wait for these seconds."""
    expression: str = workflow.definition["States"]["WaitForTask"]["Seconds"]
    bindings: dict[str, Any] = {
        "poll": {"wait_seconds": asked},
        "states": {"context": {"Execution": {"StartTime": iso(START)}}},
    }
    with patch.object(Timebox, "current_milli_time", lambda: int(now * 1000)):
        found = Jsonata(expression.strip("{%}")).evaluate(None, bindings)
    assert found == int(found)
    return float(found)


@pytest.mark.parametrize("name", ANSWERS)
def test_a_day_of_polls_fits(workflow: Workflow, most_events_per_iteration: int, name: str) -> None:
    now, waits = float(START), 0
    while now < TASK.deadline:
        now += seconds(workflow, now, ANSWERS[name](now))
        waits += 1
    assert waits * most_events_per_iteration < MOST_EVENTS - 200


def test_an_iteration_is_counted_with_all_its_retries(most_events_per_iteration: int) -> None:
    """Two events each for the wait and the choices, and those of the poll and the delivery with their retries."""
    retried = 5 + 3 * 3
    assert most_events_per_iteration == 2 + retried + 2 + retried + 2 + 2
