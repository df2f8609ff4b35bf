"""Values from the templates."""

from __future__ import annotations

from typing import Any

from samtranslator.yaml_helper import yaml_parse

from benchmarks.results import REPO
from sandbox.aws.template import load


def function(logical_id: str) -> dict[str, Any]:
    """A function's properties in the translated template, with default parameters."""
    properties: dict[str, Any] = load(REPO / "template.yaml", {}, "us-east-1").body["Resources"][logical_id][
        "Properties"
    ]
    return properties


def alarms() -> int:
    """The number of alarms that the template and its nested stack create."""
    templates = [yaml_parse((REPO / name).read_text(encoding="utf-8")) for name in ("template.yaml", "monitoring.yaml")]
    return sum(one["Type"] == "AWS::CloudWatch::Alarm" for body in templates for one in body["Resources"].values())
