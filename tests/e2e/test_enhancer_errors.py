"""How errors of the enhancer affect uploads, and how they are reported."""

from collections.abc import Callable
from typing import Any

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import EventRecorder, Json, Pipeline, Upload
from tests.event_schemas import problems

POLICY = "enhancer errors/failed.jpg"
RETRIED = "enhancer errors/second task.jpg"
AMBIGUOUS = "enhancer errors/no response.jpg"
REFUSED = "enhancer errors/refused.jpg"
BUSY = "enhancer errors/busy.jpg"
RACE = "enhancer errors/race.jpg"
BALANCE = "enhancer errors/no balance.jpg"
Ended = Callable[[str], Upload]
REQUEUED = "upload requeued"


@pytest.fixture(scope="module")
def uploads(pipeline: Pipeline, events: EventRecorder) -> dict[str, Upload]:
    """One upload after the other, each with its own fault; the tests wait for their ends."""

    def meet(key: str, *statuses: str, **routes: list[Any]) -> None:
        dropped[key] = pipeline.drop_with_faults(routes, key, jpeg(), *statuses)

    dropped: dict[str, Upload] = {}
    meet(RETRIED, "submitted", "retrying", task=[{"end": "failed", "code": "service_error", "seconds": 0}])
    meet(POLICY, "submitted", "failed", task=[{"end": "failed", "code": "content_policy_violation", "seconds": 0}])
    meet(AMBIGUOUS, "unknown", submit=[{"kind": "reset", "created": True}])
    meet(REFUSED, "rejected", submit=[{"kind": "http", "status": 422, "code": "invalid_file_type"}])
    busy: list[Json] = [{"status": 429}, {"status": 503}, {"status": 422, "code": "no_compatible_channel"}]
    meet(BUSY, "submitted", "enhanced", submit=[{"kind": "http", "retry_after": 1, **one} for one in busy])
    meet(RACE, "submitted", task=[{"seconds": 0, "race_polls": 1, "race_progress": 50}])
    pipeline.wait_for_status(dropped[RETRIED], "retrying")
    # The workflow's message is delivered after a minute; the test sends an earlier one.
    events.repeat(dropped[RETRIED], 1)
    events.repeat(dropped[AMBIGUOUS], 1)
    # The copy starts the workflow again, or finds it ended.
    ends = ("upload processed", "upload skipped")
    pipeline.wait_until(
        lambda: sum(len(pipeline.submit_log(dropped[AMBIGUOUS], line)) for line in ends) > 1,
        "submit has processed the copy",
    )
    pipeline.wait_for_status(dropped[RETRIED], "submitted", "enhanced")
    dropped[BALANCE] = _drop_without_balance(pipeline)
    return dropped


def _drop_without_balance(pipeline: Pipeline) -> Upload:
    """An upload that submit requeues before the balance is topped up."""
    pipeline.account(credits=11)
    upload = pipeline.drop(BALANCE, jpeg())
    pipeline.wait_until(lambda: pipeline.submit_log(upload, REQUEUED), "submit has requeued the upload", [upload])
    queue = ("--queue-url", pipeline.outputs["UploadQueueUrl"])
    found = pipeline.aws("sqs", "get-queue-attributes", *queue, "--attribute-names", "All")
    assert int(found["Attributes"]["ApproximateNumberOfMessagesDelayed"]) >= 1
    assert upload not in pipeline.rows()
    assert pipeline.tasks(upload) == []
    pipeline.account(credits=100_000)
    return upload


def _reasons(pipeline: Pipeline, upload: Upload, message: str = REQUEUED) -> list[str]:
    return [line["reason"] for line in pipeline.submit_log(upload, message)]


def _execution(pipeline: Pipeline, upload: Upload) -> Json:
    """An upload's only execution, in full."""
    (execution,) = pipeline.executions()[upload]
    states = pipeline.cloud.client("stepfunctions")
    described: Json = states.describe_execution(executionArn=execution["executionArn"])
    return described


@pytest.fixture
def ended(pipeline: Pipeline, uploads: dict[str, Upload]) -> Ended:
    """An upload by its key, once it has ended."""

    def wait(key: str) -> Upload:
        pipeline.wait([uploads[key]])
        return uploads[key]

    return wait


def test_a_failed_task_is_reported_and_its_execution_fails_with_the_same_text(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(POLICY)
    report = pipeline.report(POLICY)
    (task,) = pipeline.tasks(upload)
    assert (report["status"], report["code"]) == ("failed", "content_policy_violation")
    assert report["may_have_cost_money"] is True
    assert report["task_id"] == task["id"]
    assert "set by the fault plan" in report["what_happened"]
    assert pipeline.rows()[upload]["status"] == "failed"
    execution = _execution(pipeline, upload)
    assert (execution["status"], execution["error"]) == ("FAILED", "content_policy_violation")
    assert execution["cause"] == f"{report['what_happened']}\n{report['what_to_do']}"
    assert pipeline.keys(POLICY) == []


def test_a_submit_without_a_response_is_never_repeated(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(AMBIGUOUS)
    assert len(pipeline.tasks(upload)) == 1
    row, report = pipeline.rows()[upload], pipeline.report(AMBIGUOUS)
    assert row["status"] == report["status"] == "unknown"
    assert "task_id" not in row
    assert report["task_id"] is None
    assert report["may_have_cost_money"] is True
    assert "It is unknown whether a task was created and paid for." in report["what_happened"]
    assert "vendor's account" in report["what_to_do"]
    execution = _execution(pipeline, upload)
    assert (execution["status"], execution["error"]) == ("FAILED", "ambiguous_submit")
    assert execution["cause"] == f"{report['what_happened']}\n{report['what_to_do']}"


def test_a_photo_that_the_enhancer_rejects_is_reported(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(REFUSED)
    report = pipeline.report(REFUSED)
    assert (report["status"], report["code"]) == ("rejected", "invalid_file_type")
    assert report["may_have_cost_money"] is False
    assert pipeline.tasks(upload) == []
    assert _execution(pipeline, upload)["status"] == "SUCCEEDED"


@pytest.mark.parametrize("key", [POLICY, AMBIGUOUS, REFUSED])
def test_an_event_reports_a_photo_that_was_not_enhanced(
    pipeline: Pipeline, ended: Ended, events: EventRecorder, key: str
) -> None:
    upload = ended(key)
    row, report = pipeline.rows()[upload], pipeline.report(key)
    (event,) = events.about(upload, "Photo Not Enhanced")
    assert event["source"] == "lumendrop"
    assert problems(event) == []
    assert event["detail"] == {
        "correlation_id": report["correlation_id"],
        "upload": _event_upload(row),
        "attempt": 1,
        "task_id": report["task_id"],
        "options": report["options"],
        "outcome": {
            "status": report["status"],
            "code": report["code"],
            "message": report["what_happened"],
            "advice": report["what_to_do"],
            "may_have_cost": report["may_have_cost_money"],
        },
        "report": {"bucket": pipeline.outputs["OutputBucketName"], "key": f"errors/{key}.json"},
    }
    assert events.about(upload, "Photo Enhanced") == []


def test_a_task_with_a_retryable_failure_is_followed_by_another(
    pipeline: Pipeline, ended: Ended, events: EventRecorder
) -> None:
    upload = ended(RETRIED)
    pipeline.enhanced(upload, attempt=2)
    assert [task["status"] for task in pipeline.tasks(upload)] == ["failed", "completed"]
    assert events.about(upload, "Photo Not Enhanced") == []


def test_an_upload_is_submitted_after_temporary_errors(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(BUSY)
    pipeline.enhanced(upload)
    reasons = ["rate_limit_error", "service_unavailable_error", "no_compatible_channel"]
    assert _reasons(pipeline, upload, "submit retried") == reasons


def test_a_completed_task_without_results_is_polled_again(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(RACE)
    pipeline.enhanced(upload)
    events = pipeline.history(pipeline.executions()[upload][0])
    entered = [event["stateEnteredEventDetails"]["name"] for event in events if "stateEnteredEventDetails" in event]
    assert entered.count("Deliver") == 1
    (task,) = pipeline.tasks(upload)
    assert task["polls"] >= 3  # the last one is the delivery's


def test_an_upload_waits_for_a_sufficient_balance(pipeline: Pipeline, ended: Ended) -> None:
    upload = ended(BALANCE)
    pipeline.enhanced(upload)
    assert _reasons(pipeline, upload) == ["insufficient_quota"]


def test_an_event_reports_an_enhanced_photo(pipeline: Pipeline, ended: Ended, events: EventRecorder) -> None:
    upload = ended(BALANCE)
    row = pipeline.rows()[upload]
    (event,) = events.about(upload, "Photo Enhanced")
    assert event["source"] == "lumendrop"
    assert problems(event) == []
    metadata = pipeline.result(upload.key).metadata
    carried = metadata.get("carried-over", "")
    assert event["detail"] == {
        "correlation_id": metadata["correlation-id"],
        "upload": _event_upload(row),
        "attempt": 1,
        "task_id": row["task_id"],
        "same_as": None,
        "options": {"resolution": "1K"},
        "output": {
            "bucket": pipeline.outputs["OutputBucketName"],
            "key": upload.key,
            "version_id": row["output"]["version_id"],
            "bytes": int(row["output"]["bytes"]),
            "format": "jpeg",
            "pixels": row["output"]["pixels"],
            "smaller": False,
            "warnings": [],
            "carried_over": carried.split(",") if carried else [],
            "left_out": [],
            "sidecar": None,
        },
    }
    assert events.about(upload, "Photo Not Enhanced") == []


def test_only_unsuccessful_uploads_have_reports(pipeline: Pipeline, uploads: dict[str, Upload]) -> None:
    pipeline.wait(uploads.values())
    reported = {f"errors/{key}.json" for key in (POLICY, AMBIGUOUS, REFUSED)}
    assert set(pipeline.keys("errors/enhancer errors/")) == reported


def _event_upload(row: Json) -> Json:
    """An upload in the format of the events."""
    names = ("bucket", "key", "version_id", "sequencer", "etag", "time", "pixels", "pictures")
    return {name: row[name] for name in names} | {"size": int(row["size"])}
