"""Uploads what `sam deploy` uploads, and creates the stack with a change set, as it does."""

from __future__ import annotations

import hashlib
import json
import re
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import files
from pathlib import Path
from typing import Any

from release.artifacts import zipped
from sandbox.aws.template import parse_yaml
from sandbox.demo.start import ROOT

BUCKET = "artefacts"
SECONDS = 120
_EXCLUDED = {"__pycache__", "RECORD"}
_DATA = re.compile(r"botocore/data/(?P<service>\w[\w-]*)/")


class DeploymentError(Exception):
    """The stack was not created. The message has the reasons."""


def deploy(client: Callable[[str], Any], stack: str, parameters: Mapping[str, str], tree: Path = ROOT) -> None:
    """Create or update the stack from the template, functions, and layer of a tree. Raises DeploymentError."""
    s3, cloudformation = client("s3"), client("cloudformation")
    s3.create_bucket(Bucket=BUCKET)
    stacks = cloudformation.describe_stacks()["Stacks"]
    kind = "UPDATE" if stack in {one["StackName"] for one in stacks} else "CREATE"

    def upload(content: bytes, extension: str) -> str:
        key = f"{hashlib.sha256(content).hexdigest()}.{extension}"
        s3.put_object(Bucket=BUCKET, Key=key, Body=content)
        return key

    template = parse_yaml((tree / "template.yaml").read_text())
    for resource in template["Resources"].values():
        _upload(resource, tree, upload)
    url = f"https://s3.amazonaws.com/{BUCKET}/{upload(json.dumps(template, default=str).encode(), 'template')}"
    change_set = cloudformation.create_change_set(
        StackName=stack,
        ChangeSetName=f"c{uuid.uuid4().hex}",
        ChangeSetType=kind,
        TemplateURL=url,
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
        Parameters=[{"ParameterKey": name, "ParameterValue": value} for name, value in parameters.items()],
    )["Id"]
    described = _wait(lambda: cloudformation.describe_change_set(ChangeSetName=change_set, StackName=stack), "Status")
    if described["Status"] != "CREATE_COMPLETE":
        raise DeploymentError(described.get("StatusReason"))
    cloudformation.execute_change_set(ChangeSetName=change_set, StackName=stack)
    ended = _wait(lambda: cloudformation.describe_stacks(StackName=stack)["Stacks"][0], "StackStatus")
    if ended["StackStatus"] != f"{kind}_COMPLETE":
        raise DeploymentError("\n".join(_failures(cloudformation, stack)))


def _upload(resource: dict[str, Any], tree: Path, upload: Callable[[bytes, str], str]) -> None:
    """Upload what a resource refers to, and make it refer to S3."""
    properties = resource.get("Properties", {})
    match resource["Type"]:
        case "AWS::Serverless::Function":
            content = zipped({path.name: path.read_bytes() for path in (tree / properties["CodeUri"]).glob("*.py")})
            properties["CodeUri"] = f"s3://{BUCKET}/{upload(content, 'zip')}"
        case "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = f"s3://{BUCKET}/{upload(zipped(dict(layer(tree))), 'zip')}"
        case "AWS::Serverless::StateMachine":
            definition = parse_yaml((tree / properties["DefinitionUri"]).read_text())
            properties["DefinitionUri"] = {"Bucket": BUCKET, "Key": upload(json.dumps(definition).encode(), "json")}
        case "AWS::CloudFormation::Stack":
            key = upload((tree / properties["TemplateURL"]).read_bytes(), "template")
            properties["TemplateURL"] = f"https://s3.amazonaws.com/{BUCKET}/{key}"


def layer(tree: Path) -> Iterator[tuple[str, bytes]]:
    """The layer's files for this machine: its packages, which the tests use too, with the models of its services."""
    services = re.search(r"^SERVICES := (.*)$", (tree / "layers/Makefile").read_text(), re.MULTILINE)
    assert services is not None
    kept = set(services[1].split())
    for package in re.findall(r"^([\w.-]+)==", (tree / "layers/requirements.txt").read_text(), re.MULTILINE):
        for file in files(package) or []:
            data = _DATA.match(file.as_posix())
            if ".." in file.parts or _EXCLUDED & set(file.parts) or (data and data["service"] not in kept):
                continue
            yield f"python/{file.as_posix()}", file.read_binary()
    for path in (tree / "layers/lumendrop").rglob("*.py"):
        yield f"python/{path.relative_to(tree / 'layers').as_posix()}", path.read_bytes()


def _wait(describe: Callable[[], dict[str, Any]], field: str) -> dict[str, Any]:
    deadline = time.monotonic() + SECONDS
    while True:
        described = describe()
        if not described[field].endswith(("IN_PROGRESS", "PENDING")):
            return described
        if time.monotonic() > deadline:
            raise DeploymentError(f"still {described[field]} after {SECONDS} seconds")
        time.sleep(0.2)


def _failures(cloudformation: Any, stack: str) -> Iterator[str]:
    for event in cloudformation.describe_stack_events(StackName=stack)["StackEvents"]:
        if event["ResourceStatus"].endswith("FAILED"):
            yield f"{event['LogicalResourceId']} ({event['ResourceType']}): {event.get('ResourceStatusReason')}"
