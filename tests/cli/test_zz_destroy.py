"""`lumendrop destroy` deletes the stack, and the photos only with --delete-photos.

This module is the last by its name, because it deletes the stack that all tests of this directory share.
"""

from collections.abc import Callable
from typing import Any

import pytest
from moto.cloudformation.models import cloudformation_backends

from lumendrop_cli import destroy, event_source
from sandbox.aws.cloud import ACCOUNT
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

PREVENTIONS = (
    ("enable_termination_protection", True, "The stack lumendrop has termination protection. Nothing was deleted."),
    ("status", "UPDATE_IN_PROGRESS", "The stack lumendrop is UPDATE_IN_PROGRESS. Nothing was deleted."),
)


@pytest.fixture
def buckets(pipeline: Pipeline) -> dict[str, int]:
    """The number of object versions and delete markers in each of the stack's buckets. Nothing adds to them."""
    pipeline.cloud.client("events").disable_rule(Name=pipeline.cloud.resources["UploadRule"])
    for body in (b"one", b"two"):
        pipeline.drop("in/destroy.jpg", body)
    pipeline.cloud.client("s3").delete_object(Bucket=pipeline.outputs["InputBucketName"], Key="in/destroy.jpg")
    pipeline.wait_until(lambda: _is_idle(pipeline), "all uploads end")
    return {name: _count_versions(pipeline, name) for name in _own_buckets(pipeline)}


def _is_idle(pipeline: Pipeline) -> bool:
    counts = [f"ApproximateNumberOfMessages{state}" for state in ("", "NotVisible", "Delayed")]
    queue = pipeline.cloud.client("sqs").get_queue_attributes(
        QueueUrl=pipeline.outputs["UploadQueueUrl"], AttributeNames=counts
    )
    running = pipeline.cloud.client("stepfunctions").list_executions(
        stateMachineArn=pipeline.outputs["WorkflowArn"], statusFilter="RUNNING"
    )
    return set(queue["Attributes"].values()) == {"0"} and not running["executions"]


def _own_buckets(pipeline: Pipeline) -> set[str]:
    return {pipeline.outputs["InputBucketName"], pipeline.outputs["OutputBucketName"]}


def _existing_buckets(pipeline: Pipeline) -> set[str]:
    return {one["Name"] for one in pipeline.cloud.client("s3").list_buckets()["Buckets"]}


def _count_versions(pipeline: Pipeline, bucket: str) -> int:
    pages = pipeline.cloud.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    return sum(len(page.get("Versions", [])) + len(page.get("DeleteMarkers", [])) for page in pages)


def _stacks(pipeline: Pipeline) -> set[str]:
    """The names of the stack and its nested stacks, as far as they exist."""
    stacks = pipeline.cloud.client("cloudformation").describe_stacks()["Stacks"]
    return {one["StackName"] for one in stacks if one["StackName"].startswith("lumendrop")}


def test_destroy_deletes_photos_only_with_the_option(
    lumendrop: Lumendrop, pipeline: Pipeline, buckets: dict[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = _stacks(pipeline)
    assert "lumendrop" in before
    for arguments, answer in ((("destroy",), ""), (("destroy", "--delete-photos"), "n\n")):
        declined = lumendrop(*arguments, typed=answer)
        assert declined.code == 1
        assert all(f"{count:,} object versions in {bucket}" in declined.err for bucket, count in buckets.items())
        assert ("permanently DELETED" in declined.err) is (len(arguments) == 2)
        assert _stacks(pipeline) == before
        assert {name: _count_versions(pipeline, name) for name in buckets} == buckets

    wanted = {"Resolution": "1K", "InputPrefix": "in/", "ExistingInputBucket": pipeline.outputs["InputBucketName"]}
    assert wanted.items() <= lumendrop.ok("destroy", "--dry-run")["parameters"].items()

    running = _start_and_wait(pipeline)
    declined = lumendrop("destroy", typed="n\n")
    assert "Running executions: 1. Their tasks are paid for, and their photos are not delivered." in declined.err
    assert running in declined.err
    assert "Waiting uploads: 1. They are not paid for" in declined.err
    assert "Messages in the dead-letter queue: 1." in declined.err

    account = cloudformation_backends[ACCOUNT]["us-east-1"]
    for attribute, value, reason in PREVENTIONS:
        with monkeypatch.context() as patch:
            patch.setattr(account.get_stack("lumendrop"), attribute, value)
            prevented = lumendrop("destroy", "--delete-photos", "-y")
        assert (prevented.code, reason in prevented.err) == (1, True)
        assert _existing_buckets(pipeline) >= set(buckets)

    ledger = pipeline.cloud.resources["LedgerTable"]
    # Ctrl-C after a bucket is emptied, then while CloudFormation deletes the stack: the same command resumes.
    switched: list[str] = []
    for function in ("_delete_bucket", "_delete_stack"):
        with monkeypatch.context() as patch:
            patch.setattr(event_source, "switch", lambda _, wanted: switched.append(wanted))
            patch.setattr(
                destroy, function, _interrupted(getattr(destroy, function), before=function == "_delete_stack")
            )
            interrupted = lumendrop("--json", "destroy", "--delete-photos", "-y")
        assert (interrupted.code, interrupted.json["stack"]) == (130, "lumendrop")
        assert "run `lumendrop --stack lumendrop destroy --delete-photos` again" in interrupted.err
        assert _stacks(pipeline) == before
    assert switched == [event_source.DISABLED] * 2  # so that nothing more is paid for
    assert _existing_buckets(pipeline) & set(buckets) == set()
    described = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=running)
    assert described["status"] == "ABORTED"

    destroyed = lumendrop("destroy", "--delete-photos", "-y")
    assert "Waiting uploads: 1. They are not paid for" in destroyed.err
    assert destroyed.code == 0, destroyed.err
    assert f"Kept: LedgerTable ({ledger}). It records what is paid for." in destroyed.out
    assert "lumendrop.toml" not in destroyed.out  # a backfill would find no photos
    assert _stacks(pipeline) == set()
    assert lumendrop("destroy", "--yes").code == 3


def _start_and_wait(pipeline: Pipeline) -> Any:
    """Starts an execution that doesn't end, and puts a message into each queue. Returns the execution's ARN."""
    pipeline.plan(status=[{"kind": "http", "status": 503}] * 1000)
    pipeline.cloud.client("events").enable_rule(Name=pipeline.cloud.resources["UploadRule"])
    upload = pipeline.drop("in/destroy/running.jpg", jpeg())
    pipeline.wait_for_status(upload, "submitted")
    (running,) = pipeline.executions()[upload]
    mapping, functions = pipeline.cloud.resources["SubmitFunctionUploads"], pipeline.cloud.client("lambda")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    pipeline.wait_until(
        lambda: functions.get_event_source_mapping(UUID=mapping)["State"] == "Disabled", "it is disabled"
    )
    for queue in ("UploadQueueUrl", "DeadLetterQueueUrl"):
        pipeline.cloud.client("sqs").send_message(QueueUrl=pipeline.outputs[queue], MessageBody="{}")
    return running["executionArn"]


def _interrupted(function: Callable[..., None], *, before: bool) -> Callable[..., None]:
    def interrupt(*arguments: Any) -> None:
        if not before:
            function(*arguments)
        raise KeyboardInterrupt

    return interrupt
