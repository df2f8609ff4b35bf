"""The first error of a failed deployment, in events as CloudFormation reports them."""

from typing import Any

import pytest

from lumendrop_cli.deployment_events import first_error
from lumendrop_cli.stack import Account

PARENT = "arn:aws:cloudformation:us-east-1:123456789012:stack/lumendrop/1"
NESTED = "arn:aws:cloudformation:us-east-1:123456789012:stack/lumendrop-Monitoring/2"


def event(name: str, kind: str, status: str, reason: str = "", *, physical: str = "x", stack: str = PARENT) -> Any:
    return {
        "EventId": f"{name}-{status}",
        "StackId": stack,
        "LogicalResourceId": name,
        "PhysicalResourceId": physical,
        "ResourceType": kind,
        "ResourceStatus": status,
        "ResourceStatusReason": reason,
    }


class Events:
    """CloudFormation with the events of the nested stack, the newest first."""

    def __init__(self, *nested: Any) -> None:
        self._nested = list(nested)

    def get_paginator(self, _: str) -> "Events":
        return self

    def paginate(self, StackName: str) -> list[Any]:  # noqa: N803  # boto3's name
        return [{"StackEvents": self._nested if StackName == NESTED else []}]


def described(events: list[Any], *nested: Any) -> str:
    account = Account("123456789012", "us-east-1", "aws", lambda _: Events(*nested))
    return first_error(account, events)


CANCELLED = event("Workflow", "AWS::StepFunctions::StateMachine", "CREATE_FAILED", "Resource creation cancelled")
ROLLBACK = event(
    "lumendrop",
    "AWS::CloudFormation::Stack",
    "ROLLBACK_IN_PROGRESS",
    "The following resource(s) failed to create: [SubmitRole].",
    physical=PARENT,
)


@pytest.mark.parametrize(
    ("reason", "advice"),
    [
        ("User: x is not authorized to perform: iam:CreateRole on resource: y", "These credentials lack a permission."),
        ("lumendrop-x already exists", "Delete it, or choose another --stack."),
        ("Code storage limit exceeded. (CodeStorageExceededException)", "Remove old versions"),
        ("The maximum number of addresses has been reached", "Raise it in the Service Quotas console."),
        ("Deployment d-1 was stopped by an alarm", "The new version failed"),
        ("Something new.", "Something new."),
    ],
)
def test_the_first_error_has_an_advice(reason: str, advice: str) -> None:
    first = event("SubmitRole", "AWS::IAM::Role", "CREATE_FAILED", reason)
    text = described([first, CANCELLED, ROLLBACK])
    assert text.startswith(f"The first error is that of SubmitRole (AWS::IAM::Role): {reason.rstrip('.')}.")
    assert advice in text


def test_the_error_of_a_nested_stack_is_that_of_its_resource() -> None:
    reason = "Embedded stack was not successfully created: The following resource(s) failed to create: [Board]"
    failed = event("Monitoring", "AWS::CloudFormation::Stack", "CREATE_FAILED", reason, physical=NESTED)
    inner = event("Board", "AWS::CloudWatch::Dashboard", "CREATE_FAILED", "Invalid body", stack=NESTED)
    assert described([failed, ROLLBACK], inner).startswith("The first error is that of Board")


def test_without_a_failure_there_is_no_error() -> None:
    assert described([ROLLBACK]) == ""
