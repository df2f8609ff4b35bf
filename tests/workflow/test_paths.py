"""The outcome of every path through the workflow, as visible from outside."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.workflow.harness import Run, Workflow
from tests.workflow.scenarios import SCENARIOS

Ran = Callable[[str], Run]


@dataclass(frozen=True)
class End:
    """What is visible in the end: the execution, the row in the ledger, the event, the report, and the queue."""

    state: str
    error: str | None
    row: str
    event: str | None
    reported: bool
    queued: bool = False


ENHANCED = End("PublishEnhanced", None, row="enhanced", event="Photo Enhanced", reported=False)
FAILED = End("NotEnhanced", "content_policy_violation", row="failed", event="Photo Not Enhanced", reported=True)
UNREPORTED = replace(FAILED, state="NotReported", error="not_reported", reported=False)
LATE = replace(FAILED, error="deadline_passed")
REJECTED = End("Reported", None, row="rejected", event="Photo Not Enhanced", reported=True)
RETRIED = End("WillRetry", None, row="retrying", event=None, reported=False, queued=True)
NOT_RETRIED = replace(FAILED, error="service_error")
ABORTED = replace(FAILED, error="execution_aborted")
NOTHING = End("NothingToReport", None, row="submitted", event=None, reported=False)

ENDS = {
    "enhanced after one poll": ENHANCED,
    "enhanced after several polls": ENHANCED,
    "enhanced, with nothing optional": ENHANCED,
    "enhanced, with a hostile key": ENHANCED,
    "reused": ENHANCED,
    "reused, ledger and event on the second attempt": ENHANCED,
    "reused, and aborted": ENHANCED,
    "rejected": REJECTED,
    "rejected, with a hostile key": REJECTED,
    "unknown": replace(FAILED, error="ambiguous_submit", row="unknown"),
    "failed": FAILED,
    "cancelled": replace(FAILED, error="request_cancelled"),
    "failed, with a hostile key": FAILED,
    "superseded": replace(REJECTED, row="superseded"),
    "refused": replace(FAILED, error="result_not_an_image"),
    "delivered on the second attempt": ENHANCED,
    "delivered incomplete twice": ENHANCED,
    "no longer completed after a delayed delivery": ENHANCED,
    "check_status crashes once": ENHANCED,
    "check_status crashes on the first poll": ENHANCED,
    "deliver crashes once": ENHANCED,
    "check_status throttled": ENHANCED,
    "check_status throttled for longer": ENHANCED,
    "deliver throttled": ENHANCED,
    "deliver throttled for longer": ENHANCED,
    "both throttled, and the result is delayed": ENHANCED,
    "started again after the deadline": ENHANCED,
    "never ends": LATE,
    "never ends, with a remark": LATE,
    "never ends, polled by an earlier version": LATE,
    "never delivered": LATE,
    "ends after the deadline": ENHANCED,
    "check_status always crashes": LATE,
    "deliver always crashes": LATE,
    "ledger throttled temporarily": ENHANCED,
    "ledger never records enhanced": End("NotRecorded", "not_recorded", row="submitted", event=None, reported=False),
    "enhanced, already recorded": ENHANCED,
    "enhanced after it had failed": ENHANCED,
    "enhanced, another attempt has the row": replace(ENHANCED, row="submitted"),
    "enhanced, the row is final": replace(ENHANCED, row="superseded"),
    "enhanced, events throttled temporarily": ENHANCED,
    "enhanced, no event can be published": replace(ENHANCED, state="EventNotPublished", event=None),
    "failed, the report on the second attempt": FAILED,
    "failed, the report can't be written": UNREPORTED,
    "rejected, the report can't be written": replace(UNREPORTED, row="rejected"),
    "failed, the ledger on the second attempt": FAILED,
    "failed, the ledger can't be updated": replace(FAILED, row="submitted"),
    "failed, already recorded": FAILED,
    "failed, another attempt has the row": replace(FAILED, row="submitted"),
    "failed, the row is final": replace(FAILED, row="superseded"),
    "failed, the event on the second attempt": FAILED,
    "failed, no event can be published": replace(FAILED, event=None),
    "failed, and nothing can be recorded": replace(UNREPORTED, row="submitted", event=None),
    "retried": RETRIED,
    "retried a second time": RETRIED,
    "retried, with a hostile key": RETRIED,
    "retried, already recorded": RETRIED,
    "retried, ledger and queue on the second attempt": RETRIED,
    "third attempt fails": NOT_RETRIED,
    "not retried, the ledger can't be updated": NOT_RETRIED,
    "not retried, another attempt has the row": replace(NOT_RETRIED, row="submitted"),
    "not retried, the queue is unavailable": NOT_RETRIED,
    "aborted": ABORTED,
    "timed out": replace(ABORTED, error="execution_timed_out"),
    "broken": replace(ABORTED, error="execution_failed"),
    "aborted, with a hostile key": ABORTED,
    "aborted before a retry": ABORTED,
    "aborted while reporting a rejection": REJECTED,
    "aborted, the ledger is unavailable": replace(ABORTED, row="submitted"),
    "aborted, and can't be described": ABORTED,
    "failed after the final status": replace(NOTHING, row="failed"),
    "failed late": FAILED,
    "ended, another attempt has the row": NOTHING,
    "delivered but not recorded": NOTHING,
    "started for another execution, and ended": NOTHING,
}


@pytest.mark.parametrize("name", SCENARIOS)
def test_end(ran: Ran, name: str) -> None:
    run = ran(name)
    (event,) = run.events or [None]
    assert ENDS[name] == End(
        state=run.states[-1],
        error=run.error,
        row=run.row["status"],
        event=event and event["detail-type"],
        reported=run.report is not None,
        queued=bool(run.queued),
    )
    assert run.status == ("FAILED" if run.error else "SUCCEEDED")


POLL = ["WaitForTask", "CheckStatus", "IsDone"]
PATHS = {
    "delivered on the second attempt": [*POLL, "Deliver", "IsDelivered", "IsDone", *POLL, "Deliver", "IsDelivered"],
    "deliver crashes once": [*POLL, "Deliver", "IsDone", *POLL, "Deliver", "IsDelivered"],
    "check_status crashes on the first poll": [*POLL, *POLL, "Deliver", "IsDelivered"],
}


@pytest.mark.parametrize("name", PATHS)
def test_path(ran: Ran, name: str) -> None:
    """Each additional state costs a transition and adds two events to a history that is limited to 25,000."""
    start, end = ["RouteInput"], ["RecordEnhanced", "PublishEnhanced"]
    assert ran(name).states == [*start, *PATHS[name], *end]


@pytest.mark.parametrize("name", SCENARIOS)
def test_every_expression_has_a_value(ran: Ran, name: str) -> None:
    errors = {details["error"] for details in _errors(ran(name))}
    assert not errors & {"States.QueryEvaluationError", "States.Runtime"}


def _errors(run: Run) -> Iterator[dict[str, Any]]:
    for event in run.history:
        for details in event.values():
            if isinstance(details, dict) and "error" in details:
                yield details


def test_every_transition_is_taken(ran: Ran, workflow: Workflow) -> None:
    taken = set().union(*(ran(name).transitions() for name in SCENARIOS))
    assert taken == set(_transitions(workflow.definition))


def test_every_state_is_visited(ran: Ran, workflow: Workflow) -> None:
    visited = {state for name in SCENARIOS for state in ran(name).states}
    assert visited == set(workflow.definition["States"])


def _transitions(definition: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for name, state in definition["States"].items():
        for target in (state.get("Next"), state.get("Default")):
            if target:
                yield name, target
        for rule in state.get("Choices", []) + state.get("Catch", []):
            yield name, rule["Next"]
