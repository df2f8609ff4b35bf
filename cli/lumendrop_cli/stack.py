"""The deployed stack. Commands find everything through its CloudFormation outputs, parameters, and resources."""

from __future__ import annotations

import ipaddress
import os
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies

import boto3
import typer
from botocore.config import Config
from botocore.exceptions import ClientError

from lumendrop_cli.errors import AWS_ERROR, USAGE_ERROR, CliError, bad_credentials, error_code, not_aws
from lumendrop_cli.text import sentence

# Three attempts in all, so that no call takes longer than two minutes.
# `enhance` transfers several photos at once.
_RETRIES: Any = {"mode": "standard", "total_max_attempts": 3}
_CONFIG = Config(connect_timeout=5, read_timeout=30, max_pool_connections=32, retries=_RETRIES)
_DIRECT = _CONFIG.merge(Config(proxies={}))
_NESTED_STACK = "AWS::CloudFormation::Stack"
_SERVER_ERROR = 500
# The sandbox accepts any credentials.
_SANDBOX_CREDENTIALS, _SANDBOX_REGION = "test", "us-east-1"


_NOT_CREATED = ("CREATE_FAILED", "ROLLBACK_COMPLETE", "ROLLBACK_FAILED")
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True)
class Options:
    """The options that all commands share."""

    stack: str
    endpoint_url: str | None
    profile: str | None
    region: str | None
    as_json: bool
    # The board runs commands with its own stack and printer.
    loaded: Stack | None = None
    out: Any = None

    @property
    def repeated(self) -> str:
        """The options of the account, for a command that is printed, as in ` --profile prod`."""
        given = (("--profile", self.profile), ("--region", self.region), ("--endpoint-url", self.endpoint_url))
        return "".join(f" {name} {shlex.quote(value)}" for name, value in given if value)


@dataclass(frozen=True)
class Resource:
    """A resource of a stack. `physical_id` is empty if the resource doesn't exist yet, or no longer."""

    physical_id: str
    type: str
    updated: datetime | None = None


@dataclass(frozen=True)
class Stack:
    """A deployed stack. `resources` has the stack's own resources by logical ID.

    `options` are those of the account, for commands that are printed.
    """

    name: str
    status: str
    outputs: dict[str, str]
    parameters: dict[str, str]
    resources: dict[str, Resource]
    _session: boto3.Session
    _endpoint_url: str | None
    _clients: dict[str, Any] = field(default_factory=dict)
    created: datetime = _LONG_AGO
    is_sandbox: bool = False
    is_protected: bool = False
    account: str = ""
    options: str = ""

    def output(self, name: str) -> str:
        """An output's value. Raises CliError if the stack doesn't have it."""
        if name not in self.outputs and self.status in _NOT_CREATED:
            command = f"aws cloudformation delete-stack --stack-name {shlex.quote(self.name)}{self.options}"
            raise CliError(
                f"The stack {self.name} is {self.status}: its creation failed. Delete it with `{command}`, then deploy "
                "again.",
                AWS_ERROR,
            )
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

    def whole_number(self, name: str) -> int:
        """A parameter that is a number, without a fraction, which the functions leave out too."""
        return int(float(self.parameter(name)))

    def resource(self, logical_id: str) -> str:
        """A resource's physical ID, from the stack or from its nested stacks. Raises CliError if none has it."""
        found = self.resources.get(logical_id) or self._nested_resources.get(logical_id)
        if found is None or not found.physical_id:
            raise CliError(
                f"The stack {self.name} ({self.status}) has no resource {logical_id}. Choose another stack with "
                "--stack, or deploy this version.",
                AWS_ERROR,
            )
        return found.physical_id

    def physical_ids(self, *types: str) -> list[str]:
        """The physical IDs of all resources of these types, including those of nested stacks."""
        everything = [*self.resources.values(), *self._nested_resources.values()]
        return [one.physical_id for one in everything if one.type in types and one.physical_id]

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
            client = _create_client(self._session, service, self._endpoint_url)
            client.meta.events.register("provide-client-params.s3", self._expect_owner)
            self._clients[service] = client
        return self._clients[service]

    def on_call(self, check: Callable[..., None]) -> None:
        """Calls `check` with the `model` of each operation before it is sent. It can raise."""
        for emitter in (self._session.events, *(client.meta.events for client in self._clients.values())):
            emitter.register_first("before-call", check)

    def _expect_owner(self, params: dict[str, Any], model: Any, **_: Any) -> dict[str, Any]:
        """S3 refuses a bucket of the same name that belongs to another account."""
        expects = self.account and "ExpectedBucketOwner" in model.input_shape.members
        return {**params, "ExpectedBucketOwner": self.account} if expects else params


@dataclass(frozen=True)
class Account:
    """The account and the region of the credentials, with or without a stack. `options` are as those of a stack."""

    number: str
    region: str
    partition: str
    client: Callable[[str], Any]
    options: str = ""


def open_account(context: typer.Context) -> Account:
    """The account of the options' credentials."""
    options: Options = context.obj
    session = _session(options)
    client = cache(lambda service: _create_client(session, service, options.endpoint_url))
    region: str = client("cloudformation").meta.region_name
    number = client("sts").get_caller_identity()["Account"]
    return Account(number, region, client("cloudformation").meta.partition, client, options.repeated)


def load_stack(context: typer.Context, *, may_be_incomplete: bool = False) -> Stack:
    """The stack that the options name. Raises CliError if it doesn't exist or isn't a Lumendrop stack.

    With `may_be_incomplete`, a stack without outputs is accepted, such as one whose creation failed.
    """
    options: Options = context.obj
    if options.loaded is not None:
        return options.loaded
    return open_stack(options, _session(options), may_be_incomplete=may_be_incomplete)


def open_stack(options: Options, session: boto3.Session, *, may_be_incomplete: bool = False) -> Stack:
    """The same, with the credentials and the region of a session."""
    cloudformation = _create_client(session, "cloudformation", options.endpoint_url)
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
        created=described["CreationTime"],
        account=described["StackId"].split(":")[4],
        is_sandbox=_is_local(cloudformation.meta.endpoint_url),
        is_protected=described.get("EnableTerminationProtection", False),
        options=options.repeated,
    )
    if "LedgerTable" not in stack.resources or not may_be_incomplete:
        stack.output("LedgerTableName")
    return stack


def _session(options: Options) -> boto3.Session:
    endpoint = options.endpoint_url or os.environ.get("AWS_ENDPOINT_URL", "")
    if endpoint:
        _check_url(endpoint)
    has_credentials = options.profile or os.environ.get("AWS_PROFILE") or os.environ.get("AWS_ACCESS_KEY_ID")
    region = options.region or os.environ.get("AWS_REGION")  # as the AWS CLI; boto3 reads AWS_DEFAULT_REGION only
    if _is_local(endpoint) and not has_credentials:
        return boto3.Session(_SANDBOX_CREDENTIALS, _SANDBOX_CREDENTIALS, region_name=region or _SANDBOX_REGION)
    session = boto3.Session(profile_name=options.profile, region_name=region)
    try:
        session.get_credentials()
    except (
        OSError,
        ValueError,
        KeyError,
        AttributeError,
        TypeError,
    ) as error:  # botocore runs `credential_process` and trusts its output
        raise bad_credentials(error) from None
    return session


def _create_client(session: boto3.Session, service: str, endpoint_url: str | None) -> Any:
    create: Any = session.client
    try:
        client = create(service, endpoint_url=endpoint_url, config=_CONFIG)
        # A proxy, if the environment names one, can't reach this machine's loopback.
        if getproxies() and _is_local(client.meta.endpoint_url):
            client = create(service, endpoint_url=endpoint_url, config=_DIRECT)
    except (
        ValueError
    ) as error:  # a malformed region, or a malformed URL from AWS_ENDPOINT_URL_… or from the configuration file
        advice = "Check --region, --endpoint-url, AWS_ENDPOINT_URL, and the profile."
        raise CliError(f"{sentence(str(error))} {advice}", USAGE_ERROR) from None
    client.meta.events.register_first("before-parse", _expect_aws)
    return client


def _expect_aws(response_dict: dict[str, Any], **_: Any) -> None:
    """Raises CliError for a response without a request ID, which every response of AWS has. Failures are retried."""
    names = {name.lower() for name in response_dict["headers"]}
    if names & {"x-amzn-requestid", "x-amz-request-id"}:
        return
    if response_dict["status_code"] < _SERVER_ERROR:
        raise not_aws()
    response_dict["body"] = b""  # it may be anything, and need not be parsed


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        # `port` raises ValueError too.
        valid = parts.scheme in ("http", "https") and parts.hostname and (parts.port is None or parts.port > 0)
    except ValueError:
        valid = False
    if not valid or not url.isascii() or " " in url:
        raise CliError(f"{url} is not a URL such as http://127.0.0.1:4566. Check --endpoint-url.", USAGE_ERROR)


def _is_local(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _list_resources(cloudformation: Any, stack: str) -> dict[str, Resource]:
    pages = cloudformation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {one["LogicalResourceId"]: _resource(one) for page in pages for one in page["StackResourceSummaries"]}


def _resource(summary: Any) -> Resource:
    exists = summary.get("ResourceStatus") != "DELETE_COMPLETE"
    physical_id = summary.get("PhysicalResourceId", "") if exists else ""
    return Resource(physical_id, summary["ResourceType"], summary.get("LastUpdatedTimestamp"))


def _nested(resources: dict[str, Resource]) -> Iterator[tuple[str, str]]:
    """The logical ID and the ARN of each nested stack that exists already."""
    for logical_id, resource in resources.items():
        if resource.type == _NESTED_STACK and resource.physical_id:
            yield logical_id, resource.physical_id


def _no_such_stack(options: Options, meta: Any) -> str:
    return (
        f"There is no stack {options.stack} in {meta.region_name} at {meta.endpoint_url}. Choose it with --stack and "
        "its region with --region, or deploy it: `lumendrop deploy`."
    )
