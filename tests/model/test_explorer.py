"""The promises hold in every state, and each old fault that is put back breaks one of them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop import ledger, upload_queue
from lumendrop.decisions import Action, Inspect, Reject, Skip, StartWorkflow, Twin, decide
from lumendrop.enhancer import Unavailable
from lumendrop.outcomes import Outcome
from lumendrop.upload_queue import Deferred
from tests.model import explorer, ports
from tests.model.explorer import ENHANCED_BEFORE, SMALL, Explorer, State, explore, uploads
from tests.model.ports import Submit


@pytest.mark.parametrize("name", SMALL)
def test_the_promises_hold_in_every_state(name: str) -> None:
    found = SMALL[name].explore()

    assert (found.violation, found.trace) == ("", [])
    assert found.states > 50


def broken(submit: Submit, first: State) -> str:
    found = explore(first, Explorer(submit))
    assert found.trace
    return found.violation


def _others(ledger: Any, name: str) -> dict[str, Any]:
    public = [one for one in dir(ledger) if not one.startswith("_") and one != name]
    return {one: getattr(ledger, one) for one in public}


@pytest.fixture
def submit() -> Any:
    return Submit()


def test_a_rejection_before_the_row_is_found(submit: Any) -> None:
    """Fault 2."""

    def object_first(upload: Any, row: Any, photo: Any, *others: Any) -> Action:
        if photo is None:
            return Inspect()
        if isinstance(photo, Outcome):
            return Reject(photo) if row is None else StartWorkflow(row)
        return decide(upload, row, photo, *others)

    submit.module.decide = object_first

    assert broken(submit, uploads("v1", delete=1, crash=1)) == "a workflow starts with neither task nor outcome"


def test_a_retry_that_is_not_ended_is_found(submit: Any) -> None:
    """Fault 2: the row stays `retrying`."""
    submit.module.LEDGER.end_retry = lambda row, _: row
    rejects = submit.module.decide

    def acknowledge(upload: Any, row: Any, photo: Any, *others: Any) -> Action:
        if row is not None and row.status == "retrying" and isinstance(photo, Outcome):
            return Skip("gone")
        action: Action = rejects(upload, row, photo, *others)
        return action

    submit.module.decide = acknowledge

    assert broken(submit, uploads("v1", delete=1, retryable=1)) == "an upload stays retrying"


def test_a_lost_task_id_is_found(submit: Any) -> None:
    """Fault 3."""

    def record(row: Any, task: Any, _: float) -> Any:
        return submit.module.LEDGER.record(row, task, 0)

    submit.module.TASKS.record = record

    assert broken(submit, uploads("v1", fault=1)) == "an upload is unknown, although nothing was unclear"


def test_an_ambiguous_answer_that_is_taken_for_none_is_found(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 11."""
    answer = {"ambiguous, created": lambda: Unavailable("service_unavailable_error", "no")}
    monkeypatch.setattr(explorer, "POSTS", ports.POSTS | answer)

    assert "after an ambiguous answer" in broken(submit, uploads("v1"))


def test_a_key_that_is_read_after_the_claim_is_found(submit: Any) -> None:
    """Fault 12."""

    def no_key(*_: object) -> Any:
        raise RuntimeError("Secrets Manager is unavailable")

    submit.module.TASKS.presign = no_key

    assert broken(submit, uploads("v1")) == "an upload is unknown, although nothing was unclear"


def test_a_paid_task_that_waits_for_the_account_is_found(submit: Any) -> None:
    """Fault 13."""
    process = submit.module.submit

    def breaker_first(upload: Any, message: Any, ends: float) -> Any:
        if submit.module.LEDGER.read(upload):
            raise Deferred("insufficient_quota", "the account is blocked")
        return process(upload, message, ends)

    submit.module.submit = breaker_first

    assert broken(submit, uploads("v1", crash=1)) == "submit ends, and no workflow watches the paid task"


def test_copies_that_multiply_are_found(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 14."""
    monkeypatch.setattr(upload_queue, "is_current", lambda *_: True)

    assert broken(submit, uploads("v1", lost=1, unavailable=3)) == "copies of a message multiply"


def test_a_superseded_upload_that_is_paid_for_again_is_found(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 15."""
    monkeypatch.setattr(ledger, "RESENDABLE", ledger.RESENDABLE | {"superseded"})
    monkeypatch.setitem(ledger.TRANSITIONS, "superseded", frozenset({"claimed"}))

    assert broken(submit, uploads("v1", "v2", retry=1)) == "a superseded upload is sent again"


def test_a_release_that_loses_the_final_status_is_found(submit: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fault 15."""
    known = ledger._KNOWN - {"finished_at"}
    read = ledger._from_item

    def forgetful(item: Any) -> Any:
        return read({name: value for name, value in item.items() if name in known | {"pk", "sk"}})

    monkeypatch.setattr(ledger, "_from_item", forgetful)

    problem = "a released claim loses how the last attempt ended"
    assert broken(submit, uploads("v1", retry=1, unavailable=1)) == problem


def test_a_photo_that_is_paid_for_twice_is_found() -> None:
    """Fault 4: two uploads of it at the same moment."""
    submit: Any = Submit(same_photo="reuse")
    hold = submit.module.LEDGER.claim

    def claim(*arguments: Any) -> Any:
        return hold(*arguments[:4])

    submit.module.TASKS.ledger = SimpleNamespace(claim=claim, **_others(submit.module.LEDGER, "claim"))

    assert broken(submit, uploads("v1", "c1")) == "the same photo is paid for twice"


def test_a_copy_that_nobody_records_is_found() -> None:
    """Two deliveries: one is rejected, because the photo was deleted, and the other one is killed after its copy."""
    submit: Any = Submit(same_photo="reuse")
    submit.module.same_photo.find_copy = lambda _, __, ended: ended
    found = ENHANCED_BEFORE.explore(Explorer(submit))

    assert found.violation == "an upload that is rejected has both"


def test_an_upload_that_waits_for_ever_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """It waits for another upload of the same photo, whose task failed."""
    submit: Any = Submit(same_photo="reuse")
    monkeypatch.setattr(Twin, "is_in_progress", lambda twin, _: twin.result is None)

    assert broken(submit, uploads("v1", "c1")) == "an upload never ends"


def test_the_shortest_trace_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    result = explorer.Result(3, 4, 0.5, "an upload never ends", ["v1: inspect"])
    monkeypatch.setattr(explorer, "results", lambda: iter([("a crash", result)]))
    lines: list[str] = []

    assert explorer.main([], lines.append) == 1
    assert lines[:2] == ["a crash: 3 states, 4 transitions, 0 s", "  an upload never ends:\n  v1: inspect"]
