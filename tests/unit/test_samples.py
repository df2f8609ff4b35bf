"""The sample events match what the code sends and accepts."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec
import pytest

from lumendrop import uploads, workflow
from lumendrop.ledger import Row
from lumendrop.outcomes import Outcome
from lumendrop.polling import Poll, Task
from lumendrop.upload_queue import messages
from lumendrop.uploads import Upload
from tests.unit.world import ROOT, sample


def sample_upload() -> Upload:
    upload = uploads.parse_event(sample("submit")["Records"][0]["body"])
    assert isinstance(upload, Upload)
    return upload


def test_every_sample_is_tested() -> None:
    names = {path.stem for path in (ROOT / "events").glob("*.json")}
    assert names == {"submit", "check_status", "deliver", "workflow-submitted", "workflow-rejected", "workflow-reused"}


def test_the_message_of_submit_is_an_eventbridge_event_with_a_raw_key() -> None:
    (record,) = sample("submit")["Records"]
    body = json.loads(record["body"])
    assert record["md5OfBody"] == hashlib.md5(record["body"].encode(), usedforsecurity=False).hexdigest()
    assert (body["source"], body["detail-type"]) == ("aws.s3", "Object Created")
    assert body["detail"]["object"]["key"] == "incoming/my photo+1%41.jpg"
    (message,) = messages(sample("submit"))
    assert (message.requeue_count, message.resend_after) == (0, 0)


def test_the_workflows_samples_match_the_input_that_submit_passes() -> None:
    submitted = sample("workflow-submitted")
    row = Row(
        upload=msgspec.structs.replace(sample_upload(), pixels=submitted["upload"]["pixels"]),
        status="submitted",
        options=json.dumps(submitted["options"]),
        task_id=submitted["task"]["id"],
        submitted_at=submitted["task"]["submitted_at"],
        deadline=submitted["task"]["deadline"],
        estimated_seconds=submitted["task"]["estimated_seconds"],
    )
    assert workflow.execution_input(row) == submitted

    rejected = sample("workflow-rejected")
    outcome = msgspec.convert(rejected["outcome"], Outcome)
    assert workflow.execution_input(Row(upload=sample_upload(), status="rejected", outcome=outcome)) == rejected

    reused = sample("workflow-reused")
    row = Row(
        upload=msgspec.structs.replace(sample_upload(), pixels=reused["upload"]["pixels"]),
        status="enhanced",
        options=json.dumps(reused["options"]),
        **reused["delivery"],
    )
    assert workflow.execution_input(row) == reused


PARTS = {
    "check_status": ["correlation_id", "task", "poll"],
    "deliver": ["correlation_id", "upload", "attempt", "options", "task"],
}


@pytest.mark.parametrize("name", PARTS)
def test_the_functions_samples_match_the_workflows_samples(name: str) -> None:
    submitted = sample("workflow-submitted")
    parts = {field: submitted[field] for field in PARTS[name]}
    assert sample(name) == parts | ({"incomplete": submitted["poll"]["incomplete"]} if name == "deliver" else {})


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (Task, sample("check_status")["task"]),
        (Poll, sample("check_status")["poll"]),
        (Upload, sample("deliver")["upload"]),
        (Outcome, sample("workflow-rejected")["outcome"]),
    ],
    ids=["task", "poll", "upload", "outcome"],
)
def test_samples_have_exactly_the_fields_of_the_code(kind: Any, value: Any) -> None:
    assert set(value) == {field.encode_name for field in msgspec.structs.fields(kind)}
    assert msgspec.to_builtins(msgspec.convert(value, kind)) == value
