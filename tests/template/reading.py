"""The template as text, as SAM reads it, and as CloudFormation gets it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from sandbox.aws.template import load, parse_yaml
from tests.template.merged import merged, written

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
MONITORING = ROOT / "monitoring.yaml"
REGION = "us-east-1"
TEXT = TEMPLATE.read_text()
SAM: dict[str, Any] = parse_yaml(TEXT)
DEFINITIONS: dict[str, dict[str, Any]] = {
    name: parse_yaml((ROOT / one["Properties"]["DefinitionUri"]).read_text())
    for name, one in SAM["Resources"].items()
    if one["Type"] == "AWS::Serverless::StateMachine"
}
PARAMETERS: dict[str, dict[str, Any]] = SAM["Parameters"]
FUNCTIONS = {
    "SubmitFunction": ROOT / "functions/submit/app.py",
    "CheckStatusFunction": ROOT / "functions/check_status/app.py",
    "DeliverFunction": ROOT / "functions/deliver/app.py",
}
# Parameters that switch everything optional on.
EVERYTHING = {
    "AlarmEmail": "owner@example.com",
    "HeartbeatHours": "24",
    "PhotoNotices": "topic",
    "SweepSchedule": "rate(1 day)",
    "CompletionTarget": "arn:aws:states:us-east-1:123456789012:stateMachine:after-photos",
}


@cache
def unresolved(path: Path = TEMPLATE) -> dict[str, Any]:
    """Plain CloudFormation, with its conditions; nested stacks stay nested."""
    passed = {} if path == TEMPLATE else dict.fromkeys(parse_yaml(path.read_text())["Parameters"], "1")
    return load(path, passed, REGION).body


@cache
def translated(**parameters: str) -> dict[str, Any]:
    """Plain CloudFormation for these parameters, nested stacks included; see `merged`."""
    return merged(TEMPLATE, parameters, REGION)


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The translated resources of a type, by logical id."""
    return {name: one for name, one in translated()["Resources"].items() if one["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = translated()["Resources"][name]["Properties"]
    return found


def references(value: Any) -> set[str]:
    """Every logical id, parameter and pseudo parameter that a part of the template refers to."""
    if isinstance(value, list):
        return set().union(*map(references, value))
    if not isinstance(value, dict):
        return set()
    found: set[str] = set()
    for key, inner in value.items():
        if key == "Ref":
            found.add(inner)
        elif key == "Fn::GetAtt":
            found.add(inner[0] if isinstance(inner, list) else inner.split(".")[0])
        elif key == "Fn::Sub":
            text, own = (inner, {}) if isinstance(inner, str) else inner
            found |= {name.split(".")[0] for name in re.findall(r"\$\{([^!}][^}]*)\}", text)} - set(own)
            found |= references(own)
        elif key == "DependsOn":
            found |= {inner} if isinstance(inner, str) else set(inner)
        else:
            found |= references(inner)
    return found


def statements(role: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Every statement of a role's policies, those included that are attached to it afterwards."""
    found = (body or translated())["Resources"]
    attached = [
        one["Properties"]
        for one in found.values()
        if one["Type"] == "AWS::IAM::Policy" and {"Ref": role} in one["Properties"]["Roles"]
    ]
    policies = [*found[role]["Properties"]["Policies"], *attached]
    return [one for policy in policies for one in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(role: str, body: dict[str, Any] | None = None) -> set[tuple[str, str]]:
    """(action, resource) pairs that a role allows."""
    return {
        (action, written(resource))
        for one in statements(role, body)
        for action in as_list(one["Action"])
        for resource in as_list(one["Resource"])
    }
