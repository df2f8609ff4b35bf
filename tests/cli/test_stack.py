"""Commands find the resources of a stack and of its nested stacks, however many pages CloudFormation returns."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lumendrop_cli import doctor, event_delivery
from lumendrop_cli.errors import AWS_ERROR, CliError
from lumendrop_cli.stack import Resource, Stack
from tests.cli.command import Lumendrop

NESTED_ARN = "arn:aws:cloudformation:us-east-1:123456789012:stack/lumendrop-Monitoring-1ABC/5a6b"
ALARM = "AWS::CloudWatch::Alarm"


@pytest.fixture
def cloudformation() -> Iterator[Stubber]:
    """A CloudFormation client whose responses a test adds in the order of the calls."""
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    with Stubber(session.client("cloudformation")) as stubber:
        yield stubber
        stubber.assert_no_pending_responses()


@pytest.fixture
def stack(cloudformation: Stubber) -> Stack:
    """A stack with one alarm of its own, a nested stack, and one that is not created yet."""
    resources = {
        "OwnAlarm": Resource("own-alarm", ALARM),
        "Monitoring": Resource(NESTED_ARN, "AWS::CloudFormation::Stack"),
        "Pending": Resource("", "AWS::CloudFormation::Stack"),
    }
    clients = {"cloudformation": cloudformation.client}
    return Stack("lumendrop", "CREATE_COMPLETE", {}, {}, resources, boto3.Session(), None, clients)


def _page(*alarms: str, **more: Any) -> dict[str, Any]:
    summaries = [
        {
            "LogicalResourceId": name,
            "PhysicalResourceId": f"physical-{name}",
            "ResourceType": ALARM,
            "LastUpdatedTimestamp": "2026-01-01T00:00:00Z",
            "ResourceStatus": "CREATE_COMPLETE",
        }
        for name in alarms
    ]
    return {"StackResourceSummaries": summaries, **more}


def _add_two_pages(cloudformation: Stubber) -> None:
    first, second = {"StackName": NESTED_ARN}, {"StackName": NESTED_ARN, "NextToken": "more"}
    cloudformation.add_response("list_stack_resources", _page("First", "OwnAlarm", NextToken="more"), first)
    cloudformation.add_response("list_stack_resources", _page("Second"), second)


def test_resources_of_nested_stacks_are_found_on_every_page(cloudformation: Stubber, stack: Stack) -> None:
    _add_two_pages(cloudformation)
    assert stack.resource("Second") == "physical-Second"
    assert set(stack.physical_ids(ALARM)) == {"own-alarm", "physical-First", "physical-OwnAlarm", "physical-Second"}


def test_a_resource_of_the_stack_itself_needs_no_further_call(stack: Stack) -> None:
    assert stack.resource("OwnAlarm") == "own-alarm"


def test_a_resource_that_no_stack_has_is_an_error(cloudformation: Stubber, stack: Stack) -> None:
    _add_two_pages(cloudformation)
    with pytest.raises(CliError, match="has no resource Third") as caught:
        stack.resource("Third")
    assert caught.value.code == AWS_ERROR


@pytest.mark.parametrize(
    ("status", "level", "finding"),
    [
        ("UPDATE_COMPLETE", "ok", "The nested stack Monitoring is deployed (UPDATE_COMPLETE)."),
        ("UPDATE_IN_PROGRESS", "warning", "The nested stack Monitoring is being changed"),
        ("UPDATE_ROLLBACK_FAILED", "problem", "The last change of the nested stack Monitoring failed"),
        ("DELETE_COMPLETE", "problem", "The nested stack Monitoring is deleted"),
    ],
)
def test_doctor_checks_the_status_of_nested_stacks(
    cloudformation: Stubber, stack: Stack, status: str, level: str, finding: str
) -> None:
    described = {"StackName": "n", "StackStatus": status, "CreationTime": "2026-01-01T00:00:00Z"}
    cloudformation.add_response("describe_stacks", {"Stacks": [described]}, {"StackName": NESTED_ARN})
    _, nested = doctor._run(doctor._stack, stack, print)
    assert (nested.level, nested.finding.startswith(finding), bool(nested.to_do)) == (level, True, level != "ok")


def test_doctor_reports_a_nested_stack_that_it_cannot_read(cloudformation: Stubber, stack: Stack) -> None:
    for code, level in (("AccessDenied", "warning"), ("ValidationError", "problem")):
        cloudformation.add_client_error("list_stack_resources", code, "Stack does not exist")
        (finding,) = doctor._run(doctor._alarms, stack, print)
        assert (finding.level, f"AWS returned {code} for ListStackResources" in finding.finding) == (level, True)


@pytest.mark.parametrize(
    ("stack_age", "bucket_age", "seconds"),
    [(0, 0, 300), (100, 100, 200), (9000, 60, 240), (9000, 301, 0), (9000, None, 0), (60, None, 240)],
)
def test_events_are_reliable_five_minutes_after_the_bucket_is_deployed(
    stack: Stack, stack_age: int, bucket_age: int | None, seconds: int
) -> None:
    now = datetime.now(UTC)
    updated = None if bucket_age is None else now - timedelta(seconds=bucket_age)
    bucket = {} if updated is None else {"InputBucket": Resource("photos", "AWS::S3::Bucket", updated)}
    young = replace(stack, created=now - timedelta(seconds=stack_age), resources=bucket)
    assert event_delivery.seconds_until_reliable(young) == pytest.approx(seconds, abs=2)
    assert event_delivery.seconds_until_reliable(replace(young, is_sandbox=True)) == 0


def _doctors_buckets(stack: Stack, source: str, target: str, region: str | None, age: int) -> dict[str, str]:
    """The levels of doctor's findings about buckets, by finding, from recorded answers of S3."""
    s3 = stack._session.client("s3")
    created = datetime.now(UTC) - timedelta(seconds=age)
    with Stubber(s3) as stub:
        located: Any = {"LocationConstraint": region} if region else {}
        stub.add_response("get_bucket_location", located, {"Bucket": target})
        stub.add_response("get_bucket_notification_configuration", {"EventBridgeConfiguration": {}}, {"Bucket": source})
        for bucket in (source, target):
            stub.add_response("get_bucket_versioning", {"Status": "Suspended"}, {"Bucket": bucket})
        outputs = {"InputBucketName": source, "OutputBucketName": target}
        given = replace(stack, outputs=outputs, resources={}, created=created, _clients={"s3": s3})
        return {one.finding: one.level for one in doctor._run(doctor._buckets, given, print)}


@pytest.fixture
def regional(stack: Stack) -> Stack:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="eu-west-1")
    return replace(stack, _session=session)


def test_doctor_compares_the_buckets_and_their_regions(regional: Stack) -> None:
    found = _doctors_buckets(regional, "a", "a", "eu-west-1", 9000)
    assert found["The input bucket a is also the output bucket. Each result is an upload that is paid for again."] == (
        "problem"
    )
    assert not any("region" in one or "is in" in one for one in found)
    for region in (None, "eu-central-1"):
        found = _doctors_buckets(regional, "a", "b", region, 9000)
        text = f"The output bucket b is in {region or 'us-east-1'}, the stack in eu-west-1. Reports can't be written."
        assert found[text] == "problem"
    assert not any("is in" in one for one in _doctors_buckets(regional, "a", "b", "EU", 9000))


def test_doctor_names_suspended_versioning_and_a_new_stack(regional: Stack) -> None:
    found = _doctors_buckets(regional, "a", "b", "eu-west-1", 10)
    suspended = "suspended versioning: a new upload replaces the previous one. Every upload is rejected."
    assert found[f"The input bucket a has {suspended}"] == "problem"
    assert found[next(one for one in found if "may lose events" in one)] == "warning"


def test_s3_calls_name_the_account_that_owns_the_buckets(stack: Stack) -> None:
    session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
    s3 = replace(stack, _session=session, account="123456789012", _clients={}).client("s3")
    with Stubber(s3) as stub:
        expected = {"Bucket": "a", "ExpectedBucketOwner": "123456789012"}
        stub.add_response("get_bucket_versioning", {}, expected)
        stub.add_response("delete_bucket", {}, expected)
        stub.add_response("list_buckets", {}, {})
        s3.get_bucket_versioning(Bucket="a")
        s3.delete_bucket(Bucket="a")
        s3.list_buckets()


def test_a_stack_whose_creation_failed_is_destroyed(
    cloudformation: Stubber, stack: Stack, lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has no outputs, and its resources are already deleted."""
    page = _page("Own")
    summary = page["StackResourceSummaries"][0]
    ledger = {"LogicalResourceId": "LedgerTable", "ResourceType": "AWS::DynamoDB::Table"}
    page["StackResourceSummaries"] = [summary | ledger | {"ResourceStatus": "DELETE_COMPLETE"}]
    described = {"StackName": "half", "StackStatus": "ROLLBACK_COMPLETE", "CreationTime": "2026-01-01T00:00:00Z"}
    described["StackId"] = NESTED_ARN
    monkeypatch.setattr("lumendrop_cli.stack._create_client", lambda *_: cloudformation.client)
    for _ in range(2):
        cloudformation.add_response("describe_stacks", {"Stacks": [described]}, {"StackName": "half"})
        cloudformation.add_response("list_stack_resources", page, {"StackName": "half"})
    cloudformation.add_response("delete_stack", {}, {"StackName": "half"})
    cloudformation.add_client_error("describe_stacks", "ValidationError", "does not exist")
    assert "its creation failed. Delete it with" in lumendrop("--stack", "half", "status", "a").err
    destroyed = lumendrop("--json", "--stack", "half", "destroy", "--yes")
    assert (destroyed.code, destroyed.json["kept"]) == (0, [])
