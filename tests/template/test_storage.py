"""Buckets, queues, table, and secret: retention, access, and how events are routed."""

from __future__ import annotations

import copy
import json
from typing import Any

import pytest
from moto.events.models import EventPattern

from lumendrop.ledger import Row
from lumendrop.uploads import Upload, as_event
from tests.template.merged import written
from tests.template.reading import as_list, properties, references, resources, translated
from tests.workflow.harness import ended_event

BUCKETS = ["InputBucket", "OutputBucket"]
QUEUES = ["UploadQueue", "DeadLetterQueue", "UndeliveredEventsQueue"]
UPLOAD_EVENT = {
    "version": "0",
    "id": "17793124-05d4-b198-2fde-7ededc63b103",
    "detail-type": "Object Created",
    "source": "aws.s3",
    "account": "123456789012",
    "time": "2021-11-12T00:00:00Z",
    "region": "us-east-1",
    "resources": ["arn:aws:s3:::photos-in"],
    **as_event(
        Upload("photos-in", "incoming/my photo+1%.jpg", "IYV3p45BT0ac8hjHg1houSdS1a.Mro8e", "617f08", 5, "etag")
    ),
}


def test_there_are_two_buckets_and_three_queues() -> None:
    assert list(resources("AWS::S3::Bucket")) == BUCKETS
    assert list(resources("AWS::SQS::Queue")) == QUEUES


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_is_closed_and_encrypted(name: str) -> None:
    bucket = properties(name)
    assert bucket["PublicAccessBlockConfiguration"] == dict.fromkeys(
        ["BlockPublicAcls", "BlockPublicPolicy", "IgnorePublicAcls", "RestrictPublicBuckets"], True
    )
    assert bucket["OwnershipControls"] == {"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    (rule,) = bucket["BucketEncryption"]["ServerSideEncryptionConfiguration"]
    assert rule["ServerSideEncryptionByDefault"]["SSEAlgorithm"] in ("AES256", "aws:kms")


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_keeps_versions_and_aborts_incomplete_uploads(name: str) -> None:
    assert properties(name)["VersioningConfiguration"] == {"Status": "Enabled"}
    rules = properties(name)["LifecycleConfiguration"]["Rules"]
    assert [one for one in rules if one["Status"] == "Enabled" and "AbortIncompleteMultipartUpload" in one]
    assert not [one for one in rules if any(key.startswith(("Expiration", "NoncurrentVersion")) for key in one)]


@pytest.mark.parametrize("name", [*BUCKETS, "LedgerTable"])
def test_stored_data_is_retained(name: str) -> None:
    assert translated()["Resources"][name]["DeletionPolicy"] == "Retain"
    assert translated()["Resources"][name]["UpdateReplacePolicy"] == "Retain"


@pytest.mark.parametrize("name", BUCKETS)
def test_bucket_denies_plain_http(name: str) -> None:
    (policy,) = (
        one["Properties"]
        for one in resources("AWS::S3::BucketPolicy").values()
        if one["Properties"]["Bucket"] == {"Ref": name}
    )
    (statement,) = policy["PolicyDocument"]["Statement"]
    assert (statement["Effect"], statement["Principal"], statement["Action"]) == ("Deny", "*", "s3:*")
    assert statement["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert [written(one) for one in statement["Resource"]] == [f"${{{name}.Arn}}", f"${{{name}.Arn}}/*"]


def test_the_input_bucket_sends_events_to_eventbridge() -> None:
    bridge = properties("InputBucket")["NotificationConfiguration"]["EventBridgeConfiguration"]
    assert bridge == {"EventBridgeEnabled": True}


def test_the_table_is_on_demand_and_can_be_restored() -> None:
    table = properties("LedgerTable")
    assert table["BillingMode"] == "PAY_PER_REQUEST"
    assert table["PointInTimeRecoverySpecification"] == {"PointInTimeRecoveryEnabled": True}
    assert {one["AttributeName"]: one["KeyType"] for one in table["KeySchema"]} == {"pk": "HASH", "sk": "RANGE"}
    # Rows of uploads never have this attribute.
    assert table["TimeToLiveSpecification"] == {"AttributeName": "expires_at", "Enabled": True}
    assert "expires_at" not in Row.__struct_fields__


def test_the_key_never_passes_through_cloudformation() -> None:
    secret = properties("KeySecret")
    assert not {"SecretString", "GenerateSecretString"} & set(secret)
    parameters = translated()["Parameters"]
    assert not [
        name for name, one in parameters.items() if one.get("NoEcho") or ("key" in name.lower() and name != "KmsKey")
    ]


# Existing buckets.


@pytest.mark.parametrize("kind", ["Input", "Output"])
def test_an_existing_bucket_replaces_the_new_one_everywhere(kind: str) -> None:
    new, existing = f"{kind}Bucket", f"Existing{kind}Bucket"
    body = translated(**{existing: "photos"})
    assert set(translated()["Resources"]) - set(body["Resources"]) == {new, f"{new}Policy"}
    assert new not in references({name: body[name] for name in ("Resources", "Outputs")})
    assert body["Outputs"][f"{kind}BucketName"]["Value"] == {"Ref": existing}
    assert _users(body, existing) == _users(translated(), new) - {f"{new}Policy"}


def test_an_existing_ledger_replaces_the_new_one_everywhere() -> None:
    """Otherwise, a stack that replaces a deleted one would pay for every photo again."""
    name = "lumendrop-LedgerTable-1A2B3C4D5E6F7"
    body = translated(ExistingLedgerTable=name)
    assert set(translated()["Resources"]) - set(body["Resources"]) == {"LedgerTable"}
    assert "LedgerTable" not in references({name: body[name] for name in ("Resources", "Outputs")})
    assert body["Outputs"]["LedgerTableName"]["Value"] == {"Ref": "ExistingLedgerTable"}
    # A version of submit refers to it too, so that a new value reaches the alias.
    versions = {one for one in body["Resources"] if one.startswith("SubmitFunctionVersion")}
    assert _users(body, "ExistingLedgerTable") == _users(translated(), "LedgerTable") | versions


def _users(body: dict[str, Any], referred: str) -> set[str]:
    return {name for name, one in body["Resources"].items() if referred in references(one)}


# The route of an upload event.


@pytest.mark.parametrize("name", QUEUES)
def test_queue_has_the_maximum_retention_and_accepts_eventbridge(name: str) -> None:
    queue = properties(name)
    assert queue["SqsManagedSseEnabled"] is True
    assert "KmsMasterKeyId" not in queue
    assert queue["MessageRetentionPeriod"] == 14 * 24 * 3600
    assert "FifoQueue" not in queue


def test_five_crashes_send_a_message_to_the_dead_letter_queue() -> None:
    redrive = properties("UploadQueue")["RedrivePolicy"]
    assert redrive["maxReceiveCount"] == 5
    assert written(redrive["deadLetterTargetArn"]) == "${DeadLetterQueue.Arn}"
    assert "RedrivePolicy" not in properties("DeadLetterQueue")


def test_the_visibility_timeout_is_six_times_the_timeout_of_submit() -> None:
    assert properties("UploadQueue")["VisibilityTimeout"] >= 6 * properties("SubmitFunction")["Timeout"]


@pytest.mark.parametrize(
    ("queue", "rules"),
    [
        ("UploadQueue", ["UploadRule"]),
        ("DeadLetterQueue", ["UploadRule"]),
        ("UndeliveredEventsQueue", ["ExecutionFailureRule", "SweepRule"]),
    ],
)
def test_each_queue_has_its_own_policy_and_only_its_rules_can_send_to_it(queue: str, rules: list[str]) -> None:
    """SQS requires that a policy covers a single queue."""
    found = translated(SweepSchedule="rate(1 day)")["Resources"].values()
    policies = [one["Properties"] for one in found if one["Type"] == "AWS::SQS::QueuePolicy"]
    assert all(len(policy["Queues"]) == 1 for policy in policies)
    (policy,) = (policy for policy in policies if policy["Queues"] == [{"Ref": queue}])
    allow, deny = policy["PolicyDocument"]["Statement"]
    assert (allow["Effect"], allow["Action"]) == ("Allow", "sqs:SendMessage")
    assert allow["Principal"] == {"Service": "events.amazonaws.com"}
    sources = [written(one) for one in as_list(allow["Condition"]["ArnEquals"]["aws:SourceArn"])]
    assert sources == [f"${{{rule}.Arn}}" for rule in rules]
    assert (deny["Effect"], deny["Principal"], deny["Action"]) == ("Deny", "*", "sqs:*")
    assert deny["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}
    assert {written(statement["Resource"]) for statement in (allow, deny)} == {f"${{{queue}.Arn}}"}


def test_an_update_narrows_the_old_policy_before_it_adds_the_one_of_the_dead_letter_queue() -> None:
    """`QueuePolicy` covered both queues before. If that policy were removed last, the new one would be lost."""
    assert translated()["Resources"]["DeadLetterQueuePolicy"]["DependsOn"] == "QueuePolicy"


@pytest.mark.parametrize("rule", ["UploadRule", "ExecutionFailureRule", "SweepRule"])
def test_events_that_processing_depends_on_have_a_dead_letter_queue_and_an_alarm(rule: str) -> None:
    body = translated(SweepSchedule="rate(1 day)")["Resources"]
    (target,) = body[rule]["Properties"]["Targets"]
    queue = "DeadLetterQueue" if rule == "UploadRule" else "UndeliveredEventsQueue"
    assert written(target["DeadLetterConfig"]["Arn"]) == f"${{{queue}.Arn}}"
    watched = {
        metric["MetricStat"]["Metric"]["MetricName"]
        for one in body.values()
        for metric in one["Properties"].get("Metrics", [])
        if "MetricStat" in metric
        and [written(part["Value"]) for part in metric["MetricStat"]["Metric"]["Dimensions"]] == [f"${{{rule}}}"]
    }
    assert watched == {"FailedInvocations", "InvocationsSentToDlq", "InvocationsFailedToBeSentToDlq"}


def test_the_rule_sends_to_the_upload_queue_and_has_a_dead_letter_queue() -> None:
    (target,) = properties("UploadRule")["Targets"]
    assert written(target["Arn"]) == "${UploadQueue.Arn}"
    assert written(target["DeadLetterConfig"]["Arn"]) == "${DeadLetterQueue.Arn}"
    assert not {"Input", "InputPath", "InputTransformer"} & set(target)


def matches(rule: str, event: dict[str, Any], **values: str) -> bool:
    """Whether a rule of the template matches an event, with these values for its references."""

    def filled(part: Any) -> Any:
        if isinstance(part, list):
            return [filled(one) for one in part]
        if not isinstance(part, dict):
            return part
        return values[part["Ref"]] if "Ref" in part else {key: filled(one) for key, one in part.items()}

    pattern = json.dumps(filled(properties(rule)["EventPattern"]))
    return bool(EventPattern.load(pattern).matches_event(event))  # type: ignore[arg-type]  # moto's own event type


def changed(event: dict[str, Any], **changes: Any) -> dict[str, Any]:
    event = copy.deepcopy(event)
    for path, value in changes.items():
        *way, last = path.replace("detail_type", "detail-type").split("__")
        part = event
        for step in way:
            part = part[step]
        part[last] = value
    return event


@pytest.mark.parametrize("prefix", ["", "incoming/", "incoming/my photo+1%"])
def test_the_rule_matches_uploads(prefix: str) -> None:
    assert matches("UploadRule", UPLOAD_EVENT, InputBucket="photos-in", InputPrefix=prefix)


@pytest.mark.parametrize(
    "event",
    [
        changed(UPLOAD_EVENT, detail__bucket__name="photos-out"),
        changed(UPLOAD_EVENT, detail__object__key="outgoing/photo.jpg"),
        changed(UPLOAD_EVENT, detail__object__key="INCOMING/photo.jpg"),
        changed(UPLOAD_EVENT, detail_type="Object Deleted"),
        changed(UPLOAD_EVENT, detail_type="Object Tags Added"),
        changed(UPLOAD_EVENT, source="my.s3"),
    ],
)
def test_the_rule_matches_nothing_else(event: dict[str, Any]) -> None:
    assert not matches("UploadRule", event, InputBucket="photos-in", InputPrefix="incoming/")


# The route of an execution that ended early.

WORKFLOW = "arn:aws:states:us-east-1:123456789012:stateMachine:lumendrop"


@pytest.mark.parametrize("status", ["ABORTED", "TIMED_OUT", "FAILED"])
def test_the_rule_matches_executions_that_failed(status: str) -> None:
    assert matches("ExecutionFailureRule", ended_event(WORKFLOW, {}, status), Workflow=WORKFLOW)


@pytest.mark.parametrize("status", ["RUNNING", "SUCCEEDED", "PENDING_REDRIVE"])
def test_the_rule_does_not_match_other_executions(status: str) -> None:
    assert not matches("ExecutionFailureRule", ended_event(WORKFLOW, {}, status), Workflow=WORKFLOW)
    assert not matches("ExecutionFailureRule", ended_event(f"{WORKFLOW}2", {}, "FAILED"), Workflow=WORKFLOW)


def test_the_rule_starts_the_workflow() -> None:
    (target,) = properties("ExecutionFailureRule")["Targets"]
    assert written(target["Arn"]) == "${Workflow}"
    assert written(target["RoleArn"]) == "${ExecutionFailureRuleRole.Arn}"
    assert not {"Input", "InputPath", "InputTransformer"} & set(target)
