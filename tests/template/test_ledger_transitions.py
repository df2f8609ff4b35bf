"""The ledger's statuses and transitions are the same in its module, the workflow, the documentation, and the CLI."""

import re
from pathlib import Path
from typing import Any, get_args

import pytest

from lumendrop.ledger import FINAL, POSSIBLY_CHARGED, RESENDABLE, TRANSITIONS, Status
from lumendrop.outcomes import Status as OutcomeStatus
from lumendrop_cli import statuses
from tests.template.reading import DEFINITIONS

ROOT = Path(__file__).resolve().parents[2]
Transition = tuple[str | None, str | None]


def _transitions() -> set[Transition]:
    return {(before, after) for before, followers in TRANSITIONS.items() for after in followers}


def test_every_status_has_transitions() -> None:
    assert set(TRANSITIONS) == {None, *get_args(Status)}


def test_a_final_status_is_left_only_for_another_attempt_or_a_later_delivery() -> None:
    left = {(before, after) for before, after in _transitions() if before in FINAL}
    left.remove(("unknown", "submitted"))  # its task ID arrived after all
    assert {after for _, after in left} == {"claimed", "enhanced", "superseded"}
    claimed = {before for before, after in _transitions() if before in FINAL and after == "claimed"}
    assert claimed == RESENDABLE | {"enhanced"}  # if the owner wants to pay again
    assert set(get_args(OutcomeStatus)) == RESENDABLE | {"superseded"}


def test_only_a_rejected_upload_is_certainly_not_charged() -> None:
    assert set(get_args(Status)) - POSSIBLY_CHARGED == {"rejected"}


def test_the_cli_which_shares_no_code_with_the_layer_has_the_same_statuses() -> None:
    assert set(statuses.DESCRIPTIONS) == set(get_args(Status))
    assert (statuses.FINAL, statuses.RESENDABLE) == (FINAL, RESENDABLE)


def test_the_documentation_lists_every_status() -> None:
    _, _, rest = (ROOT / "docs/operations.md").read_text().partition("\n| status |")
    table = rest.partition("\n\n")[0]

    assert set(re.findall(r"^\| `(\w+)` \|", table, flags=re.MULTILINE)) == set(get_args(Status))


def test_the_diagram_shows_the_transitions() -> None:
    text = (ROOT / "docs/architecture.md").read_text()
    drawn: set[Transition] = {
        (None if before == "[*]" else before, after)
        for before, after in re.findall(r"^ +(\S+) --> (\S+)$", text, flags=re.MULTILINE)
    }
    released: set[Transition] = {(before, after) for before, after in _transitions() if before == "claimed"} - drawn
    assert drawn | released == _transitions()
    assert {after for _, after in released} == {None, "retrying", "failed", "enhanced"}


def test_the_workflow_makes_no_other_transitions(ledger_updates: dict[str, tuple[set[str], set[str]]]) -> None:
    """Each update names the statuses that it may find. An update that is retried finds its own."""
    assert set(ledger_updates) == {"RecordEnhanced", "RecordNotEnhanced", "RecordRetrying"}
    for found, written in ledger_updates.values():
        made = {(before, after) for before in found for after in written if before != after}
        # An upload without a task already has a rejected or unknown row; a submitted one never becomes that.
        impossible = {(before, after) for before in ("submitted", "retrying") for after in ("rejected", "unknown")}
        impossible |= {("retrying", "superseded")}
        assert made - impossible <= _transitions()


def test_the_workflow_writes_the_key_of_the_index_with_each_status() -> None:
    updates = [state["Arguments"] for state in DEFINITIONS["Workflow"]["States"].values() if _changes_status(state)]
    assert len(updates) == 3
    for arguments in updates:
        assert "changed_at = :now, changed_day = :day" in arguments["UpdateExpression"]
        values = arguments["ExpressionAttributeValues"]
        assert (values[":now"], values[":day"]) == ({"S": "{% $now() %}"}, {"S": "{% $substring($now(), 0, 10) %}"})


def _changes_status(state: dict[str, Any]) -> bool:
    return "#status = " in state.get("Arguments", {}).get("UpdateExpression", "")


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
            assert listed, f"{name} changes a status without a condition"
            found = [values[one.strip()]["S"] for one in listed[1].split(",")]
            updates[name] = (
                {one for one in found if not one.startswith("{%")},
                _literal(values[written[1]]["S"]),
            )
    return updates


def _literal(value: str) -> set[str]:
    return set(get_args(OutcomeStatus)) if value.startswith("{%") else {value}
