"""The catalogue of codes agrees with the code that uses it, the state machines, the samples, and the documentation."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest

from lumendrop import outcomes
from lumendrop.ledger import POSSIBLY_CHARGED
from lumendrop.outcomes import CATALOGUE, ENHANCER_REFUSED, TASK_FAILED, TASK_FAILED_RETRYABLE, WORKFLOW_ERRORS, Entry
from tests.template.reading import DEFINITIONS, ROOT, SAM

OPERATIONS = (ROOT / "docs/operations.md").read_text()
EVENTS = (ROOT / "docs/events.md").read_text()
CODE = [*(ROOT / "functions").glob("*/app.py"), *(ROOT / "layers/lumendrop").rglob("*.py")]
FIELDS = Entry.__struct_fields__
BY_CODE_OF_THE_ENHANCER = [ENHANCER_REFUSED, TASK_FAILED, TASK_FAILED_RETRYABLE]


# ---------------------------------------------------------------- the documentation


def _table(first_cell: str) -> list[list[str]]:
    """The rows of the table in docs/operations.md whose first column has this title."""
    _, _, rest = OPERATIONS.partition(f"\n| {first_cell} |")
    lines = rest.splitlines()[2:]
    rows = lines[: next(number for number, line in enumerate(lines) if not line.startswith("|"))]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]


def _codes(cell: str) -> list[str]:
    return re.findall(r"`([a-z_]+)`", cell)


def test_every_code_of_a_report_is_documented_with_its_status() -> None:
    documented = {
        code: status
        for cell, status, _ in _table("code")
        if "other codes of the enhancer" not in cell
        for code in _codes(cell)
    }

    assert documented == {code: entry.status for code, entry in CATALOGUE.items()}


def test_the_codes_of_the_enhancer_are_documented_with_their_statuses() -> None:
    rows = [row for row in _table("code") if "other codes of the enhancer" in row[0]]

    assert {status for _, status, _ in rows} == {entry.status for entry in BY_CODE_OF_THE_ENHANCER}
    assert not {code for cell, *_ in rows for code in _codes(cell)} & set(CATALOGUE)


def test_every_error_of_an_execution_is_documented() -> None:
    of_the_backfill = {code for cell, _ in _table("error") for code in _codes(cell)}

    of_the_workflow = {"not_recorded", "not_reported"}
    assert of_the_backfill | of_the_workflow == set(WORKFLOW_ERRORS)
    assert all(f"`{code}`" in OPERATIONS for code in of_the_workflow)


def test_every_reason_to_wait_is_documented() -> None:
    documented = {code for cell, _ in _table("reason") for code in _codes(cell)}

    made = set(_first_arguments("Deferred", "stop", "Wait"))
    known = {
        "access_denied",
        "daily_limit",
        "pace",
        "claimed",
        "ambiguous_submit",
        "not_recorded",
        "no_time",
        "same_photo",
    }
    assert made == known
    assert made <= documented


def _documented_outcomes() -> Iterator[Any]:
    for block in re.findall(r"```json\n(.*?)```", EVENTS, re.DOTALL):
        detail = json.loads(block).get("detail", {})
        yield from [detail["outcome"]] if "outcome" in detail else []
    yield json.loads((ROOT / "events/workflow-rejected.json").read_text())["outcome"]


def test_the_outcomes_in_samples_and_documentation_are_those_of_the_catalogue() -> None:
    found = list(_documented_outcomes())

    assert len(found) >= 2
    for one in found:
        entry = CATALOGUE[one["code"]]
        assert {"code", *FIELDS} == set(one)
        assert (one["status"], one["may_have_cost"]) == (entry.status, entry.may_have_cost)
        for name in ("message", "advice"):
            assert re.fullmatch(re.sub(r"\\{.*?\\}", ".+", re.escape(getattr(entry, name))), one[name])


# ---------------------------------------------------------------- the code


def _calls(*names: str) -> Iterator[tuple[str, ast.Call]]:
    for path in CODE:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if called in names:
                    yield path.stem, node


def _first_arguments(*names: str) -> list[str]:
    return [
        str(node.args[0].value) for _, node in _calls(*names) if node.args and isinstance(node.args[0], ast.Constant)
    ]


def test_only_the_catalogue_makes_outcomes() -> None:
    assert {module for module, _ in _calls("Outcome", "Entry", "WorkflowError")} == {"outcomes"}


def test_every_code_of_the_catalogue_is_used_and_no_other() -> None:
    used = set(_first_arguments("Rejected", "outcome", "Broken"))
    written = {code for one in _asl_outcomes() for code in _asl_codes(one["code"])}

    assert used | written == set(CATALOGUE)
    assert not used & written


@pytest.mark.parametrize("code", CATALOGUE)
def test_only_a_status_that_may_be_charged_may_have_cost(code: str) -> None:
    entry = CATALOGUE[code]
    assert entry.status in get_args(outcomes.Status)
    assert entry.may_have_cost == (entry.status in POSSIBLY_CHARGED)
    assert entry.message.endswith((".", "}"))
    assert entry.advice.endswith(".")


@pytest.mark.parametrize("code", [code for code, entry in CATALOGUE.items() if "lumendrop fetch KEY" in entry.advice])
def test_advice_to_fetch_comes_before_advice_to_pay(code: str) -> None:
    advice = CATALOGUE[code].advice
    paying = [advice.find(words) for words in ("lumendrop retry", "pay for a new") if words in advice]
    assert all(advice.index("lumendrop fetch KEY") < place for place in paying)


def test_only_a_task_without_a_result_is_paid_for_again_without_a_fetch() -> None:
    paid = {code for code, entry in CATALOGUE.items() if entry.may_have_cost and "lumendrop fetch" not in entry.advice}
    # Its task ID is unknown, its last task failed, or its photo is not needed.
    assert paid == {"ambiguous_submit", "retry_not_sent", "newer_upload_delivered"}


# ---------------------------------------------------------------- the state machines


def _nodes(part: Any) -> Iterator[Any]:
    yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from _nodes(inner)


def _asl_outcomes() -> list[dict[str, Any]]:
    """Every outcome that the state machines write themselves, as a mapping of theirs or as an object in JSONata."""
    found = []
    for node in _nodes(list(DEFINITIONS.values())):
        if isinstance(node, dict) and set(node) == {"code", *FIELDS} and "outcome" not in str(node["code"]):
            found.append(node)
        elif isinstance(node, str) and "'may_have_cost':" in node:
            pairs = {name: re.findall(rf"'{name}': (.+?),?\n", node) for name in ("code", *FIELDS)}
            assert all(len(values) == 1 for values in pairs.values()), node
            found.append({name: _as_yaml(values[0]) for name, values in pairs.items()})
    return found


def _as_yaml(expression: str) -> Any:
    return expression == "true" if expression in ("true", "false") else f"{{% {expression} %}}"


def _asl_codes(expression: str) -> set[str]:
    """The code, or one for each status with which ExecutionFailureRule starts the workflow."""
    statuses = SAM["Resources"]["ExecutionFailureRule"]["Properties"]["EventPattern"]["detail"]["status"]
    text = _placeholders(expression)
    return {text.replace("{}", status.lower()) for status in statuses} if "{}" in text else {text}


def _placeholders(text: str) -> str:
    """A text of the state machines or of the catalogue, with `{}` for each value in it."""
    if not text.startswith("{%"):
        return re.sub(r"\{[^}]*\}", "{}", text)
    parts = re.findall(r"'([^']*)'|([^'&]+)", text.removeprefix("{%").removesuffix("%}"))
    return "".join("{}" if expression.strip() else literal for literal, expression in parts)


def test_the_state_machines_write_the_texts_of_the_catalogue() -> None:
    found = _asl_outcomes()

    assert len(found) == 2
    for one in found:
        for code in _asl_codes(one["code"]):
            entry = CATALOGUE[code]
            assert _placeholders(one["status"]) == entry.status
            assert one["may_have_cost"] is entry.may_have_cost
            assert _placeholders(one["message"]) == _placeholders(entry.message)
            assert _placeholders(one["advice"]) == _placeholders(entry.advice)


def test_executions_fail_with_the_errors_of_the_catalogue() -> None:
    failures = [
        node for node in _nodes(list(DEFINITIONS.values())) if isinstance(node, dict) and node.get("Type") == "Fail"
    ]
    own = {node["Error"]: node["Cause"] for node in failures if not node["Error"].startswith("{%")}

    assert [node["Error"] for node in failures if node["Error"].startswith("{%")] == ["{% $outcome.code %}"]
    assert set(own) == set(WORKFLOW_ERRORS)
    for code, cause in own.items():
        error = WORKFLOW_ERRORS[code]
        assert _placeholders(cause) in (_placeholders(error.message), _placeholders(f"{error.message} {error.advice}"))
