"""What the workflow asks, waits, writes and tells on its ways."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from lumendrop.outcomes import Outcome
from lumendrop.polling import Poll, Task
from lumendrop.uploads import Upload, parse_event
from tests.event_schemas import problems
from tests.workflow.harness import Clock, Run, Workflow, iso
from tests.workflow.scenarios import COMPLETED, HOSTILE, PATIENCE, SCENARIOS, WAITING, delivered, outcome, poll

Ran = Callable[[str], Run]

HOSTILE_RUNS = [
    "enhanced, with a hostile key",
    "rejected, with a hostile key",
    "failed, with a hostile key",
    "retried, with a hostile key",
    "aborted, with a hostile key",
]


# What the functions are asked.


def test_each_look_gets_what_the_last_one_found(ran: Ran) -> None:
    run = ran("enhanced after some looks")
    asked = run.payloads("CheckStatus")
    assert [payload["task"] for payload in asked] == [run.given["task"]] * 4
    assert [payload["poll"] for payload in asked] == [
        run.given["poll"],
        poll("waiting", 11, polls=1, progress=10.0),
        poll("waiting", 3, polls=2, progress=55.0, unreachable=1),
        poll("waiting", 2, polls=3, progress=90.0),
    ]


def test_delivery_gets_ids_and_no_more(ran: Ran) -> None:
    run = ran("enhanced after some looks")
    names = ("correlation_id", "upload", "attempt", "options", "task")
    assert run.payloads("Deliver") == [{name: run.given[name] for name in names}]


@pytest.mark.parametrize("name", ["enhanced, with nothing optional", "check_status crashes once", "never delivered"])
def test_functions_understand_what_they_are_asked(ran: Ran, name: str) -> None:
    run = ran(name)
    for function, payload in run.asked:
        assert payload["correlation_id"] == run.given["correlation_id"]
        msgspec.convert(payload["task"], Task)
        if function == "CheckStatus":
            msgspec.convert(payload["poll"], Poll)
        else:
            msgspec.convert(payload["upload"], Upload)


@pytest.mark.parametrize("name", ["rejected", "unknown", "aborted", "timed out", "failed in the regular way"])
def test_no_function_is_asked_where_there_is_nothing_to_wait_for(ran: Ran, name: str) -> None:
    assert ran(name).asked == []


# How long it waits.


def test_waits_as_long_as_the_last_answer_says(ran: Ran) -> None:
    assert ran("enhanced after some looks").waits == [5, 11, 3, 2]
    assert ran("delivered at the second try").waits == [5, 20]


def test_a_look_that_crashes_is_one_more_round(ran: Ran) -> None:
    run = ran("check_status crashes once")
    assert run.waits == [5, 7, 60]
    assert run.payloads("CheckStatus")[2]["poll"] == WAITING | {"state": "waiting", "wait_seconds": 60}


def test_a_look_that_lambda_refuses_is_one_more_round(ran: Ran) -> None:
    run = ran("check_status throttled for longer")
    assert run.waits == [5, 60]
    wanted = {"state": "waiting", "wait_seconds": 60, "lambda_throttled": True}
    assert run.payloads("CheckStatus")[0]["poll"] == run.given["poll"] | wanted


@pytest.mark.parametrize("name", ["deliver crashes once", "deliver throttled for longer"])
def test_a_failed_delivery_is_one_more_round(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.waits == [5, 60]
    assert run.payloads("CheckStatus")[1]["poll"] == COMPLETED | {"state": "waiting", "wait_seconds": 60}


def test_a_delivery_that_has_to_wait_forgets_nothing(ran: Ran) -> None:
    run = ran("delivered at the second try")
    assert run.payloads("CheckStatus")[1]["poll"] == COMPLETED | {"state": "waiting", "wait_seconds": 20}


@pytest.mark.parametrize("name", ["check_status throttled", "deliver throttled"])
def test_a_passing_fault_of_lambda_costs_no_round(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.waits == [5]
    assert run.calls.count("Invoke") == 5
    assert len(run.retries) == 3
    assert sum(run.retries) <= 14


@pytest.mark.parametrize("name", ["check_status crashes once", "deliver crashes once"])
def test_a_crash_of_a_function_is_not_retried_at_once(ran: Ran, name: str) -> None:
    assert ran(name).retries == []


def test_the_least_wait_grows_with_the_age_of_the_execution(workflow: Workflow) -> None:
    """An execution's history holds 25,000 events; a day of looks every few seconds would not fit."""
    clock = Clock()
    clock.now += 50_000
    run = workflow.run(
        workflow.submitted(clock, "photo.jpg"),
        clock,
        check_status=[poll("waiting", 2), poll("waiting", 900), COMPLETED],
        deliver=[delivered()],
    )
    assert run.waits == [pytest.approx(500, abs=2), pytest.approx(505, abs=2), 900]
    assert all(isinstance(seconds, int) for seconds in run.waits)


# When it gives up.


@pytest.mark.parametrize(
    "name", ["never ends", "never delivered", "check_status always crashes", "deliver always crashes"]
)
def test_gives_up_at_the_deadline_and_not_before(ran: Ran, name: str) -> None:
    run = ran(name)
    deadline = run.given["task"]["deadline"]
    waiting_ended = run.ended_at - sum(run.retries)
    assert deadline <= waiting_ended < deadline + run.waits[-1]
    assert run.report is not None
    assert iso(deadline) in run.report["what_happened"]
    assert run.report["may_have_cost_money"] is True


def test_looks_at_least_once_more_than_the_deadline_asks(ran: Ran) -> None:
    run = ran("ends after the deadline")
    assert sum(run.waits) > PATIENCE
    assert run.row["status"] == "enhanced"


# What it leaves behind.


def test_report(ran: Ran) -> None:
    run = ran("failed")
    expected = outcome("failed", "content_policy_violation")
    assert run.report_type == "application/json"
    assert run.report is not None
    assert run.report.pop("execution").startswith("arn:aws:states:")
    assert run.report == {
        "status": "failed",
        "code": expected.code,
        "what_happened": expected.message,
        "what_to_do": expected.advice,
        "may_have_cost_money": True,
        "correlation_id": run.given["correlation_id"],
        "upload": run.given["upload"],
        "attempt": 1,
        "options": {"resolution": "4K"},
        "task_id": "task-unified-1",
        "reported_at": iso(run.ended_at),
    }


def test_report_without_a_task(ran: Ran) -> None:
    report = ran("rejected").report
    assert report is not None
    assert report["status"] == "rejected"
    assert report["task_id"] is None
    assert report["may_have_cost_money"] is False
    assert report["options"] == {}


def test_row_of_an_enhanced_photo(ran: Ran) -> None:
    run = ran("enhanced after some looks")
    assert run.row["output"] == {"bucket": "photos-out", "key": "photo.jpg", "version_id": "out-1", "bytes": 123456}
    assert run.row["finished_at"] == iso(run.ended_at)
    assert "outcome" not in run.row
    assert run.row["task_id"] == "task-unified-1"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("failed", outcome("failed", "content_policy_violation")),
        ("superseded", outcome("superseded", "newer_upload_delivered")),
        ("refused", outcome("failed", "result_not_an_image")),
    ],
)
def test_row_of_a_photo_that_is_not_enhanced(ran: Ran, workflow: Workflow, name: str, expected: Outcome) -> None:
    run = ran(name)
    assert run.row["report_key"] == "errors/photo.jpg.json"
    assert run.row["finished_at"] == iso(run.ended_at)
    found = workflow.seen_by_submit(msgspec.convert(run.given["upload"], Upload), Clock())
    assert found.status == expected.status
    assert found.outcome == expected
    assert found.task_id == "task-unified-1"


@pytest.mark.parametrize(
    "name",
    [
        "enhanced, another attempt has the row",
        "enhanced, the row is closed",
        "failed, another attempt has the row",
        "failed, the row is closed",
        "not retried, another attempt has the row",
        "ended, another attempt has the row",
    ],
)
def test_a_row_that_is_another_attempts_or_closed_stays_as_it_is(ran: Ran, name: str) -> None:
    run = ran(name)
    assert not {"finished_at", "output", "outcome", "report_key", "ended_early"} & set(run.row)
    assert run.retries == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_events_are_as_documented(ran: Ran, name: str) -> None:
    assert [problems(event) for event in ran(name).events if problems(event)] == []


def test_event_of_an_enhanced_photo(ran: Ran) -> None:
    run = ran("enhanced after some looks")
    (event,) = run.events
    assert event["source"] == "lumendrop"
    assert event["detail"] == {
        "correlation_id": run.given["correlation_id"],
        "upload": run.given["upload"],
        "attempt": 1,
        "task_id": "task-unified-1",
        "options": {"resolution": "4K"},
        "output": delivered()["output"],
    }


def test_event_of_a_photo_that_is_not_enhanced(ran: Ran, workflow: Workflow) -> None:
    run = ran("failed")
    (event,) = run.events
    assert event["source"] == "lumendrop"
    assert event["detail"] == {
        "correlation_id": run.given["correlation_id"],
        "upload": run.given["upload"],
        "attempt": 1,
        "task_id": "task-unified-1",
        "options": {"resolution": "4K"},
        "outcome": msgspec.to_builtins(outcome("failed", "content_policy_violation")),
        "report": {"bucket": workflow.resources["OutputBucket"], "key": "errors/photo.jpg.json"},
    }


def test_event_of_an_upload_without_a_task(ran: Ran) -> None:
    (event,) = ran("rejected").events
    assert event["detail"]["task_id"] is None
    assert event["detail"]["outcome"]["may_have_cost"] is False


def test_an_execution_that_fails_says_what_the_report_says(ran: Ran) -> None:
    run = ran("failed, and nothing can be written")
    expected = outcome("failed", "content_policy_violation")
    assert run.cause == f"{expected.message} {expected.advice}"


# Another try.


@pytest.mark.parametrize(("name", "attempt"), [("retried", 1), ("retried once more", 2)])
def test_a_retried_upload_is_back_in_the_queue(ran: Ran, workflow: Workflow, name: str, attempt: int) -> None:
    run = ran(name)
    upload = msgspec.convert(run.given["upload"], Upload)
    (message,) = run.queued
    assert parse_event(message["body"]) == upload
    assert message["delay"] == pytest.approx(attempt * 60_000, abs=1000)
    found = workflow.seen_by_submit(upload, Clock())
    assert (found.status, found.attempt) == ("retrying", attempt)
    claim, ours = workflow.ledger(Clock()).claim(upload, "{}", 60, found)
    assert (ours, claim.attempt) == (True, attempt + 1)


# Bookkeeping that has trouble.


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("ledger never writes enhanced", "UpdateItem"),
        ("enhanced, no event gets through", "PutEvents"),
        ("failed, the report can't be written", "PutObject"),
        ("failed, the ledger never writes", "UpdateItem"),
        ("failed, no event gets through", "PutEvents"),
        ("not retried, the queue takes nothing", "SendMessage"),
    ],
)
def test_bookkeeping_is_tried_for_five_minutes(ran: Ran, name: str, action: str) -> None:
    run = ran(name)
    assert run.calls.count(action) == 11
    assert sum(run.retries) <= 305


@pytest.mark.parametrize(
    ("name", "action", "calls"),
    [
        ("ledger throttled, then not", "UpdateItem", 4),
        ("enhanced, events throttled, then not", "PutEvents", 3),
        ("failed, the report at the second try", "PutObject", 2),
        ("failed, the ledger at the second try", "UpdateItem", 2),
        ("failed, the event at the second try", "PutEvents", 2),
        ("retried, and ledger and queue at the second try", "SendMessage", 2),
        ("failed in the regular way", "UpdateItem", 1),
    ],
)
def test_bookkeeping_that_works_again_is_done_once(ran: Ran, name: str, action: str, calls: int) -> None:
    assert ran(name).calls.count(action) == calls


# Keys that look like code, and secrets.


@pytest.mark.parametrize("name", HOSTILE_RUNS)
def test_a_key_that_looks_like_code_is_taken_literally(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.row["pk"] == f"upload#{HOSTILE}"
    keys = [payload["upload"]["key"] for payload in run.payloads("Deliver")]
    keys += [event["detail"]["upload"]["key"] for event in run.events]
    keys += [parse_event(message["body"]).key for message in run.queued]
    keys += [run.report["upload"]["key"]] if run.report else []
    assert keys
    assert set(keys) == {HOSTILE}


def test_an_output_key_that_looks_like_code_is_taken_literally(ran: Ran) -> None:
    run = ran("enhanced, with a hostile key")
    assert run.row["output"]["key"] == HOSTILE
    assert run.events[0]["detail"]["output"]["key"] == HOSTILE


def test_an_outcome_that_looks_like_code_is_taken_literally(ran: Ran) -> None:
    run = ran("failed, with a hostile key")
    expected = outcome("failed", "content_policy_violation")
    assert run.report is not None
    assert (run.report["what_happened"], run.report["what_to_do"]) == (expected.message, expected.advice)
    assert run.row["outcome"]["message"] == expected.message
    assert run.row["report_key"] == f"errors/{HOSTILE}.json"


# Executions that ended before they wrote the final status.


@pytest.mark.parametrize("name", ["aborted", "timed out", "broken", "aborted while it was to be retried"])
def test_an_execution_that_ended_early_is_reported_with_the_way_to_go_on(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.report is not None
    assert run.given["detail"]["status"] in run.report["what_happened"]
    assert run.given["detail"]["name"] in run.report["what_to_do"]
    given = json.loads(run.given["detail"]["input"])
    assert {run.report["correlation_id"], run.events[0]["detail"]["correlation_id"]} == {given["correlation_id"]}
    assert run.report["task_id"] == "task-unified-1"
    assert run.report["may_have_cost_money"] is True


def test_a_rejection_that_was_not_reported_is_reported_in_its_own_words(ran: Ran) -> None:
    report: dict[str, Any] | None = ran("aborted while reporting a rejection").report
    assert report is not None
    assert report["code"] == "not_an_image"
    assert report["may_have_cost_money"] is False
