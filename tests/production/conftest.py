"""One sandbox with every option that a production account can require."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.aws.cloud import Cloud  # noqa: E402  # after the registration
from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.e2e.photos import jpeg  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration

INPUT, OUTPUT = "their-photos", "their-enhanced-photos"
BOUNDARY = "arn:aws:iam::aws:policy/PowerUserAccess"
TARGET = "arn:aws:sqs:us-east-1:123456789012:after-photos"
PARAMETERS = {
    "Resolution": "1K",
    "ExistingInputBucket": INPUT,
    "ExistingOutputBucket": OUTPUT,
    "KmsKey": "create",
    "PermissionsBoundary": BOUNDARY,
    "AlarmEmail": "owner@example.com",
    "HeartbeatHours": "24",
    "PhotoNotices": "topic",
    "CompletionTarget": TARGET,
    "SweepSchedule": "rate(1 day)",
}


@pytest.fixture(scope="package")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """The input bucket has no versioning yet; see `versioned`."""
    with sandbox(PARAMETERS, prepare=_existing_resources, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        _encrypt_buckets(running.cloud)
        yield Pipeline(running, tmp_path_factory.mktemp("production"))


@pytest.fixture(scope="package")
def refused(pipeline: Pipeline) -> str:
    """The key of an upload from before versioning was enabled."""
    pipeline.cloud.client("s3").put_object(Bucket=INPUT, Key="a/photo.jpg", Body=jpeg())
    pipeline.wait_until(lambda: pipeline.keys("errors/"), "the upload is reported")
    return "a/photo.jpg"


@pytest.fixture(scope="package")
def versioned(pipeline: Pipeline, refused: str) -> Pipeline:
    """The pipeline with versioning of the input bucket enabled, as docs/deploy.md requires."""
    enabled: Any = {"Status": "Enabled"}
    pipeline.cloud.client("s3").put_bucket_versioning(Bucket=INPUT, VersioningConfiguration=enabled)
    return pipeline


def _existing_resources(cloud: Cloud) -> None:
    """The owner's buckets, and a queue for the outcome of each upload, with the policy of docs/events.md."""
    rule = "arn:aws:events:us-east-1:123456789012:rule/lumendrop-CompletionRule-*"
    statement = {
        "Sid": "AllowLumendrop",
        "Effect": "Allow",
        "Principal": {"Service": "events.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": TARGET,
        "Condition": {"ArnLike": {"aws:SourceArn": rule}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    cloud.client("sqs").create_queue(QueueName="after-photos", Attributes={"Policy": policy})
    s3 = cloud.client("s3")
    for bucket in (INPUT, OUTPUT):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=INPUT, NotificationConfiguration={"EventBridgeConfiguration": {}})


def _encrypt_buckets(cloud: Cloud) -> None:
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": cloud.resources["EncryptionKey"]}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    for bucket in (INPUT, OUTPUT):
        cloud.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)


@pytest.fixture(autouse=True)
def _with_sockets(socket_enabled: None) -> None:
    """Sockets are disabled unless a test requests them. This enables them before `pipeline` starts."""
