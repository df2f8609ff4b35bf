"""Every role is held to its policies: with one permission less, the pipeline stops where it is needed."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

# (role, action): what the tests below take from a role for a while.
DENIED_ON_PURPOSE = {
    ("SubmitRole", "s3:GetObjectVersion"),
    ("SubmitRole", "dynamodb:PutItem"),
    ("WorkflowRole", "s3:PutObject"),
    ("DeliverRole", "s3:PutObject"),
}


@contextmanager
def _without(pipeline: Pipeline, role: str, *actions: str) -> Iterator[None]:
    """A role (by its logical id) that may not do this for a while."""
    assert {(role, action) for action in actions} <= DENIED_ON_PURPOSE
    iam, which = pipeline.cloud.client("iam"), {"RoleName": pipeline.cloud.resources[role], "PolicyName": "denial"}
    denial = {"Effect": "Deny", "Action": actions, "Resource": "*"}
    iam.put_role_policy(**which, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denial]}))
    try:
        yield
    finally:
        iam.delete_role_policy(**which)


def _denied(pipeline: Pipeline, role: str, action: str, key: str) -> bool:
    return any(
        (call.principal, call.action) == (role, action) and call.resource.endswith(key) for call in pipeline.denied()
    )


def test_without_reading_uploads_nothing_is_paid_for(pipeline: Pipeline) -> None:
    with _without(pipeline, "SubmitRole", "s3:GetObjectVersion"):
        upload = pipeline.drop("permissions/read.jpg", jpeg())
        pipeline.until(lambda: _denied(pipeline, "SubmitRole", "s3:GetObjectVersion", upload.key), "it is denied")
    assert upload not in pipeline.rows()
    assert upload not in pipeline.executions()
    assert pipeline.tasks(upload) == []


def test_without_keeping_the_ledger_nothing_is_paid_for(pipeline: Pipeline) -> None:
    with _without(pipeline, "SubmitRole", "dynamodb:PutItem"):
        upload = pipeline.drop("permissions/ledger.jpg", jpeg())
        pipeline.until(lambda: _denied(pipeline, "SubmitRole", "dynamodb:PutItem", ""), "it is denied")
    assert upload not in pipeline.rows()
    assert upload not in pipeline.executions()
    assert pipeline.tasks(upload) == []


def test_without_writing_reports_the_workflow_tries_until_it_may(pipeline: Pipeline) -> None:
    with _without(pipeline, "WorkflowRole", "s3:PutObject"):
        upload = pipeline.drop("permissions/report.jpg", b"Dear diary")
        pipeline.until(lambda: _denied(pipeline, "WorkflowRole", "s3:PutObject", f"{upload.key}.json"), "it is denied")
        assert pipeline.keys(f"errors/{upload.key}") == []
    pipeline.wait([upload])
    assert pipeline.report(upload.key)["code"] == "not_an_image"


def test_without_writing_photos_none_is_said_to_be_enhanced(pipeline: Pipeline) -> None:
    with _without(pipeline, "DeliverRole", "s3:PutObject"):
        upload = pipeline.drop("permissions/deliver.jpg", jpeg())
        pipeline.until(lambda: _denied(pipeline, "DeliverRole", "s3:PutObject", upload.key), "it is denied", [upload])
    assert pipeline.rows()[upload]["status"] == "submitted"
    assert pipeline.keys(upload.key) == []
    # Delivery would be tried again in a minute; the end of this execution is not waited for.
    (execution,) = pipeline.executions()[upload]
    pipeline.aws("stepfunctions", "stop-execution", "--execution-arn", execution["executionArn"])
