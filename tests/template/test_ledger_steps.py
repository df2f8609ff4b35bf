"""The ledger's steps are the same in its module, in the workflow's conditions and in the picture of them."""

import re
from pathlib import Path
from typing import get_args

import pytest

from lumendrop.ledger import TRANSITIONS, Status
from lumendrop.outcomes import Status as OutcomeStatus
from tests.template.reading import DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
Step = tuple[str | None, str | None]


def _steps() -> set[Step]:
    return {(before, after) for before, followers in TRANSITIONS.items() for after in followers}


def test_every_status_has_its_steps() -> None:
    assert set(TRANSITIONS) == {None, *get_args(Status)}


def test_the_picture_shows_the_steps() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    drawn: set[Step] = {
        (None if before == "[*]" else before, after)
        for before, after in re.findall(r"^ +(\S+) --> (\S+)$", text, flags=re.MULTILINE)
    }
    released: set[Step] = {(before, after) for before, after in _steps() if before == "claimed"} - drawn
    assert drawn | released == _steps()
    assert {after for _, after in released} == {None, "retrying", "failed", "superseded"}


def test_the_workflow_takes_no_other_steps(ledger_updates: dict[str, tuple[set[str], set[str]]]) -> None:
    """Each update names the statuses it may find; a retried update finds its own."""
    assert set(ledger_updates) == {"RecordEnhanced", "RecordNotEnhanced", "RecordRetrying"}
    for found, written in ledger_updates.values():
        taken = {(before, after) for before in found for after in written if before != after}
        # An upload without a task comes with its row rejected or unknown already; a submitted one never becomes that.
        impossible = {(before, after) for before in ("submitted", "retrying") for after in ("rejected", "unknown")}
        impossible |= {("retrying", "superseded")}
        assert taken - impossible <= _steps()


@pytest.fixture
def ledger_updates() -> dict[str, tuple[set[str], set[str]]]:
    """For each state that changes a row's status: the statuses it may find, and those it may write."""
    updates = {}
    for name, state in DEFINITIONS["Workflow"]["States"].items():
        arguments = state.get("Arguments", {})
        written = re.search(r"#status = (:\w+)", arguments.get("UpdateExpression", ""))
        if written:
            values = arguments["ExpressionAttributeValues"]
            listed = re.search(r"#status IN \(([^)]*)\)", arguments["ConditionExpression"])
            assert listed, f"{name} changes a status whatever it was"
            found = [values[one.strip()]["S"] for one in listed[1].split(",")]
            updates[name] = (
                {one for one in found if not one.startswith("{%")},
                _literal(values[written[1]]["S"]),
            )
    return updates


def _literal(value: str) -> set[str]:
    return set(get_args(OutcomeStatus)) if value.startswith("{%") else {value}
