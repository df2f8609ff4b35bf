"""A template and its nested stacks as one: plain CloudFormation for given parameters, without conditions."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sandbox.aws.template import Template, evaluate, load

STACK = "AWS::CloudFormation::Stack"
Body = dict[str, Any]


class NoValue:
    """Marks what AWS::NoValue removes."""


def merged(path: Path, parameters: Mapping[str, str], region: str) -> Body:
    """The translated template, with the resources of its nested stacks in place of the stacks.

    A nested stack's parameters are replaced by what its parent passes, so that everything reads as in one template.
    """
    outer = load(path, parameters, region)
    body = decided(outer)
    for name, stack in [(name, one) for name, one in body["Resources"].items() if one["Type"] == STACK]:
        del body["Resources"][name]
        inner = _nested(path.parent, stack["Properties"], outer.parameters, region)
        taken = set(inner["Resources"]) & set(body["Resources"])
        if taken:
            raise ValueError(f"{sorted(taken)} are in {name} and in its parent")
        body["Resources"] |= inner["Resources"]
    return body


def _nested(directory: Path, stack: Body, outer: Mapping[str, str], region: str) -> Body:
    """The body of a nested stack, where each parameter's value stands for the parameter."""
    passed = stack.get("Parameters", {})
    values = {name: str(written(filled(one, outer))) for name, one in passed.items()}
    body: Body = filled(decided(load(directory / stack["TemplateURL"], values, region)), passed)
    return body


def decided(template: Template) -> Body:
    """A template's body with its conditions applied, without Fn::If."""
    conditions = template.body.get("Conditions", {})
    holds = {name: evaluate(one, template.parameters, conditions) for name, one in conditions.items()}
    kept: Body = _chosen({name: part for name, part in template.body.items() if name != "Conditions"}, holds)
    for section in ("Resources", "Outputs"):
        kept[section] = {
            name: one for name, one in kept.get(section, {}).items() if holds.get(one.get("Condition", ""), True)
        }
    return kept


def _chosen(part: Any, holds: Mapping[str, bool]) -> Any:
    if isinstance(part, list):
        return [one for one in (_chosen(inner, holds) for inner in part) if one is not NoValue]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Fn::If"}:
        condition, then, otherwise = part["Fn::If"]
        return _chosen(then if holds[condition] else otherwise, holds)
    if part == {"Ref": "AWS::NoValue"}:
        return NoValue
    chosen = {name: _chosen(inner, holds) for name, inner in part.items()}
    return {name: inner for name, inner in chosen.items() if inner is not NoValue}


def filled(part: Any, values: Mapping[str, Any]) -> Any:
    """A part of a template with these values for what it refers to."""
    if isinstance(part, list):
        return [filled(one, values) for one in part]
    if not isinstance(part, dict):
        return part
    if set(part) == {"Ref"}:
        return values.get(part["Ref"], part)
    if set(part) == {"Fn::Sub"} and isinstance(part["Fn::Sub"], str):
        found = re.sub(r"\$\{(\w+)\}", lambda match: str(written(values.get(match[1], match[0]))), part["Fn::Sub"])
        return {"Fn::Sub": found}
    return {name: filled(one, values) for name, one in part.items()}


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
                text = text.replace(f"${{{name}}}", str(written(inner)))
            return re.sub(r"arn:\$\{AWS::Partition\}:s3:::\$\{(\w+Bucket)\}", r"${\1.Arn}", text)
    return value
