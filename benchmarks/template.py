"""What the template says of the functions."""

from __future__ import annotations

from typing import Any

from samtranslator.yaml_helper import yaml_parse

from sandbox.aws.cloud import REPO
from sandbox.aws.template import load


def function(logical_id: str) -> dict[str, Any]:
    """A function's properties in the translated template, parameters at their defaults."""
    properties: dict[str, Any] = load(REPO / "template.yaml", {}, "us-east-1").body["Resources"][logical_id][
        "Properties"
    ]
    return properties


def alarms() -> int:
    """How many alarms the template and its nested stack create."""
    templates = [yaml_parse((REPO / name).read_text()) for name in ("template.yaml", "monitoring.yaml")]
    return sum(one["Type"] == "AWS::CloudWatch::Alarm" for body in templates for one in body["Resources"].values())
