"""Each role has only the permissions that it needs, and each wildcard has a comment with its reason."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cfnlint.data.AdditionalSpecs
import pytest
import yaml
from cfnlint.helpers import load_resource

from lumendrop.reports import report_key
from tests.template.asl import all_states
from tests.template.merged import written
from tests.template.reading import (
    DEFINITIONS,
    FUNCTIONS,
    ROOT,
    SAM,
    TEXT,
    as_list,
    grants,
    properties,
    resources,
    statements,
    translated,
)

ROLES = list(resources("AWS::IAM::Role"))
WRITE_LOGS = {"logs:CreateLogStream", "logs:PutLogEvents"}
SEND_TRACES = {("xray:PutTraceSegments", "*"), ("xray:PutTelemetryRecords", "*")}
# Only Lambda's event source mapping calls these.
POLL_THE_QUEUE = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
# The calls of the functions' code that need an action. Without permission to list, S3 returns 403 instead of 404.
CALLS = {
    "s3:GetObject": {"get_object", "head_object"},
    "s3:GetObjectVersion": {"get_object", "head_object"},
    "s3:GetObjectVersionTagging": {"get_object_tagging"},
    "s3:PutObjectTagging": {"put_object", "copy_object"},
    "s3:ListBucket": {"get_object", "head_object"},
    "s3:ListBucketVersions": {"get_object", "head_object"},
    "s3:PutObject": {"put_object", "copy_object"},
    "s3:DeleteObject": {"delete_object"},
    "sqs:SendMessage": {"send_message"},
    "dynamodb:GetItem": {"get_item"},
    "dynamodb:PutItem": {"put_item", "transact_write_items"},
    "dynamodb:UpdateItem": {"update_item", "transact_write_items"},
    "dynamodb:ConditionCheckItem": {"transact_write_items"},
    "dynamodb:DeleteItem": {"delete_item", "transact_write_items"},
    "secretsmanager:GetSecretValue": {"SecretsProvider"},
    "states:StartExecution": {"start_execution"},
}
# For each integration of the workflows: its action, the argument that names the resource, and the resource's form.
INTEGRATIONS = {
    "arn:aws:states:::lambda:invoke": ("lambda:InvokeFunction", "FunctionName", "{}"),
    "arn:aws:states:::dynamodb:updateItem": ("dynamodb:UpdateItem", "TableName", "{}"),
    "arn:aws:states:::sqs:sendMessage": ("sqs:SendMessage", "QueueUrl", "{}"),
    "arn:aws:states:::aws-sdk:sqs:sendMessageBatch": ("sqs:SendMessage", "QueueUrl", "{}"),
    "arn:aws:states:::aws-sdk:s3:getBucketVersioning": ("s3:GetBucketVersioning", "Bucket", "{}"),
    "arn:aws:states:::s3:listObjectsV2": ("s3:ListBucket", "Bucket", "{}"),
}
CHILDREN = "arn:${AWS::Partition}:states:${AWS::Region}:${AWS::AccountId}:execution:${BackfillWorkflow.Name}:*"
EXECUTIONS = CHILDREN.replace("Backfill", "")
DEFAULT_BUS = "arn:${AWS::Partition}:events:${AWS::Region}:${AWS::AccountId}:event-bus/default"


def policies() -> Iterator[dict[str, Any]]:
    """Every policy document of the translated template, trust policies aside."""
    for one in translated()["Resources"].values():
        found = one["Properties"]
        if "PolicyDocument" in found:
            yield found["PolicyDocument"]
        for policy in found.get("Policies", []):
            yield policy["PolicyDocument"]


def test_there_are_roles_for_the_functions_their_deployments_the_workflow_its_rule_and_the_backfill() -> None:
    assert {role for role in ROLES if role in SAM["Resources"]} == set(ROLES)
    assert len(ROLES) == 2 * len(FUNCTIONS) + 3


@pytest.mark.parametrize("role", ROLES)
def test_a_role_reaches_only_buckets_of_its_own_account(role: str) -> None:
    """A bucket's ARN does not contain the account. After a bucket is deleted, another account can take its name."""
    found = [one for one in statements(role) if any(action.startswith("s3:") for action in as_list(one["Action"]))]
    own = {"StringEquals": {"aws:ResourceAccount": {"Ref": "AWS::AccountId"}}}
    assert [one["Sid"] for one in found if one.get("Condition") != own] == []
    assert found or role not in ("SubmitRole", "DeliverRole", "BackfillRole")


@pytest.mark.parametrize("role", ROLES)
def test_a_role_has_one_owner(role: str) -> None:
    users = [
        name for name, one in translated()["Resources"].items() if f"${{{role}.Arn}}" in map(written, _values(one))
    ]
    assert len(users) == 1


def _values(part: Any) -> Iterator[Any]:
    yield part
    for inner in part.values() if isinstance(part, dict) else part if isinstance(part, list) else []:
        yield from _values(inner)


@pytest.mark.parametrize("role", ROLES)
def test_no_managed_policies(role: str) -> None:
    assert "ManagedPolicyArns" not in properties(role)


def test_every_role_has_the_boundary_if_it_is_set() -> None:
    boundary = "arn:aws:iam::123456789012:policy/boundary"
    for body, wanted in (
        (translated(PermissionsBoundary=boundary), {"Ref": "PermissionsBoundary"}),
        (translated(), None),
    ):
        roles = [one["Properties"] for one in body["Resources"].values() if one["Type"] == "AWS::IAM::Role"]
        assert [role.get("PermissionsBoundary") for role in roles] == [wanted] * len(ROLES)


@pytest.mark.parametrize(
    ("role", "service"),
    [
        ("SubmitRole", "lambda.amazonaws.com"),
        ("CheckStatusRole", "lambda.amazonaws.com"),
        ("DeliverRole", "lambda.amazonaws.com"),
        ("WorkflowRole", "states.amazonaws.com"),
        ("ExecutionFailureRuleRole", "events.amazonaws.com"),
        ("BackfillRole", "states.amazonaws.com"),
        ("SubmitDeploymentRole", "codedeploy.amazonaws.com"),
        ("CheckStatusDeploymentRole", "codedeploy.amazonaws.com"),
        ("DeliverDeploymentRole", "codedeploy.amazonaws.com"),
    ],
)
def test_only_its_service_can_assume_a_role(role: str, service: str) -> None:
    (statement,) = properties(role)["AssumeRolePolicyDocument"]["Statement"]
    assert statement["Principal"] == {"Service": service}
    assert statement["Action"] == "sts:AssumeRole"


def test_every_statement_has_a_unique_sid_and_lists_actions_and_resources() -> None:
    for policy in policies():
        sids = [one["Sid"] for one in policy["Statement"]]
        assert len(sids) == len(set(sids))
        for statement in policy["Statement"]:
            assert re.fullmatch(r"[A-Za-z0-9]+", statement["Sid"])
            assert not {"NotAction", "NotResource", "NotPrincipal"} & set(statement)


def test_every_action_exists() -> None:
    known = load_resource(cfnlint.data.AdditionalSpecs, "Policies.json")
    for policy in policies():
        for action in [one for statement in policy["Statement"] for one in as_list(statement["Action"])]:
            service, name = action.split(":")
            assert name == "*" or name.lower() in map(str.lower, known[service]["Actions"]), action


@pytest.mark.parametrize(("function", "logs"), [(name, name.replace("Function", "Logs")) for name in FUNCTIONS])
def test_a_function_can_write_only_its_own_logs(function: str, logs: str) -> None:
    granted = grants(written(properties(function)["Role"])[2:-5])
    assert {pair for pair in granted if pair[0].startswith("logs:")} == {
        (one, f"${{{logs}.Arn}}") for one in WRITE_LOGS
    }


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_traced_and_can_send_traces(name: str) -> None:
    assert properties(name)["TracingConfig"] == {"Mode": "Active"}
    assert grants(name.replace("Function", "Role")) >= SEND_TRACES


def test_the_workflow_is_traced_and_can_send_traces() -> None:
    assert properties("Workflow")["TracingConfiguration"] == {"Enabled": True}
    sampling = {("xray:GetSamplingRules", "*"), ("xray:GetSamplingTargets", "*")}
    assert SEND_TRACES | sampling <= grants("WorkflowRole")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_has_only_the_permissions_that_its_code_uses(name: str) -> None:
    actions = {action for action, _ in grants(name.replace("Function", "Role")) - SEND_TRACES} - WRITE_LOGS
    if name == "SubmitFunction":
        actions -= POLL_THE_QUEUE
    called = _names(FUNCTIONS[name], set())
    assert {action: sorted(CALLS[action]) for action in actions if not CALLS[action] & called} == {}


def _names(path: Path, seen: set[Path]) -> set[str]:
    """Every name that a module and the layer's modules it imports use."""
    if path in seen or not path.exists():
        return set()
    seen.add(path)
    tree = ast.parse(path.read_text())
    found = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("lumendrop"):
            module = (node.module or "").removeprefix("lumendrop").removeprefix(".")
            for name in [module] if module else [alias.name for alias in node.names]:
                found |= _names(ROOT / f"layers/lumendrop/{name}.py", seen)
    return found


def test_the_workflow_has_only_the_permissions_that_its_states_use() -> None:
    granted = {pair for pair in grants("WorkflowRole") if not pair[0].startswith(("logs:", "xray:"))}
    by_earlier_definitions = {("s3:PutObject", "${OutputBucket.Arn}/errors/*")}
    assert granted - by_earlier_definitions == set(_integrations("Workflow"))


def test_the_backfill_has_only_the_permissions_of_its_states_and_children() -> None:
    granted = {pair for pair in grants("BackfillRole") if not pair[0].startswith("logs:")}
    children = {("states:StartExecution", "${BackfillWorkflow}"), ("states:DescribeExecution", CHILDREN)}
    assert granted == set(_integrations("BackfillWorkflow")) | children


def _integrations(name: str) -> Iterator[tuple[str, str]]:
    substitutions = properties(name)["DefinitionSubstitutions"]
    for state in dict(all_states(DEFINITIONS[name])).values():
        called = state if state["Type"] == "Task" else state.get("ItemReader")
        if called is None:
            continue
        if called["Resource"] == "arn:aws:states:::events:putEvents":
            assert not any("EventBusName" in entry for entry in called["Arguments"]["Entries"])
            yield "events:PutEvents", DEFAULT_BUS
            continue
        if called["Resource"] == "arn:aws:states:::aws-sdk:sfn:describeExecution":
            yield "states:DescribeExecution", EXECUTIONS
            continue
        action, argument, resource = INTEGRATIONS[called["Resource"]]
        named = written(substitutions[called["Arguments"][argument][2:-1]])[2:-1].removesuffix(".Arn")
        # Ref of an alias returns its ARN.
        yield action, resource.format(f"${{{named}}}" if named.endswith("Aliaslive") else f"${{{named}.Arn}}")


def test_reports_are_written_where_the_workflow_has_permission() -> None:
    assert report_key("a/photo.jpg").startswith("errors/")
    assert report_key("k" * 1024).startswith("errors/")


def test_the_rule_can_only_start_the_workflow() -> None:
    assert grants("ExecutionFailureRuleRole") == {("states:StartExecution", "${Workflow}")}


def test_the_sweep_is_disabled_by_default_and_can_only_start_the_backfill() -> None:
    assert not {"SweepRule", "SweepRuleRole"} & set(translated()["Resources"])
    body = translated(SweepSchedule="cron(0 3 * * ? *)")
    assert grants("SweepRuleRole", body) == {("states:StartExecution", "${BackfillWorkflow}")}
    role, rule = body["Resources"]["SweepRuleRole"]["Properties"], body["Resources"]["SweepRule"]["Properties"]
    (trust,) = role["AssumeRolePolicyDocument"]["Statement"]
    assert trust["Principal"] == {"Service": "events.amazonaws.com"}
    assert rule["ScheduleExpression"] == {"Ref": "SweepSchedule"}
    (target,) = rule["Targets"]
    assert (written(target["Arn"]), written(target["RoleArn"])) == ("${BackfillWorkflow}", "${SweepRuleRole.Arn}")


@pytest.mark.parametrize(
    "role", [role for role in ROLES if role not in ("SubmitRole", "CheckStatusRole", "DeliverRole")]
)
def test_only_functions_read_the_key(role: str) -> None:
    assert "KeySecret" not in str(statements(role))


def statements_without_a_comment(text: str) -> list[str]:
    """Line and Sid of each statement of a role with no comment above it."""
    lines = text.splitlines()
    resources = yaml.compose(text, Loader=yaml.SafeLoader).value
    (found,) = (value for key, value in resources if key.value == "Resources")
    return [
        f"{statement['Sid'].start_mark.line + 1}: {statement['Sid'].value}"
        for name, resource in found.value
        if name.value.endswith("Role")
        for statement in _mappings(resource)
        if "Sid" in statement and not re.match(r" *# \w", _line_above(statement["Sid"], lines))
    ]


def _line_above(sid: Any, lines: list[str]) -> str:
    """The line above a statement. A statement that others repeat has its anchor on a line of its own."""
    line = sid.start_mark.line - 1
    return lines[line - 1] if re.fullmatch(r" *- &\w+", lines[line]) else lines[line]


def test_every_statement_of_a_role_has_a_comment() -> None:
    assert all(role.endswith("Role") for role in ROLES)
    assert statements_without_a_comment(TEXT) == []
    without = TEXT.replace("              # Only its own log group.\n", "", 1)
    assert len(statements_without_a_comment(without)) == 1


# Wildcards in the template's text: the reason is next to the wildcard.


def wildcards_without_a_reason(text: str) -> list[str]:
    """Line and value of each wildcard without one.

    A whole service or everything needs `# wildcard: …` on its line or the one above. Everything below one resource
    needs a comment above its statement; a denial may be as wide as it likes.
    """
    lines = text.splitlines()
    return [
        f"{scalar.start_mark.line + 1}: {scalar.value}"
        for statement in _mappings(yaml.compose(text, Loader=yaml.SafeLoader))
        if "Effect" in statement
        for name in {"Action", "Resource"} & set(statement)
        for scalar in _scalars(statement[name])
        if "*" in scalar.value and not _has_reason(scalar, statement, lines)
    ]


def _has_reason(scalar: Any, statement: dict[str, Any], lines: list[str]) -> bool:
    line, first = scalar.start_mark.line, statement["Effect"].start_mark.line - 1
    if scalar.value == "*" or scalar.value.endswith(":*"):
        return any(re.search(r"# wildcard: \w", lines[one]) for one in (line, line - 1))
    return statement["Effect"].value == "Deny" or re.match(r" *# \w", lines[first - 1]) is not None


def _mappings(node: Any) -> Iterator[dict[str, Any]]:
    if isinstance(node, yaml.MappingNode):
        yield {key.value: value for key, value in node.value}
        for _, value in node.value:
            yield from _mappings(value)
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _mappings(value)


def _scalars(node: Any) -> Iterator[Any]:
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        for value in node.value:
            yield from _scalars(value)


def test_every_wildcard_has_a_written_reason() -> None:
    assert wildcards_without_a_reason(TEXT) == []


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ('Resource: "*" # wildcard:', 'Resource: "*" #'),
        ("Action: s3:* # wildcard:", "Action: s3:* #"),
        ("Action: sqs:SendMessage\n", "Action: sqs:*\n"),
        ("Resource: *LedgerArn", 'Resource: "*"'),
        ("              # Reports, below errors/. Only executions from before an update write them.\n", ""),
    ],
)
def test_a_wildcard_without_a_reason_is_found(before: str, after: str) -> None:
    assert before in TEXT
    assert wildcards_without_a_reason(TEXT.replace(before, after))
