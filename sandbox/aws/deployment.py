"""What is known of a stack while it is created, and afterwards."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from moto.awslambda.models import EventSourceMapping

from sandbox.aws.template import Template

Properties = dict[str, Any]


@dataclass
class Deployment:
    """A stack with its nested stacks.

    `client` makes a boto3 client by service name. `template` is the template of the stack that is being created.
    `stacks` has the ARN of each stack, the outermost first. `functions` and `code` are keyed by function name,
    `layers` and `state_machines` by ARN. `functions` and `state_machines` have resolved properties; `code` and `layers`
    have directories. `skipped` has a sentence for each resource or property that the sandbox leaves out.
    """

    client: Callable[[str], Any]
    account: str
    region: str
    template: Template
    stacks: list[str] = field(default_factory=list)
    functions: dict[str, Properties] = field(default_factory=dict)
    code: dict[str, Path] = field(default_factory=dict)
    layers: dict[str, Path] = field(default_factory=dict)
    mappings: list[EventSourceMapping] = field(default_factory=list)
    state_machines: dict[str, Properties] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def resources(self) -> dict[str, str]:
        """Physical IDs by logical ID, nested stacks included; an outer stack's resource hides an inner one's."""
        found: dict[str, str] = {}
        pages = self.client("cloudformation").get_paginator("list_stack_resources")
        for stack in self.stacks:
            for page in pages.paginate(StackName=stack):
                for resource in page["StackResourceSummaries"]:
                    found.setdefault(resource["LogicalResourceId"], resource["PhysicalResourceId"])
        return found
