"""Creates stacks with moto's CloudFormation."""

import json
from collections.abc import Callable
from typing import Any

from moto.cloudformation import parsing
from moto.cloudformation.models import Stack, cloudformation_backends

from sandbox.aws import resources
from sandbox.aws.deployment import Deployment
from sandbox.aws.moto_services import import_for
from sandbox.aws.template import Template


def deploy(template: Template, name: str, client: Callable[[str], Any], account: str, region: str) -> Deployment:
    """Create the stack `name`, with its nested stacks. One deployment at a time in a process.

    `client` makes a boto3 client by service name. Raises TemplateError if a nested template is invalid.
    """
    deployment = Deployment(client, account, region, template)
    with resources.belonging_to(deployment):
        create_stack(template, name)
    return deployment


def create_stack(template: Template, name: str, tags: dict[str, str] | None = None) -> Stack:
    """Create one stack of the current deployment, without the resources whose type is unknown."""
    deployment = resources.current_deployment()
    outer, deployment.template = deployment.template, template
    import_for(json.dumps(template.body))
    body, unknown = _without_unknown(template.body)
    deployment.skipped += unknown
    position = len(deployment.stacks)
    try:
        stack = cloudformation_backends[deployment.account][deployment.region].create_stack(
            name, json.dumps(body), dict(template.parameters), tags=tags
        )
    finally:
        deployment.template = outer
    translated: Any = stack  # with the template that change sets are compared with
    translated.translated = template
    deployment.stacks.insert(position, stack.stack_id)
    return stack


def _without_unknown(body: dict[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The template without the resources of unknown types, and a sentence for each of these."""
    known = parsing.get_model_map()
    unknown = {name: r["Type"] for name, r in body["Resources"].items() if r["Type"] not in known}
    # Update policies refer to CodeDeploy's resources, which are unknown. They don't matter: stacks are not updated.
    kept = {
        name: {key: part for key, part in resource.items() if key != "UpdatePolicy"}
        for name, resource in body["Resources"].items()
        if name not in unknown
    }
    skipped = [f"{name}: the sandbox can't make a resource of type {kind}." for name, kind in unknown.items()]
    return {**body, "Resources": kept}, skipped
