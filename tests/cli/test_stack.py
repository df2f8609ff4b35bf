"""Commands find the resources of a stack and of its nested stacks, however many pages CloudFormation returns."""

from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.stub import Stubber

from lumendrop_cli import doctor
from lumendrop_cli.errors import AWS_ERROR, CliError
from lumendrop_cli.stack import Resource, Stack

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
