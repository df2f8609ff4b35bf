"""IAM policies are enforced: without a permission, processing stops at the call that needs it."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

# (role, action): what the tests below deny temporarily.
DENIED_ON_PURPOSE = {
    ("SubmitRole", "s3:GetObjectVersion"),
    ("SubmitRole", "dynamodb:PutItem"),
    ("DeliverRole", "s3:PutObject"),
}


@contextmanager
def _without(pipeline: Pipeline, role: str, *actions: str) -> Iterator[None]:
    """Denies a role (by its logical ID) these actions inside the block."""
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


def _claim_denied(pipeline: Pipeline, key: str) -> bool:
    """Whether a write of `submit` to the ledger was denied after it had read the photo: other uploads write too."""
    calls = pipeline.cloud.calls
    read = next((at for at, call in enumerate(calls) if call.resource.endswith(key) and call.allowed), len(calls))
    return any(
        (call.principal, call.action, call.allowed) == ("SubmitRole", "dynamodb:PutItem", False)
        for call in calls[read:]
    )


def _assert_untouched(pipeline: Pipeline, upload: Upload) -> None:
    assert upload not in pipeline.rows()
    assert upload not in pipeline.executions()
    assert pipeline.tasks(upload) == []


def test_without_read_access_to_uploads_nothing_is_paid_for(pipeline: Pipeline) -> None:
    with _without(pipeline, "SubmitRole", "s3:GetObjectVersion"):
        upload = pipeline.drop("permissions/read.jpg", jpeg())
        pipeline.wait_until(lambda: _denied(pipeline, "SubmitRole", "s3:GetObjectVersion", upload.key), "it is denied")
        _assert_untouched(pipeline, upload)


def test_without_write_access_to_the_ledger_nothing_is_paid_for(pipeline: Pipeline) -> None:
    with _without(pipeline, "SubmitRole", "dynamodb:PutItem"):
        upload = pipeline.drop("permissions/ledger.jpg", jpeg())
        pipeline.wait_until(lambda: _claim_denied(pipeline, upload.key), "it is denied")
        _assert_untouched(pipeline, upload)


def test_without_write_access_to_reports_the_workflow_retries(pipeline: Pipeline) -> None:
    with _without(pipeline, "DeliverRole", "s3:PutObject"):
        upload = pipeline.drop("permissions/report.jpg", b"Dear diary")
        pipeline.wait_until(
            lambda: _denied(pipeline, "DeliverRole", "s3:PutObject", f"{upload.key}.json"), "it is denied"
        )
        assert pipeline.keys(f"errors/{upload.key}") == []
    pipeline.wait([upload])
    assert pipeline.report(upload.key)["code"] == "not_an_image"


def test_without_write_access_to_results_no_photo_is_marked_enhanced(pipeline: Pipeline) -> None:
    with _without(pipeline, "DeliverRole", "s3:PutObject"):
        upload = pipeline.drop("permissions/deliver.jpg", jpeg())
        pipeline.wait_until(
            lambda: _denied(pipeline, "DeliverRole", "s3:PutObject", upload.key), "it is denied", [upload]
        )
    assert pipeline.rows()[upload]["status"] == "submitted"
    assert pipeline.keys(upload.key) == []
    # The workflow would retry the delivery after a minute; the test does not wait for that.
    (execution,) = pipeline.executions()[upload]
    pipeline.aws("stepfunctions", "stop-execution", "--execution-arn", execution["executionArn"])
