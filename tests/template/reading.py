"""The template as text, as SAM reads it, and as CloudFormation gets it."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from sandbox.template import load

ROOT = Path(__file__).resolve().parents[2]
TEMPLATE = ROOT / "template.yaml"
REGION = "us-east-1"
TEXT = TEMPLATE.read_text()
SAM: dict[str, Any] = yaml_parse(TEXT)
PARAMETERS: dict[str, dict[str, Any]] = SAM["Parameters"]
FUNCTIONS = {
    "SubmitFunction": ROOT / "functions/submit/app.py",
    "CheckStatusFunction": ROOT / "functions/check_status/app.py",
    "DeliverFunction": ROOT / "functions/deliver/app.py",
}


@cache
def translated() -> dict[str, Any]:
    """Plain CloudFormation."""
    return load(TEMPLATE, {}, REGION).body


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """The translated resources of a type, by logical id."""
    return {name: one for name, one in translated()["Resources"].items() if one["Type"] == kind}


def properties(name: str) -> dict[str, Any]:
    found: dict[str, Any] = translated()["Resources"][name]["Properties"]
    return found


def written(value: Any) -> Any:
    """A Ref, GetAtt or Sub as Sub would write it: `${Bucket}`, `${Bucket.Arn}/*`; anything else as it is."""
    if isinstance(value, dict) and len(value) == 1:
        ((function, argument),) = value.items()
        if function == "Ref":
            return f"${{{argument}}}"
        if function == "Fn::GetAtt":
            return f"${{{'.'.join(argument) if isinstance(argument, list) else argument}}}"
        if function == "Fn::Sub" and isinstance(argument, str):
            return argument
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


def statements(role: str) -> list[dict[str, Any]]:
    """Every statement of a role's policies."""
    return [one for policy in properties(role)["Policies"] for one in policy["PolicyDocument"]["Statement"]]


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def grants(role: str) -> set[tuple[str, str]]:
    """(action, resource) pairs that a role allows."""
    return {
        (action, written(resource))
        for one in statements(role)
        for action in as_list(one["Action"])
        for resource in as_list(one["Resource"])
    }
