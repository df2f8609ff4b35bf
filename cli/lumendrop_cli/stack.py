"""The deployed stack: everything a command needs is found through CloudFormation's outputs and resources."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError

from lumendrop_cli.output import Output
from lumendrop_cli.trouble import NO_AWS, Trouble

# Seconds; three tries in all, so that no call takes longer than two minutes.
_CONFIG = Config(connect_timeout=5, read_timeout=30, retries={"mode": "standard", "total_max_attempts": 3})


@dataclass(frozen=True)
class Options:
    """The options that every command has."""

    stack: str
    endpoint_url: str | None
    profile: str | None
    region: str | None
    as_json: bool


@dataclass(frozen=True)
class Stack:
    """A deployed stack. `resources` has the physical id and the type of each resource, by its logical id."""

    name: str
    status: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    resources: dict[str, tuple[str, str]]
    _session: boto3.Session
    _endpoint_url: str | None
    _clients: dict[str, Any] = field(default_factory=dict)

    def output(self, name: str) -> str:
        """An output's value. Raises Trouble if the stack has no such output."""
        if name not in self.outputs:
            raise Trouble(
                f"The stack {self.name} ({self.status}) has no output {name}: either it is no Lumendrop, or it was "
                "deployed from an older template. Name it with --stack, or deploy this version.",
                NO_AWS,
            )
        return self.outputs[name]

    def parameter(self, name: str) -> str:
        """A parameter's value. Raises Trouble if the stack has no such parameter."""
        if name not in self.parameters:
            raise Trouble(f"The stack {self.name} has no parameter {name}. Deploy this version.", NO_AWS)
        return self.parameters[name]

    def resource(self, logical_id: str) -> str:
        """A resource's physical id. Raises Trouble if the stack has no such resource."""
        if logical_id not in self.resources:
            raise Trouble(
                f"The stack {self.name} ({self.status}) has no resource {logical_id}. Name another with --stack, or "
                "deploy this version.",
                NO_AWS,
            )
        return self.resources[logical_id][0]

    def of_type(self, kind: str) -> list[str]:
        """The physical ids of all resources of a type."""
        return [physical for physical, type_ in self.resources.values() if type_ == kind]

    def client(self, service: str) -> Any:
        """A boto3 client; every call has a time-out."""
        if service not in self._clients:
            make: Any = self._session.client
            self._clients[service] = make(service, endpoint_url=self._endpoint_url, config=_CONFIG)
        return self._clients[service]


def output(context: typer.Context) -> Output:
    """Where the command prints."""
    return Output(context.obj.as_json)


def find(context: typer.Context) -> Stack:
    """The stack that the options name. Raises Trouble if there is none or it is no Lumendrop, and what boto3 raises."""
    options: Options = context.obj
    session = boto3.Session(profile_name=options.profile, region_name=options.region)
    make: Any = session.client
    cloudformation = make("cloudformation", endpoint_url=options.endpoint_url, config=_CONFIG)
    try:
        described = cloudformation.describe_stacks(StackName=options.stack)["Stacks"][0]
    except ClientError as error:
        if error.response["Error"].get("Code") == "ValidationError":
            raise Trouble(_no_such_stack(options, cloudformation.meta), NO_AWS) from None
        raise
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=options.stack)
    resources = [one for page in pages for one in page["StackResourceSummaries"]]
    found = Stack(
        name=options.stack,
        status=described["StackStatus"],
        outputs={one["OutputKey"]: one["OutputValue"] for one in described.get("Outputs", [])},
        parameters={one["ParameterKey"]: one["ParameterValue"] for one in described.get("Parameters", [])},
        resources={
            one["LogicalResourceId"]: (one.get("PhysicalResourceId", ""), one["ResourceType"]) for one in resources
        },
        _session=session,
        _endpoint_url=options.endpoint_url,
        _clients={"cloudformation": cloudformation},
    )
    found.output("LedgerTableName")
    return found


def _no_such_stack(options: Options, meta: Any) -> str:
    return (
        f"There is no stack {options.stack} in {meta.region_name} at {meta.endpoint_url}. Name it with --stack and its "
        "region with --region, or deploy it."
    )
