"""What the workflow sends to the functions, how long it waits, and what it writes and publishes."""

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
from tests.workflow.scenarios import (
    COMPLETED,
    FAILED,
    FAILED_CAUSE,
    HOSTILE,
    PATIENCE,
    SCENARIOS,
    WAITING,
    delivered,
    outcome,
    poll,
)

Ran = Callable[[str], Run]

HOSTILE_RUNS = [
    "enhanced, with a hostile key",
    "rejected, with a hostile key",
    "failed, with a hostile key",
    "retried, with a hostile key",
    "aborted, with a hostile key",
]


# The input of the functions.


def test_each_poll_gets_the_result_of_the_previous_one(ran: Ran) -> None:
    run = ran("enhanced after several polls")
    asked = run.payloads("CheckStatus")
    assert [payload["task"] for payload in asked] == [run.given["task"]] * 4
    assert [payload["poll"] for payload in asked] == [
        run.given["poll"],
        poll("waiting", 11, polls=1, progress=10.0),
        poll("waiting", 3, polls=2, progress=55.0, unreachable=1),
        poll("waiting", 2, polls=3, progress=90.0),
    ]


def test_delivery_gets_only_ids(ran: Ran) -> None:
    run = ran("enhanced after several polls")
    names = ("correlation_id", "upload", "attempt", "options", "task")
    assert run.payloads("Deliver") == [{name: run.given[name] for name in names} | {"incomplete": None}]


@pytest.mark.parametrize("name", ["enhanced, with nothing optional", "check_status crashes once", "never delivered"])
def test_functions_can_parse_their_input(ran: Ran, name: str) -> None:
    run = ran(name)
    for function, payload in run.asked:
        assert payload["correlation_id"] == run.given["correlation_id"]
        msgspec.convert(payload["task"], Task)
        if function == "CheckStatus":
            msgspec.convert(payload["poll"], Poll)
        else:
            msgspec.convert(payload["upload"], Upload)


@pytest.mark.parametrize("name", ["rejected", "unknown", "aborted", "timed out", "failed after the final status"])
def test_no_function_is_invoked_without_a_task_to_wait_for(ran: Ran, name: str) -> None:
    assert ran(name).asked == []


# How long it waits.


def test_waits_as_long_as_the_last_poll_returned(ran: Ran) -> None:
    assert ran("enhanced after several polls").waits == [12, 11, 3, 2]
    assert ran("delivered on the second attempt").waits == [12, 20]


def test_a_crash_of_check_status_costs_one_iteration(ran: Ran) -> None:
    run = ran("check_status crashes once")
    assert run.waits == [12, 7, 60]
    assert run.payloads("CheckStatus")[2]["poll"] == WAITING | {"state": "waiting", "wait_seconds": 60}


def test_throttling_of_check_status_costs_one_iteration(ran: Ran) -> None:
    run = ran("check_status throttled for longer")
    assert run.waits == [12, 60]
    wanted = {"state": "waiting", "wait_seconds": 60, "lambda_throttled": True}
    assert run.payloads("CheckStatus")[0]["poll"] == run.given["poll"] | wanted


@pytest.mark.parametrize("name", ["deliver crashes once", "deliver throttled for longer"])
def test_a_failed_delivery_costs_one_iteration(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.waits == [12, 60]
    assert run.payloads("CheckStatus")[1]["poll"] == COMPLETED | {"state": "waiting", "wait_seconds": 60}


def test_a_delayed_delivery_keeps_the_state_of_the_poll(ran: Ran) -> None:
    run = ran("delivered on the second attempt")
    assert run.payloads("CheckStatus")[1]["poll"] == COMPLETED | {"state": "waiting", "wait_seconds": 20}


@pytest.mark.parametrize("name", ["check_status throttled", "deliver throttled"])
def test_a_transient_error_of_lambda_costs_no_iteration(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.waits == [12]
    assert run.calls.count("Invoke") == 5
    assert len(run.retries) == 3
    assert sum(run.retries) <= 14


@pytest.mark.parametrize("name", ["check_status crashes once", "deliver crashes once"])
def test_a_crash_of_a_function_is_not_retried_immediately(ran: Ran, name: str) -> None:
    assert ran(name).retries == []


def test_the_minimum_wait_grows_with_the_age_of_the_execution(workflow: Workflow) -> None:
    """An execution's history is limited to 25,000 events; a day of polls every few seconds would exceed it."""
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


@pytest.mark.parametrize(
    ("name", "end"),
    [("never ends, with a remark", "). It is paused."), ("never ends, polled by an earlier version", ").")],
)
def test_a_late_task_is_reported_with_its_status(ran: Ran, name: str, end: str) -> None:
    report = ran(name).report
    assert report is not None
    assert report["what_happened"].endswith(end)


def test_polls_once_more_after_a_wait_that_ends_after_the_deadline(ran: Ran) -> None:
    run = ran("ends after the deadline")
    assert sum(run.waits) > PATIENCE
    assert run.row["status"] == "enhanced"


# Reports, rows, and events.


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
    run = ran("enhanced after several polls")
    expected = {"bucket": "photos-out", "key": "photo.jpg", "version_id": "out-1", "bytes": 123456}
    # The version before this one delivered it.
    assert run.row["output"] == expected | {"pixels": None, "smaller": False, "warnings": []}
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
        "enhanced, the row is final",
        "failed, another attempt has the row",
        "failed, the row is final",
        "not retried, another attempt has the row",
        "ended, another attempt has the row",
    ],
)
def test_a_row_of_another_attempt_or_with_a_final_status_is_not_changed(ran: Ran, name: str) -> None:
    run = ran(name)
    assert not {"finished_at", "output", "outcome", "report_key", "ended_early"} & set(run.row)
    assert run.retries == []


@pytest.mark.parametrize("name", SCENARIOS)
def test_events_are_as_documented(ran: Ran, name: str) -> None:
    assert [problems(event) for event in ran(name).events if problems(event)] == []


def test_event_of_an_enhanced_photo(ran: Ran) -> None:
    run = ran("enhanced after several polls")
    (event,) = run.events
    assert event["source"] == "lumendrop"
    assert event["detail"] == {
        "correlation_id": run.given["correlation_id"],
        "upload": run.given["upload"],
        "attempt": 1,
        "task_id": "task-unified-1",
        "same_as": None,
        "options": {"resolution": "4K"},
        "output": delivered()["output"],
    }


@pytest.mark.parametrize("name", ["reused", "reused, and aborted"])
def test_event_and_row_of_a_reused_photo(ran: Ran, name: str) -> None:
    run = ran(name)
    (event,) = run.events
    assert (event["detail"]["task_id"], event["detail"]["same_as"]) == ("task-1", "0" * 32)
    assert event["detail"]["output"]["key"] == "photo.jpg"
    assert (run.row["status"], run.row["same_as"]) == ("enhanced", "0" * 32)
    assert (run.row["output"]["smaller"], run.row["output"]["warnings"]) == (True, ["aspect_ratio_changed"])
    assert run.row["finished_at"]
    assert not {"CheckStatus", "Deliver", "WriteReport"} & set(run.states)


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


def test_a_failed_execution_repeats_the_text_of_the_report(ran: Ran) -> None:
    expected = outcome("failed", "content_policy_violation")
    assert ran("failed").cause == f"{expected.message}\n{expected.advice}"
    unreported = ran("failed, and nothing can be recorded").cause
    assert unreported is not None
    assert f"({expected.code}): {expected.message} {expected.advice}" in unreported


@pytest.mark.parametrize("name", ["failed, the report can't be written", "rejected, the report can't be written"])
def test_a_report_that_cannot_be_written_is_not_named(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.row["report_key"] is None
    assert run.row["finished_at"]
    (event,) = run.events
    assert event["detail"]["report"] is None


def test_the_next_delivery_recognizes_an_incomplete_result(ran: Ran) -> None:
    run = ran("delivered incomplete twice")
    assert [payload["incomplete"] for payload in run.payloads("Deliver")] == [None, "500 abc=", "500 abc="]
    assert run.payloads("CheckStatus")[1]["poll"]["incomplete"] == "500 abc="


def test_no_report_next_to_a_newer_photo(workflow: Workflow) -> None:
    clock = Clock()
    row = workflow.submitted(clock, "photo.jpg")
    newer = msgspec.structs.replace(row.upload, version_id="newer", sequencer="0056")
    metadata = {"source-bucket": newer.bucket, "source-key": "photo.jpg", "source-version-id": "newer"}
    bucket = workflow.resources["OutputBucket"]
    workflow.client("s3").put_object(
        Bucket=bucket, Key="photo.jpg", Body=b"newer", Metadata=metadata | {"sequencer": newer.sequencer}
    )
    run = workflow.run(row, clock, check_status=[FAILED])
    assert (run.states[-1], run.report, run.row["report_key"]) == ("NotEnhanced", None, None)
    assert run.events[0]["detail"]["report"] is None
    assert not workflow.client("s3").list_objects_v2(Bucket=bucket, Prefix="errors/").get("Contents")
    workflow.client("s3").delete_object(Bucket=bucket, Key="photo.jpg")


# Retries.


@pytest.mark.parametrize(("name", "attempt"), [("retried", 1), ("retried a second time", 2)])
def test_a_retried_upload_is_back_in_the_queue(ran: Ran, workflow: Workflow, name: str, attempt: int) -> None:
    run = ran(name)
    upload = msgspec.convert(run.given["upload"], Upload)
    (message,) = run.queued
    assert parse_event(message["body"]) == upload
    assert message["delay"] == pytest.approx(attempt * 60_000, abs=1000)
    found = workflow.seen_by_submit(upload, Clock())
    assert (found.status, found.attempt) == ("retrying", attempt)
    claim, acquired = workflow.ledger(Clock()).claim(upload, "{}", 60, found)
    assert (acquired, claim.attempt) == (True, attempt + 1)


# Failures of recording, reporting, and publishing.


@pytest.mark.parametrize(
    ("name", "action"),
    [
        ("ledger never records enhanced", "UpdateItem"),
        ("enhanced, no event can be published", "PutEvents"),
        ("failed, the report can't be written", "WriteReport"),
        ("failed, the ledger can't be updated", "UpdateItem"),
        ("failed, no event can be published", "PutEvents"),
        ("not retried, the queue is unavailable", "SendMessage"),
    ],
)
def test_a_failing_call_is_retried_for_five_minutes(ran: Ran, name: str, action: str) -> None:
    run = ran(name)
    assert run.calls.count(action) == 11
    assert sum(run.retries) <= 305


@pytest.mark.parametrize(
    ("name", "action", "calls"),
    [
        ("ledger throttled temporarily", "UpdateItem", 4),
        ("enhanced, events throttled temporarily", "PutEvents", 3),
        ("failed, the report on the second attempt", "WriteReport", 2),
        ("failed, the ledger on the second attempt", "UpdateItem", 2),
        ("failed, the event on the second attempt", "PutEvents", 2),
        ("retried, ledger and queue on the second attempt", "SendMessage", 2),
        ("failed after the final status", "UpdateItem", 1),
    ],
)
def test_a_call_is_not_repeated_after_it_succeeded(ran: Ran, name: str, action: str, calls: int) -> None:
    assert ran(name).calls.count(action) == calls


# Keys that look like code, and secrets.


@pytest.mark.parametrize("name", HOSTILE_RUNS)
def test_a_key_that_looks_like_code_is_used_literally(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.row["pk"].removeprefix("object#").partition("/")[2] == HOSTILE
    keys = [payload["upload"]["key"] for payload in run.payloads("Deliver")]
    keys += [event["detail"]["upload"]["key"] for event in run.events]
    keys += [parse_event(message["body"]).key for message in run.queued]
    keys += [run.report["upload"]["key"]] if run.report else []
    assert keys
    assert set(keys) == {HOSTILE}


def test_an_output_key_that_looks_like_code_is_used_literally(ran: Ran) -> None:
    run = ran("enhanced, with a hostile key")
    assert run.row["output"]["key"] == HOSTILE
    assert run.events[0]["detail"]["output"]["key"] == HOSTILE


def test_an_outcome_that_looks_like_code_is_used_literally(ran: Ran) -> None:
    run = ran("failed, with a hostile key")
    expected = outcome("failed", "content_policy_violation")
    assert run.report is not None
    assert (run.report["what_happened"], run.report["what_to_do"]) == (expected.message, expected.advice)
    assert run.row["outcome"]["message"] == expected.message
    assert run.row["report_key"] == f"errors/{HOSTILE}.json"


# Executions that ended without a final status.


@pytest.mark.parametrize("name", ["aborted", "timed out", "broken", "aborted before a retry"])
def test_an_execution_that_ended_early_is_reported_with_the_next_step(ran: Ran, name: str) -> None:
    run = ran(name)
    assert run.report is not None
    assert run.given["detail"]["status"] in run.report["what_happened"]
    assert run.given["detail"]["name"] in run.report["what_to_do"]
    given = json.loads(run.given["detail"]["input"])
    assert {run.report["correlation_id"], run.events[0]["detail"]["correlation_id"]} == {given["correlation_id"]}
    assert run.report["task_id"] == "task-unified-1"
    assert run.report["may_have_cost_money"] is True


def test_an_execution_that_failed_late_keeps_its_reason(ran: Ran) -> None:
    """It knew why there is no photo, but the ledger could not be updated."""
    assert ran("failed, the ledger can't be updated").cause == FAILED_CAUSE
    run = ran("failed late")
    expected = FAILED["outcome"]
    assert run.row["outcome"] == expected
    assert run.report is not None
    assert (run.report["code"], run.report["what_happened"]) == (expected["code"], expected["message"])
    assert run.report["what_to_do"] == expected["advice"]
    assert run.events[0]["detail"]["outcome"] == expected


def test_a_rejection_that_was_not_reported_is_reported_with_its_own_text(ran: Ran) -> None:
    report: dict[str, Any] | None = ran("aborted while reporting a rejection").report
    assert report is not None
    assert report["code"] == "not_an_image"
    assert report["may_have_cost_money"] is False
