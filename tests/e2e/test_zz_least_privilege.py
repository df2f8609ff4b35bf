"""Roles have all permissions that they use, and no others. Sorts last, because it checks the calls of the whole run."""

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from sandbox.aws.permissions import Call, Grant
from tests.e2e.pipeline import Pipeline
from tests.e2e.test_permissions import DENIED_ON_PURPOSE
from tests.template.reading import FUNCTIONS, as_list, statements, translated

# Not used in the sandbox, which neither updates stacks nor has CodeDeploy. AWS's managed policy for CodeDeploy,
# AWSCodeDeployRoleForLambdaLimited, grants more; tests/template/test_deployment.py checks these permissions.
NOT_USED_HERE = {
    Grant(function.replace("Function", "DeploymentRole"), statement, action)
    for function in FUNCTIONS
    for statement, action in (
        ("ShiftAlias", "lambda:GetAlias"),
        ("ShiftAlias", "lambda:UpdateAlias"),
        ("ShiftAlias", "lambda:GetProvisionedConcurrencyConfig"),
        ("ReadAlarms", "cloudwatch:DescribeAlarms"),
    )
} | {Grant("WorkflowRole", "WriteReports", "s3:PutObject")}  # for executions that started before an update


def granted(body: dict[str, Any]) -> set[Grant]:
    """Every action of every statement of every role in a translated template."""
    return {
        Grant(role, statement["Sid"], action)
        for role, statement in _statements(body)
        for action in as_list(statement["Action"])
        if statement["Effect"] == "Allow"
    }


def _statements(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for name, one in body["Resources"].items():
        if one["Type"] == "AWS::IAM::Role":
            yield from ((name, statement) for statement in statements(name, body))


def never_used(body: dict[str, Any], used: set[Grant]) -> set[Grant]:
    return granted(body) - used - NOT_USED_HERE


def missing(body: dict[str, Any], used: set[Grant], calls: Iterable[Call]) -> set[tuple[str, str]]:
    """(role, action) of calls that were denied, or would be with the policies in `body`."""
    refused = {(call.principal, call.action) for call in calls if not call.allowed} - DENIED_ON_PURPOSE
    return refused | {(one.principal, one.action) for one in used - granted(body)}


def _changed(role: str, sid: str, actions: list[str]) -> dict[str, Any]:
    """A copy of the template with other actions in one statement."""
    body = copy.deepcopy(translated())
    (statement,) = (one for name, one in _statements(body) if (name, one["Sid"]) == (role, sid))
    statement["Action"] = actions
    return body


def test_no_role_lacks_a_permission(pipeline: Pipeline) -> None:
    assert missing(translated(), pipeline.cloud.used, pipeline.cloud.calls) == set()


def test_no_role_has_an_unused_permission(pipeline: Pipeline) -> None:
    assert never_used(translated(), pipeline.cloud.used) == set()
    assert granted(translated()) >= NOT_USED_HERE


def test_an_unused_permission_is_detected(pipeline: Pipeline) -> None:
    body = _changed("WorkflowRole", "RecordFinalStatus", ["dynamodb:UpdateItem", "dynamodb:DeleteItem"])
    found = never_used(body, pipeline.cloud.used)
    assert found == {Grant("WorkflowRole", "RecordFinalStatus", "dynamodb:DeleteItem")}


def test_a_missing_permission_is_detected(pipeline: Pipeline) -> None:
    kept = ["dynamodb:PutItem", "dynamodb:UpdateItem", "dynamodb:ConditionCheckItem"]
    body = _changed("SubmitRole", "UpdateLedger", kept)
    assert missing(body, pipeline.cloud.used, []) == {("SubmitRole", "dynamodb:DeleteItem")}
    refused = Call("DeliverRole", "s3:DeleteObject", "arn:aws:s3:::photos/a.jpg", allowed=False)
    assert missing(translated(), pipeline.cloud.used, [refused]) == {("DeliverRole", "s3:DeleteObject")}
