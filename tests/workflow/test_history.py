"""An execution's history holds 25,000 events, and the execution breaks at the next one: a day of looks has to fit."""

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

# Seconds to wait that functions answer with, hour after hour, given the time.
ANSWERS: dict[str, Answer] = {
    "a task that never ends": lambda now: next_wait(TASK, Poll(), now),
    "an enhancer that says: again at once": lambda now: wait_for_enhancer(TASK, 1, 0, now),
    "a result that can't be fetched": lambda _: 20,
    "crashes": lambda _: 60,
    "an impatient function": lambda _: 2,
}


def rounds(run: Run) -> Iterator[int]:
    """Events between one wait and the next."""
    waits = [event["id"] for event in run.history if event["type"] == "WaitStateEntered"]
    yield from (later - earlier for earlier, later in pairwise(waits))


@pytest.fixture(scope="package")
def most_events_a_round(ran: Ran) -> int:
    """Of all paths through the workflow; with retries of Lambda both before a poll and before a delivery."""
    return max(events for name in SCENARIOS for events in rounds(ran(name)))


def seconds(workflow: Workflow, now: float, asked: float) -> float:
    """What the workflow makes of the seconds that it is asked to wait."""
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
def test_a_day_of_looks_fits(workflow: Workflow, most_events_a_round: int, name: str) -> None:
    now, waits = float(START), 0
    while now < TASK.deadline:
        now += seconds(workflow, now, ANSWERS[name](now))
        waits += 1
    assert waits * most_events_a_round < MOST_EVENTS - 200


def test_a_round_is_counted_with_all_its_retries(most_events_a_round: int) -> None:
    """Two for the wait, the look, two for what it found, the delivery, two or four for what came of it."""
    retried = 5 + 3 * 3
    assert most_events_a_round == 2 + retried + 2 + retried + 2 + 2
