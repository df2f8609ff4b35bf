"""`lumendrop destroy` deletes the stack, and the photos only with --delete-photos.

This module is the last by its name, because it deletes the stack that all tests of this directory share.
"""

import pytest

from tests.cli.command import Lumendrop
from tests.e2e.pipeline import Pipeline


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
    lumendrop: Lumendrop, pipeline: Pipeline, buckets: dict[str, int]
) -> None:
    before = _stacks(pipeline)
    assert "lumendrop" in before
    for arguments, answer in ((("destroy",), ""), (("destroy", "--delete-photos"), "n\n")):
        declined = lumendrop(*arguments, stdin=answer)
        assert declined.code == 1
        assert all(f"{count:,} object versions in {bucket}" in declined.err for bucket, count in buckets.items())
        assert ("permanently DELETED" in declined.err) is (len(arguments) == 2)
        assert _stacks(pipeline) == before
        assert {name: _count_versions(pipeline, name) for name in buckets} == buckets

    destroyed = lumendrop("--json", "destroy", "--delete-photos", "--yes")
    assert destroyed.code == 0, destroyed.err
    assert destroyed.json["photos"] == buckets
    assert destroyed.json["kept"] == [pipeline.cloud.resources["LedgerTable"]]
    assert _stacks(pipeline) == set()
    assert _existing_buckets(pipeline) & set(buckets) == set()
    assert lumendrop("destroy", "--yes").code == 3
