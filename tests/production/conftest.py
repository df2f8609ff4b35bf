"""One sandbox with every option that a production account can require."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from moto.dynamodb.models import dynamodb_backends

pytest.register_assert_rewrite("tests.e2e.cli", "tests.e2e.pipeline")

from sandbox.aws.cloud import ACCOUNT, Cloud  # noqa: E402  # after the registration
from sandbox.demo.start import sandbox  # noqa: E402  # after the registration
from tests.e2e.photos import jpeg  # noqa: E402  # after the registration
from tests.e2e.pipeline import Pipeline  # noqa: E402  # after the registration
from tests.template.reading import properties  # noqa: E402  # after the registration

INPUT, OUTPUT = "their-photos", "their-enhanced-photos"
LEDGER = "earlier-LedgerTable-1A2B3C4D5E6F7"
BOUNDARY = "arn:aws:iam::aws:policy/PowerUserAccess"
TARGET = "arn:aws:sqs:us-east-1:123456789012:after-photos"
PARAMETERS = {
    "Resolution": "1K",
    "ExistingInputBucket": INPUT,
    "ExistingOutputBucket": OUTPUT,
    "ExistingLedgerTable": LEDGER,
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
        _encrypt(running.cloud)
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
    """The owner's buckets and queue, with the policy of docs/events.md, and the ledger of an earlier stack."""
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
    names = ("AttributeDefinitions", "KeySchema", "GlobalSecondaryIndexes")
    schema: Any = {name: properties("LedgerTable")[name] for name in names}
    cloud.client("dynamodb").create_table(TableName=LEDGER, BillingMode="PAY_PER_REQUEST", **schema)
    s3 = cloud.client("s3")
    for bucket in (INPUT, OUTPUT):
        s3.create_bucket(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=INPUT, NotificationConfiguration={"EventBridgeConfiguration": {}})


def _encrypt(cloud: Cloud) -> None:
    """Encrypts the buckets and the ledger with the stack's key."""
    key = cloud.resources["EncryptionKey"]
    # Moto's UpdateTable ignores encryption.
    table = dynamodb_backends[ACCOUNT]["us-east-1"].tables[LEDGER]
    table.sse_specification = {"Enabled": True, "SSEType": "KMS", "KMSMasterKeyId": key}
    default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
    rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": default}]}
    for bucket in (INPUT, OUTPUT):
        cloud.client("s3").put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=rules)
