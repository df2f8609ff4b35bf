"""The ledger's transitions are the same in its module, in the workflow's conditions, and in the diagram."""

import re
from pathlib import Path
from typing import get_args

import pytest

from lumendrop.ledger import TRANSITIONS, Status
from lumendrop.outcomes import Status as OutcomeStatus
from tests.template.reading import DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
Transition = tuple[str | None, str | None]


def _transitions() -> set[Transition]:
    return {(before, after) for before, followers in TRANSITIONS.items() for after in followers}


def test_every_status_has_its_transitions() -> None:
    assert set(TRANSITIONS) == {None, *get_args(Status)}


def test_the_picture_shows_the_transitions() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    drawn: set[Transition] = {
        (None if before == "[*]" else before, after)
        for before, after in re.findall(r"^ +(\S+) --> (\S+)$", text, flags=re.MULTILINE)
    }
    released: set[Transition] = {(before, after) for before, after in _transitions() if before == "claimed"} - drawn
    assert drawn | released == _transitions()
    assert {after for _, after in released} == {None, "retrying", "failed", "superseded"}


def test_the_workflow_makes_no_other_transitions(ledger_updates: dict[str, tuple[set[str], set[str]]]) -> None:
    """Each update lists the statuses that it accepts; a retried update accepts its own."""
    assert set(ledger_updates) == {"RecordEnhanced", "RecordNotEnhanced", "RecordRetrying"}
    for found, written in ledger_updates.values():
        taken = {(before, after) for before in found for after in written if before != after}
        # The row of an upload without a task is already rejected or unknown. A submitted upload never becomes that.
        impossible = {(before, after) for before in ("submitted", "retrying") for after in ("rejected", "unknown")}
        impossible |= {("retrying", "superseded")}
        assert taken - impossible <= _transitions()


@pytest.fixture
def ledger_updates() -> dict[str, tuple[set[str], set[str]]]:
    """For each state that changes a status: the statuses that it accepts, and those that it can write."""
    updates = {}
    for name, state in DEFINITIONS["Workflow"]["States"].items():
        arguments = state.get("Arguments", {})
        written = re.search(r"#status = (:\w+)", arguments.get("UpdateExpression", ""))
        if written:
            values = arguments["ExpressionAttributeValues"]
            listed = re.search(r"#status IN \(([^)]*)\)", arguments["ConditionExpression"])
            assert listed, f"{name} changes a status unconditionally"
            found = [values[one.strip()]["S"] for one in listed[1].split(",")]
            updates[name] = (
                {one for one in found if not one.startswith("{%")},
                _literal(values[written[1]]["S"]),
            )
    return updates


def _literal(value: str) -> set[str]:
    return set(get_args(OutcomeStatus)) if value.startswith("{%") else {value}
