"""The deployed stack. Commands find everything through its CloudFormation outputs, parameters, and resources."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any
from urllib.parse import urlsplit

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError

from lumendrop_cli.errors import AWS_ERROR, CliError, error_code

# Three attempts in all, so that no call takes longer than two minutes.
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})
_NESTED_STACK = "AWS::CloudFormation::Stack"
# The sandbox accepts any credentials.
_SANDBOX_CREDENTIALS, _SANDBOX_REGION = "test", "us-east-1"


@dataclass(frozen=True)
class Options:
    """The options that all commands share."""

    stack: str
    endpoint_url: str | None
    profile: str | None
    region: str | None
    as_json: bool


@dataclass(frozen=True)
class Resource:
    """A resource of a stack."""

    physical_id: str
    type: str


@dataclass(frozen=True)
class Stack:
    """A deployed stack. `resources` has the stack's own resources by logical ID."""

    name: str
    status: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    resources: dict[str, Resource]
    _session: boto3.Session
    _endpoint_url: str | None
    _clients: dict[str, Any] = field(default_factory=dict)

    def output(self, name: str) -> str:
        """An output's value. Raises CliError if the stack doesn't have it."""
        if name not in self.outputs:
            raise CliError(
                f"The stack {self.name} ({self.status}) has no output {name}. It is not a Lumendrop stack, or it was "
                "deployed from an older template. Choose another stack with --stack, or deploy this version.",
                AWS_ERROR,
            )
        return self.outputs[name]

    def parameter(self, name: str) -> str:
        """A parameter's value. Raises CliError if the stack doesn't have it."""
        if name not in self.parameters:
            raise CliError(f"The stack {self.name} has no parameter {name}. Deploy this version.", AWS_ERROR)
        return self.parameters[name]

    def resource(self, logical_id: str) -> str:
        """A resource's physical ID, from the stack or from its nested stacks. Raises CliError if none has it."""
        found = self.resources.get(logical_id) or self._nested_resources.get(logical_id)
        if found is None:
            raise CliError(
                f"The stack {self.name} ({self.status}) has no resource {logical_id}. Choose another stack with "
                "--stack, or deploy this version.",
                AWS_ERROR,
            )
        return found.physical_id

    def physical_ids(self, *types: str) -> list[str]:
        """The physical IDs of all resources of these types, including those of nested stacks."""
        everything = [*self.resources.values(), *self._nested_resources.values()]
        return [one.physical_id for one in everything if one.type in types]

    def nested_stacks(self) -> Iterator[tuple[str, str]]:
        """The logical ID and the status of each nested stack."""
        for logical_id, arn in _nested(self.resources):
            described = self.client("cloudformation").describe_stacks(StackName=arn)["Stacks"][0]
            yield logical_id, described["StackStatus"]

    @cached_property
    def _nested_resources(self) -> dict[str, Resource]:
        """Loaded on demand, because most commands need only the stack's own resources."""
        found: dict[str, Resource] = {}
        for _, arn in _nested(self.resources):
            found |= _list_resources(self.client("cloudformation"), arn)
        return found

    def client(self, service: str) -> Any:
        """A boto3 client with timeouts."""
        if service not in self._clients:
            create: Any = self._session.client
            self._clients[service] = create(service, endpoint_url=self._endpoint_url, config=_CONFIG)
        return self._clients[service]


def load_stack(context: typer.Context) -> Stack:
    """The stack that the options name. Raises CliError if it doesn't exist or isn't a Lumendrop stack."""
    options: Options = context.obj
    session = _session(options)
    create: Any = session.client
    cloudformation = create("cloudformation", endpoint_url=options.endpoint_url, config=_CONFIG)
    try:
        described = cloudformation.describe_stacks(StackName=options.stack)["Stacks"][0]
    except ClientError as error:
        if error_code(error) == "ValidationError":
            raise CliError(_no_such_stack(options, cloudformation.meta), AWS_ERROR) from None
        raise
    stack = Stack(
        name=options.stack,
        status=described["StackStatus"],
        outputs={one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])},
        parameters={one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])},
        resources=_list_resources(cloudformation, options.stack),
        _session=session,
        _endpoint_url=options.endpoint_url,
        _clients={"cloudformation": cloudformation},
    )
    stack.output("LedgerTableName")
    return stack


def _session(options: Options) -> boto3.Session:
    endpoint = options.endpoint_url or os.environ.get("AWS_ENDPOINT_URL", "")
    has_credentials = options.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_ACCESS_KEY_ID")
    if _is_local(endpoint) and not has_credentials:
        return boto3.Session(_SANDBOX_CREDENTIALS, _SANDBOX_CREDENTIALS, region_name=options.region or _SANDBOX_REGION)
    return boto3.Session(profile_name=options.profile, region_name=options.region)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _list_resources(cloudformation: Any, stack: str) -> dict[str, Resource]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {
        one["LogicalResourceId"]: Resource(one.get("PhysicalResourceId", ""), one["ResourceType"])
        for page in pages
        for one in page["StackResourceSummaries"]
    }


def _nested(resources: dict[str, Resource]) -> Iterator[tuple[str, str]]:
    """The logical ID and the ARN of each nested stack that exists already."""
    for logical_id, resource in resources.items():
        if resource.type == _NESTED_STACK and resource.physical_id:
            yield logical_id, resource.physical_id


def _no_such_stack(options: Options, meta: Any) -> str:
    return (
        f"There is no stack {options.stack} in {meta.region_name} at {meta.endpoint_url}. Choose it with --stack and "
        "its region with --region, or deploy it."
    )
