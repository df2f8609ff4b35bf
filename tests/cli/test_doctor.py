"""`lumendrop doctor` finds problems and says how to fix them."""

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from lumendrop_cli import doctor
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

Fault = Callable[[Pipeline], AbstractContextManager[None]]


@contextmanager
def _no_key(pipeline: Pipeline) -> Iterator[None]:
    secrets, secret = pipeline.cloud.client("secretsmanager"), pipeline.outputs["KeySecretArn"]
    secrets.put_secret_value(SecretId=secret, SecretString=" ")
    yield  # the fixture api_key restores it


@contextmanager
def _wrong_key(pipeline: Pipeline) -> Iterator[None]:
    pipeline.account(key_valid=False)
    yield
    pipeline.account(key_valid=True)


@contextmanager
def _no_credits(pipeline: Pipeline) -> Iterator[None]:
    pipeline.account(credits=3)
    yield
    pipeline.account(credits=100_000)


@contextmanager
def _rule_disabled(pipeline: Pipeline) -> Iterator[None]:
    events, name = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=name)
    yield
    events.enable_rule(Name=name)


@contextmanager
def _no_events(pipeline: Pipeline) -> Iterator[None]:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    yield
    configuration: Any = {"EventBridgeConfiguration": {}}
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration=configuration)


@contextmanager
def _no_versioning(pipeline: Pipeline) -> Iterator[None]:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    yield
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})


@contextmanager
def _dead_letter(pipeline: Pipeline) -> Iterator[None]:
    queue = pipeline.outputs["DeadLetterQueueUrl"]
    pipeline.cloud.client("sqs").send_message(QueueUrl=queue, MessageBody="{}")
    yield
    pipeline.cloud.client("sqs").purge_queue(QueueUrl=queue)


@contextmanager
def _alarm_in_nested_stack(pipeline: Pipeline) -> Iterator[None]:
    cloudwatch, name = pipeline.cloud.client("cloudwatch"), pipeline.cloud.resources["DeadLetterAlarm"]
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    yield
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")


@contextmanager
def _paused(pipeline: Pipeline) -> Iterator[None]:
    mapping, functions = pipeline.cloud.resources["SubmitFunctionUploads"], pipeline.cloud.client("lambda")
    functions.update_event_source_mapping(UUID=mapping, Enabled=False)
    pipeline.wait_until(
        lambda: functions.get_event_source_mapping(UUID=mapping)["State"] == "Disabled", "it is disabled"
    )
    yield
    functions.update_event_source_mapping(UUID=mapping, Enabled=True)


def test_a_healthy_stack_has_no_problems(lumendrop: Lumendrop, pipeline: Pipeline, api_key: str) -> None:
    upload = pipeline.drop("in/doctor/healthy.jpg", jpeg())
    pipeline.wait([upload])
    pipeline.account(credits=100_000)
    found = lumendrop.ok("doctor")
    by_check = {one["check"]: one["finding"] for one in found["findings"]}
    assert found["problems"] == 0
    assert by_check["last success"].startswith("in/doctor/healthy.jpg, ")
    assert pipeline.rows()[upload]["credits"] == 12
    assert by_check["balance"] == "100,000 credits: 8,333 tasks at 12 credits, the price of the last enhanced photo."
    assert "not available" in by_check["oldest upload"]
    text = lumendrop("doctor")
    assert (text.code, text.out.partition(":")[0]) == (0, "ok       stack")
    assert api_key not in text.out + text.err + json.dumps(found)


def test_the_price_is_known_after_a_reused_photo(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    """A reused photo costs nothing, and says nothing about the price."""
    photo = jpeg(97, 71)
    for name in ("paid", "reused"):
        pipeline.wait([pipeline.drop_same(f"in/doctor/{name}.jpg", photo)])
    pipeline.account(credits=11)
    try:
        (found,) = [one for one in lumendrop("doctor", "--json").json["findings"] if one["check"] == "balance"]
    finally:
        pipeline.account(credits=100_000)
    assert found["level"] == "problem"
    assert "11 credits: 0 tasks at 12 credits" in found["finding"]


@pytest.mark.parametrize(
    ("fault", "check", "finding", "to_do"),
    [
        (_no_key, "key", "No API key is set", "lumendrop set-key"),
        (_wrong_key, "key", "rejected the key (401)", ""),
        (_no_credits, "balance", "3 credits", "Top up the balance"),
        (_paused, "event source", "Disabled: uploads wait", "lumendrop resume"),
        (_rule_disabled, "rules", "UploadRule is disabled", "aws events enable-rule"),
        (_no_events, "buckets", "sends no events to EventBridge", "Turn on Amazon EventBridge"),
        (_no_versioning, "buckets", "has suspended versioning", "aws s3api put-bucket-versioning"),
        (_dead_letter, "dead-letter queue", "1 message: submit failed five times", "lumendrop redrive"),
        (_alarm_in_nested_stack, "alarms", "is in ALARM", "docs/operations.md#deadletteralarm"),
    ],
)
def test_each_problem_is_found_with_its_remedy(
    lumendrop: Lumendrop, pipeline: Pipeline, api_key: str, fault: Fault, check: str, finding: str, to_do: str
) -> None:
    with fault(pipeline):
        result = lumendrop("doctor", "--json")
    assert (result.code, result.json["problems"]) == (1, 1), result.out
    (found,) = [one for one in result.json["findings"] if one["level"] == "problem"]
    assert found["check"] == check
    assert finding in found["finding"]
    assert to_do in found["to_do"]


@contextmanager
def _limit_reached(pipeline: Pipeline) -> Iterator[None]:
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    today = {"pk": {"S": f"day#{datetime.now(UTC).date()}"}, "sk": {"S": "tasks"}}
    before = dynamodb.get_item(TableName=table, Key=today).get("Item", today | {"tasks": {"N": "0"}})
    dynamodb.put_item(TableName=table, Item=today | {"tasks": {"N": "1000000"}})
    yield
    dynamodb.put_item(TableName=table, Item=before)


@contextmanager
def _old_upload(pipeline: Pipeline) -> Iterator[None]:
    queue = {"Name": "QueueName", "Value": pipeline.outputs["UploadQueueUrl"].rpartition("/")[2]}
    age: Any = {
        "MetricName": "ApproximateAgeOfOldestMessage",
        "Dimensions": [queue],
        "Value": 7200,
        "Timestamp": datetime.now(UTC) - timedelta(minutes=1),  # moto leaves out the current second
    }
    pipeline.cloud.client("cloudwatch").put_metric_data(Namespace="AWS/SQS", MetricData=[age])
    yield


@pytest.mark.parametrize(
    ("warning", "check", "finding"),
    [
        (_limit_reached, "daily limit", "1,000,000 of 1,000,000 tasks today"),
        (_old_upload, "oldest upload", "Waiting for 2:00:00."),
    ],
)
def test_a_warning_is_not_a_problem(
    lumendrop: Lumendrop, pipeline: Pipeline, warning: Fault, check: str, finding: str
) -> None:
    with warning(pipeline):
        findings = lumendrop.ok("doctor")["findings"]
    (found,) = [one for one in findings if one["check"] == check]
    assert (found["level"], finding in found["finding"], bool(found["to_do"])) == ("warning", True, True)


@pytest.mark.parametrize(
    ("pages", "level", "finding"),
    [
        ([[{}], [{}]], "warning", "6 failed in the last 24 hours; 2 uploads without a photo now."),
        ([[], []], "ok", "6 failed in the last 24 hours; no upload of that time is failed or unknown now."),
        ([[{}]] * 21, "warning", "6 failed in the last 24 hours; 20 uploads or more without a photo now."),
        ([[]] * 21, "warning", "6 failed in the last 24 hours."),
    ],
)
def test_failed_executions_are_named_by_what_is_still_open(
    monkeypatch: pytest.MonkeyPatch, pages: Any, level: str, finding: str
) -> None:
    monkeypatch.setattr(doctor, "_enhanced", lambda _: iter(()))
    monkeypatch.setattr(doctor, "_count_recent", lambda *_: 2)
    monkeypatch.setattr(doctor.ledger_index, "pages", lambda *_: iter(pages))
    stack: Any = SimpleNamespace()
    *_, found = doctor._executions(stack)
    assert (found.check, found.level, found.finding) == ("executions", level, finding)
    assert ("`lumendrop list --status failed --status unknown --since 24h`" in found.to_do) == (level == "warning")


def test_alarms_of_the_sandbox_are_not_called_evaluated(lumendrop: Lumendrop) -> None:
    (found,) = [one for one in lumendrop.ok("doctor")["findings"] if one["check"] == "alarms"]
    assert (found["level"], "not simulated" in found["finding"]) == ("ok", True)


def test_a_check_without_permission_is_a_warning_and_the_others_still_run(
    lumendrop: Lumendrop, pipeline: Pipeline
) -> None:
    iam, policies = pipeline.cloud.client("iam"), "arn:aws:iam::aws:policy/"
    trust = {"Version": "2012-10-17", "Statement": []}
    role = iam.create_role(RoleName="reader", AssumeRolePolicyDocument=json.dumps(trust))["Role"]["Arn"]
    iam.attach_role_policy(RoleName="reader", PolicyArn=f"{policies}AWSCloudFormationReadOnlyAccess")
    iam.attach_role_policy(RoleName="reader", PolicyArn=f"{policies}AmazonSQSReadOnlyAccess")
    result = lumendrop("doctor", env=dict(pipeline.cloud._permissions.credentials(role)))
    assert result.code == 0, result.out
    assert "warning  key: Could not be checked. AWS returned AccessDenied" in result.out
    assert "ok       dead-letter queue: Empty." in result.out


@contextmanager
def _rows(pipeline: Pipeline, *rows: dict[str, Any]) -> Iterator[None]:
    """Rows that no message and no execution belongs to."""
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    named = [
        {"pk": f"upload#{row['key']}", "sk": "v", "version_id": "v", "bucket": "photos", "attempt": 1} | row
        for row in rows
    ]
    for row in named:
        dynamodb.put_item(TableName=table, Item=TypeSerializer().serialize(row)["M"])
    try:
        yield
    finally:
        for row in named:
            dynamodb.delete_item(TableName=table, Key={name: {"S": row[name]} for name in ("pk", "sk")})


def test_paid_uploads_past_their_deadline_are_found_without_any_event(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    now = int(datetime.now(UTC).timestamp())
    rows = [
        {"key": f"in/late/{number}.jpg", "status": "submitted", "task_id": "t", "deadline": now - 2000}
        for number in range(7)
    ]
    in_time = {"key": "in/late/soon.jpg", "status": "submitted", "deadline": now - 60}
    dead = {"key": "in/late/claimed.jpg", "status": "claimed", "claim_expires": now - 2000}
    with _rows(pipeline, *rows, in_time, dead):
        result = lumendrop("--json", "doctor")
    paid, claimed = [one for one in result.json["findings"] if one["check"] == "deadlines"]
    assert (result.code, paid["level"], claimed["level"]) == (1, "problem", "problem")
    assert paid["finding"].startswith("7 paid uploads past the deadline, without a running workflow: in/late/")
    assert paid["finding"].endswith(", and 2 more.")
    assert "lumendrop fetch KEY" in paid["to_do"]
    assert "in/late/claimed.jpg" in claimed["finding"]
    assert "lumendrop backfill" in claimed["to_do"]


def test_an_upload_with_a_running_workflow_is_not_overdue(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.plan(status=[{"kind": "http", "status": 503}] * 1000)
    upload = pipeline.drop("in/late/running.jpg", jpeg())
    pipeline.wait_for_status(upload, "submitted")
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    (item,) = [
        one
        for one in dynamodb.scan(TableName=table)["Items"]
        if one.get("key", {}).get("S") == upload.key and "status" in one
    ]
    dynamodb.put_item(TableName=table, Item=item | {"deadline": {"N": "1"}})
    findings = lumendrop("--json", "doctor").json["findings"]
    dynamodb.put_item(TableName=table, Item=item)
    pipeline.plan()
    assert [one["level"] for one in findings if one["check"] == "deadlines"] == ["ok"]
    pipeline.wait([upload])
