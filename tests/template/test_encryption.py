"""An optional key of the account encrypts all stored data, and the roles that need it can use it."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.aws.keys import DEMANDS
from tests.template.merged import written
from tests.template.reading import as_list, resources, translated, unresolved

NAMED = "arn:aws:kms:us-east-1:123456789012:key/0a1b2c3d"
# The property of each resource type that sets its key.
KEY_PROPERTIES = {
    "AWS::S3::Bucket": (
        "BucketEncryption.ServerSideEncryptionConfiguration.0.ServerSideEncryptionByDefault.KMSMasterKeyID"
    ),
    "AWS::SQS::Queue": "KmsMasterKeyId",
    "AWS::SNS::Topic": "KmsMasterKeyId",
    "AWS::DynamoDB::Table": "SSESpecification.KMSMasterKeyId",
    "AWS::SecretsManager::Secret": "KmsKeyId",
    "AWS::Logs::LogGroup": "KmsKeyId",
}
STORED = {name: one for name, one in unresolved()["Resources"].items() if one["Type"] in KEY_PROPERTIES}


def key_of(resource: dict[str, Any]) -> Any:
    found: Any = resource["Properties"]
    for step in KEY_PROPERTIES[resource["Type"]].split("."):
        found = found[int(step)] if isinstance(found, list) else found.get(step)
    return found


@pytest.mark.parametrize("name", STORED)
def test_all_stored_data_is_encrypted_with_the_key(name: str) -> None:
    """This includes conditional resources."""
    assert key_of(STORED[name]) == key_of(STORED["UploadQueue"])


def test_the_key_is_managed_by_aws_created_or_existing() -> None:
    for value, key in (("", None), ("create", "${EncryptionKey.Arn}"), (NAMED, "${KmsKey}")):
        assert written(key_of(translated(KmsKey=value)["Resources"]["UploadQueue"])) == key


def test_a_key_is_created_only_on_request_and_is_retained() -> None:
    assert "EncryptionKey" not in translated()["Resources"]
    assert "EncryptionKey" not in translated(KmsKey=NAMED)["Resources"]
    key = translated(KmsKey="create")["Resources"]["EncryptionKey"]
    assert (key["DeletionPolicy"], key["UpdateReplacePolicy"]) == ("Retain", "Retain")
    assert key["Properties"]["EnableKeyRotation"] is True


def test_buckets_and_queues_set_their_kind_of_encryption() -> None:
    for value, algorithm, managed in (("", "AES256", True), ("create", "aws:kms", None)):
        body = translated(KmsKey=value)["Resources"]
        for name in ("InputBucket", "OutputBucket"):
            (rule,) = body[name]["Properties"]["BucketEncryption"]["ServerSideEncryptionConfiguration"]
            assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] == algorithm
        for name in ("UploadQueue", "DeadLetterQueue", "UndeliveredEventsQueue"):
            assert body[name]["Properties"].get("SqsManagedSseEnabled") is managed


@pytest.mark.parametrize("role", resources("AWS::IAM::Role"))
@pytest.mark.parametrize("key", ["create", NAMED, ""])
def test_a_role_can_use_the_key_only_as_its_actions_require(role: str, key: str) -> None:
    policies = translated(KmsKey=key)["Resources"][role]["Properties"]["Policies"]
    statements = [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]
    actions = [action for one in statements for action in as_list(one["Action"])]
    granted = {action for action in actions if action.startswith("kms:")}
    assert granted == ({demanded for action in actions for demanded in DEMANDS.get(action, ())} if key else set())
    for one in statements:
        if any(action.startswith("kms:") for action in as_list(one["Action"])):
            assert written(one["Resource"]) == ("${EncryptionKey.Arn}" if key == "create" else "${KmsKey}")


def test_the_key_policy_allows_the_services_that_use_no_role() -> None:
    document = translated(KmsKey="create")["Resources"]["EncryptionKey"]["Properties"]["KeyPolicy"]
    by_service = {
        written(one["Principal"]["Service"]): one for one in document["Statement"] if "Service" in one["Principal"]
    }
    assert set(by_service) == {
        "events.amazonaws.com",
        "cloudwatch.amazonaws.com",
        "logs.${AWS::Region}.${AWS::URLSuffix}",
    }
    # EventBridge passes neither account nor rule to KMS, so a condition would silently drop every event.
    # AWS's example for CloudWatch has no condition either, and one that fails would silently drop every alarm.
    with_condition = {name for name, one in by_service.items() if "Condition" in one}
    assert with_condition == {"logs.${AWS::Region}.${AWS::URLSuffix}"}


def test_the_key_policy_includes_every_log_group() -> None:
    document = translated(KmsKey="create")["Resources"]["EncryptionKey"]["Properties"]["KeyPolicy"]
    (logs,) = (one for one in document["Statement"] if one["Sid"] == "AllowLogs")
    patterns = [
        written(one).partition("log-group:")[2]
        for one in logs["Condition"]["ArnLike"]["kms:EncryptionContext:aws:logs:arn"]
    ]
    for group in resources("AWS::Logs::LogGroup").values():
        name = written(group["Properties"]["LogGroupName"])
        assert any(name.startswith(pattern.removesuffix("*")) for pattern in patterns), name
