"""docs/other-tools.md: the code for Terraform and GitHub Actions fits the template and the command."""

from __future__ import annotations

import json
import re
from typing import Any

import hcl2
import pytest
import yaml
from typer.main import get_command

from lumendrop_cli import change_set
from lumendrop_cli.main import app
from lumendrop_cli.release import REFERENCES
from sandbox.aws.template import load
from tests.template.other_tools import TEXT, code, commands
from tests.template.reading import PARAMETERS, REGION, ROOT, SAM, TEMPLATE

COMMANDS: dict[str, Any] = get_command(app).commands  # type: ignore[attr-defined]
VERSION: str = SAM["Outputs"]["Version"]["Value"]
ISSUER = "token.actions.githubusercontent.com"


def terraform(text: str) -> dict[str, Any]:
    """The stack's resource, with texts as Terraform reads them, and the outputs that the code uses."""
    parsed: dict[str, Any] = json.loads(json.dumps(hcl2.loads(text)).replace('"\\"', '"').replace('\\""', '"'))
    (resource,) = parsed["resource"]
    stack: dict[str, Any] = resource["aws_cloudformation_stack"]["lumendrop"]
    return stack


def needed_capabilities() -> set[str]:
    """What the template needs, as CloudFormation determines it."""
    body = load(TEMPLATE, {}, REGION).body
    roles = [one["Properties"] for one in body["Resources"].values() if one["Type"].startswith("AWS::IAM::")]
    named = any(name in one for one in roles for name in ("RoleName", "ManagedPolicyName", "UserName", "GroupName"))
    return {
        "CAPABILITY_NAMED_IAM" if named else "CAPABILITY_IAM",
        *({"CAPABILITY_AUTO_EXPAND"} if SAM["Transform"] else ()),
    }


def problems_of_terraform(stack: dict[str, Any]) -> list[str]:
    parameters = stack["parameters"]
    unknown = [f"no parameter {name}" for name in parameters if name not in PARAMETERS]
    if set(stack["capabilities"]) != needed_capabilities():
        unknown.append("other capabilities")
    return unknown


def test_terraform_sets_parameters_that_exist() -> None:
    stack = terraform(code("hcl"))
    assert problems_of_terraform(stack) == []
    load(TEMPLATE, {name: str(value) for name, value in stack["parameters"].items()}, REGION)  # accepted values
    assert set(stack["capabilities"]) == set(change_set.CAPABILITIES)


def test_terraform_reads_what_the_command_prints() -> None:
    (field,) = re.findall(
        r"jsondecode\(file\(\S+/lumendrop\.json\S+\)\)\.(\w+)", terraform(code("hcl"))["template_url"]
    )
    assert f'"{field}": url' in (ROOT / "cli/lumendrop_cli/deploy.py").read_text(encoding="utf-8")
    assert "lumendrop deploy --dry-run --json > lumendrop.json" in TEXT
    outputs = re.findall(r'\.outputs\["(\w+)"\]', code("hcl"))
    assert outputs
    assert set(outputs) <= set(SAM["Outputs"])


def test_cdk_names_what_the_release_refers_to() -> None:
    named = dict(re.findall(r'"(AWS::Serverless::\w+)": "(\w+)"', code("js")))
    assert named == {kind: name for kind, name in REFERENCES.items() if kind.startswith("AWS::Serverless::")}
    assert set(re.findall(r"--parameters (\w+)=", TEXT)) <= set(PARAMETERS)


def test_the_page_is_for_this_version() -> None:
    assert set(re.findall(r"lumendrop-([0-9]+\.[0-9]+\.[0-9]+)", TEXT)) == {VERSION}


@pytest.mark.parametrize("command", commands())
def test_commands_and_their_options_exist(command: str) -> None:
    _, name, *options = command.split()
    assert set(options) <= {option for parameter in COMMANDS[name].params for option in parameter.opts} | {"--json"}


def problems_of_workflow(workflow: dict[str, Any]) -> list[str]:
    (job,) = workflow["jobs"].values()
    found = [] if job["permissions"] == {"contents": "read", "id-token": "write"} else ["permissions"]
    if "timeout-minutes" not in job or "concurrency" not in workflow:
        found.append("it can run twice at a time, or forever")
    actions = [step["uses"] for step in job["steps"] if "uses" in step]
    # As in our own workflows: GitHub's actions by version, others by commit.
    pinned = [one for one in actions if re.fullmatch(r"actions/\w+@v\d+|[\w-]+/[\w-]+@[0-9a-f]{40}", one)]
    found += [f"{one} is not pinned" for one in actions if one not in pinned]
    lines = [step["run"] for step in job["steps"] if "run" in step]
    if "lumendrop deploy --yes" not in lines:
        found.append("it deploys nothing")
    if "secrets." in json.dumps(workflow):
        found.append("a stored secret")
    return found


def workflow() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(code("yaml"))
    return found


def test_the_workflow_gets_a_token_and_deploys() -> None:
    assert problems_of_workflow(workflow()) == []


def problems_of_trust(policy: dict[str, Any], environment: str, role: str) -> list[str]:
    """What would let somebody else deploy, or nobody."""
    (statement,) = policy["Statement"]
    account = role.split(":")[4]
    conditions = statement["Condition"].get("StringEquals", {})
    subject = conditions.get(f"{ISSUER}:sub", "")
    checks = {
        "audience": conditions.get(f"{ISSUER}:aud") == "sts.amazonaws.com",
        "subject": re.fullmatch(rf"repo:[\w.-]+@\d+/[\w.-]+@\d+:environment:{environment}", subject),
        "operators": set(statement["Condition"]) == {"StringEquals"},
        "action": statement["Action"] == "sts:AssumeRoleWithWebIdentity",
        "principal": statement["Principal"] == {"Federated": f"arn:aws:iam::{account}:oidc-provider/{ISSUER}"},
        "version": policy["Version"] == "2012-10-17",
    }
    return [name for name, holds in checks.items() if not holds]


def role_of(workflow: dict[str, Any]) -> str:
    (role,) = (step["with"]["role-to-assume"] for step in workflow["jobs"]["deploy"]["steps"] if "role" in str(step))
    return str(role)


def test_only_the_environment_of_the_workflow_gets_the_role() -> None:
    environment = workflow()["jobs"]["deploy"]["environment"]
    assert problems_of_trust(json.loads(code("json")), environment, role_of(workflow())) == []


# Each check can fail.


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("DailyTaskLimit", "DailyLimit", "no parameter DailyLimit"),
        ('"CAPABILITY_IAM", ', "", "other capabilities"),
        ('"CAPABILITY_IAM"', '"CAPABILITY_NAMED_IAM"', "other capabilities"),
    ],
)
def test_a_wrong_stack_is_found(old: str, new: str, problem: str) -> None:
    assert problems_of_terraform(terraform(code("hcl").replace(old, new))) == [problem]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("id-token: write", "id-token: read", "permissions"),
        ("    timeout-minutes: 60\n", "", "it can run twice at a time, or forever"),
        ("@e6de054238d6b7531b4efff3b6587d9aade6a06c", "@v6", "aws-actions/configure-aws-credentials@v6 is not pinned"),
        ("deploy --yes", "deploy", "it deploys nothing"),
        ("us-east-1", "${{ secrets.REGION }}", "a stored secret"),
    ],
)
def test_a_wrong_workflow_is_found(old: str, new: str, problem: str) -> None:
    text = code("yaml")
    assert old in text
    assert problems_of_workflow(yaml.safe_load(text.replace(old, new))) == [problem]


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("environment:production", "environment:*", "subject"),
        ("photos@456789", "*", "subject"),
        ("StringEquals", "StringLike", "operators"),
        ('"sts.amazonaws.com"', '"*"', "audience"),
        ("111122223333", "*", "principal"),
    ],
)
def test_a_trust_that_is_too_wide_is_found(old: str, new: str, problem: str) -> None:
    policy = json.loads(code("json").replace(old, new))
    assert problem in problems_of_trust(policy, "production", role_of(workflow()))
