"""How the workflow ends, in every way through it, as seen from outside."""

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
    """What an owner sees in the end: the execution, the ledger's row, events, a report, the queue."""

    state: str
    error: str | None
    row: str
    event: str | None
    reported: bool
    queued: bool = False


ENHANCED = End("PublishEnhanced", None, row="enhanced", event="Photo Enhanced", reported=False)
FAILED = End("NotEnhanced", "content_policy_violation", row="failed", event="Photo Not Enhanced", reported=True)
LATE = replace(FAILED, error="deadline_passed")
REJECTED = End("Reported", None, row="rejected", event="Photo Not Enhanced", reported=True)
RETRIED = End("WillRetry", None, row="retrying", event=None, reported=False, queued=True)
NOT_RETRIED = replace(FAILED, error="service_error")
ABORTED = replace(FAILED, error="execution_aborted")
NOTHING = End("NothingToReport", None, row="submitted", event=None, reported=False)

ENDS = {
    "enhanced at the first look": ENHANCED,
    "enhanced after some looks": ENHANCED,
    "enhanced, with nothing optional": ENHANCED,
    "enhanced, with a hostile key": ENHANCED,
    "rejected": REJECTED,
    "rejected, with a hostile key": REJECTED,
    "unknown": replace(FAILED, error="ambiguous_submit", row="unknown"),
    "failed": FAILED,
    "cancelled": replace(FAILED, error="request_cancelled"),
    "failed, with a hostile key": FAILED,
    "superseded": replace(REJECTED, row="superseded"),
    "refused": replace(FAILED, error="result_not_an_image"),
    "delivered at the second try": ENHANCED,
    "not completed any more after a delivery that had to wait": ENHANCED,
    "check_status crashes once": ENHANCED,
    "check_status crashes before anything is known": ENHANCED,
    "deliver crashes once": ENHANCED,
    "check_status throttled": ENHANCED,
    "check_status throttled for longer": ENHANCED,
    "deliver throttled": ENHANCED,
    "deliver throttled for longer": ENHANCED,
    "both throttled, and the result not there yet": ENHANCED,
    "started once more after the deadline": ENHANCED,
    "never ends": LATE,
    "never delivered": LATE,
    "ends after the deadline": ENHANCED,
    "check_status always crashes": LATE,
    "deliver always crashes": LATE,
    "ledger throttled, then not": ENHANCED,
    "ledger never writes enhanced": End("NotRecorded", "not_recorded", row="submitted", event=None, reported=False),
    "enhanced, recorded already": ENHANCED,
    "enhanced, given up before": ENHANCED,
    "enhanced, another attempt has the row": replace(ENHANCED, row="submitted"),
    "enhanced, the row is closed": replace(ENHANCED, row="superseded"),
    "enhanced, events throttled, then not": ENHANCED,
    "enhanced, no event gets through": replace(ENHANCED, state="EventNotPublished", event=None),
    "failed, the report at the second try": FAILED,
    "failed, the report can't be written": replace(FAILED, reported=False),
    "failed, the ledger at the second try": FAILED,
    "failed, the ledger never writes": replace(FAILED, row="submitted"),
    "failed, recorded already": FAILED,
    "failed, another attempt has the row": replace(FAILED, row="submitted"),
    "failed, the row is closed": replace(FAILED, row="superseded"),
    "failed, the event at the second try": FAILED,
    "failed, no event gets through": replace(FAILED, event=None),
    "failed, and nothing can be written": replace(FAILED, row="submitted", event=None, reported=False),
    "retried": RETRIED,
    "retried once more": RETRIED,
    "retried, with a hostile key": RETRIED,
    "retried, recorded already": RETRIED,
    "retried, and ledger and queue at the second try": RETRIED,
    "third attempt fails": NOT_RETRIED,
    "not retried, the ledger does not write that": NOT_RETRIED,
    "not retried, another attempt has the row": replace(NOT_RETRIED, row="submitted"),
    "not retried, the queue takes nothing": NOT_RETRIED,
    "aborted": ABORTED,
    "timed out": replace(ABORTED, error="execution_timed_out"),
    "broken": replace(ABORTED, error="execution_failed"),
    "aborted, with a hostile key": ABORTED,
    "aborted while it was to be retried": ABORTED,
    "aborted while reporting a rejection": REJECTED,
    "aborted, the ledger does not answer": replace(ABORTED, row="submitted"),
    "failed in the regular way": replace(NOTHING, row="failed"),
    "ended, another attempt has the row": NOTHING,
    "ended without being recorded": NOTHING,
    "ended, and had itself followed another": NOTHING,
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


LOOK = ["WaitForTask", "CheckStatus", "IsDone"]
WAYS = {
    "delivered at the second try": [*LOOK, "Deliver", "IsDelivered", "IsDone", *LOOK, "Deliver", "IsDelivered"],
    "deliver crashes once": [*LOOK, "Deliver", "IsDone", *LOOK, "Deliver", "IsDelivered"],
    "check_status crashes before anything is known": [*LOOK, *LOOK, "Deliver", "IsDelivered"],
}


@pytest.mark.parametrize("name", WAYS)
def test_way_round(ran: Ran, name: str) -> None:
    """No detours: each state more is a transition to pay for, and two events more in a history that holds 25,000."""
    start, end = ["RouteInput"], ["RecordEnhanced", "PublishEnhanced"]
    assert ran(name).states == [*start, *WAYS[name], *end]


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
