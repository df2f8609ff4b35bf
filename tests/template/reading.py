"""The template as text, as SAM reads it, and as CloudFormation gets it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from sandbox.aws.template import evaluate, load

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
REGION = "us-east-1"
TEXT = TEMPLATE.read_text()
SAM: dict[str, Any] = yaml_parse(TEXT)
DEFINITIONS: dict[str, dict[str, Any]] = {
    name: yaml_parse((ROOT / one["Properties"]["DefinitionUri"]).read_text())
    for name, one in SAM["Resources"].items()
    if one["Type"] == "AWS::Serverless::StateMachine"
}
PARAMETERS: dict[str, dict[str, Any]] = SAM["Parameters"]
FUNCTIONS = {
    "SubmitFunction": ROOT / "functions/submit/app.py",
    "CheckStatusFunction": ROOT / "functions/check_status/app.py",
    "DeliverFunction": ROOT / "functions/deliver/app.py",
}


class NoValue:
    """What AWS::NoValue leaves."""


@cache
def unresolved(**parameters: str) -> dict[str, Any]:
    """Plain CloudFormation, with its conditions."""
    return load(TEMPLATE, parameters, REGION).body


@cache
def translated(**parameters: str) -> dict[str, Any]:
    """Plain CloudFormation for these parameters: what a condition rules out is gone, and so is every Fn::If."""
    body, values = unresolved(**parameters), load(TEMPLATE, parameters, REGION).parameters
    holds = {name: evaluate(one, values, body["Conditions"]) for name, one in body["Conditions"].items()}
    kept: dict[str, Any] = _decided({name: part for name, part in body.items() if name != "Conditions"}, holds)
    for section in ("Resources", "Outputs"):
        kept[section] = {n: one for n, one in kept[section].items() if holds.get(one.get("Condition", ""), True)}
    return kept


def _decided(part: Any, holds: dict[str, bool]) -> Any:
    if isinstance(part, list):
        return [one for one in (_decided(inner, holds) for inner in part) if one is not NoValue]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Fn::If"}:
        condition, then, otherwise = part["Fn::If"]
        return _decided(then if holds[condition] else otherwise, holds)
    if part == {"Ref": "AWS::NoValue"}:
        return NoValue
    decided = {name: _decided(inner, holds) for name, inner in part.items()}
    return {name: inner for name, inner in decided.items() if inner is not NoValue}


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The translated resources of a type, by logical id."""
    return {name: one for name, one in translated()["Resources"].items() if one["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = translated()["Resources"][name]["Properties"]
    return found


def written(value: Any) -> Any:
    """A Ref, GetAtt or Sub as Sub would write it: `${Bucket}`, `${Bucket.Arn}/*`; anything else as it is.

    A bucket's ARN made from its name counts as the `Arn` that the bucket itself would give.
    """
    if isinstance(value, dict) and len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref":
            return f"${{{argument}}}"
        if function == "Fn::GetAtt":
            return f"${{{'.'.join(argument) if isinstance(argument, list) else argument}}}"
        if function == "Fn::Sub":
            text, own = (argument, {}) if isinstance(argument, str) else argument
            for name, inner in own.items():
                text = text.replace(f"${{{name}}}", written(inner))
            return re.sub(r"arn:\$\{AWS::Partition\}:s3:::\$\{(\w+Bucket)\}", r"${\1.Arn}", text)
    return value


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
