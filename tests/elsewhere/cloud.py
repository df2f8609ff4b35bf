"""ministack in a process of its own, with the stack deployed."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import boto3
import requests

from sandbox.demo.start import ROOT, Sandbox, _enhancer
from tests.elsewhere.deployment import deploy

PYTHON = ROOT / ".venv-elsewhere/bin/python"
STACK = "lumendrop"
ACCOUNT, REGION = "123456789012", "us-east-1"
START_SECONDS = 60
CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
}


@dataclass
class Elsewhere:
    """The stack on ministack, with what `Pipeline` uses of the sandbox's `Cloud`."""

    endpoint: str
    _clients: dict[str, Any] = field(default_factory=dict)

    def client(self, service: str) -> Any:
        if service not in self._clients:
            self._clients[service] = boto3.client(
                service,
                endpoint_url=self.endpoint,
                region_name=REGION,
                aws_access_key_id=CREDENTIALS["AWS_ACCESS_KEY_ID"],
                aws_secret_access_key=CREDENTIALS["AWS_SECRET_ACCESS_KEY"],
            )
        return self._clients[service]

    @cached_property
    def outputs(self) -> dict[str, str]:
        (stack,) = self.client("cloudformation").describe_stacks(StackName=STACK)["Stacks"]
        return {one["OutputKey"]: one["OutputValue"] for one in stack["Outputs"]}

    @cached_property
    def resources(self) -> dict[str, str]:
        """Physical IDs by logical ID."""
        pages = self.client("cloudformation").get_paginator("list_stack_resources").paginate(StackName=STACK)
        return {
            one["LogicalResourceId"]: one["PhysicalResourceId"]
            for page in pages
            for one in page["StackResourceSummaries"]
        }

    def logs(self, function: str) -> str:
        """The log of a function, which is given by logical ID."""
        group = self.resources[f"{function.removesuffix('Function')}Logs"]
        pages = self.client("logs").get_paginator("filter_log_events").paginate(logGroupName=group)
        return "\n".join(event["message"].rstrip() for page in pages for event in page["events"])


@contextlib.contextmanager
def elsewhere(parameters: Mapping[str, str], folder: Path, tree: Path = ROOT) -> Iterator[Sandbox]:
    """Run ministack and the enhancer, with the stack of a tree, until the block ends. Logs are in the folder."""
    key = secrets.token_urlsafe(24)
    with (
        _enhancer(key, folder / "enhancer.log", ["--task-seconds", "0.2"]) as enhancer,
        ministack(folder) as endpoint,
    ):
        cloud = Elsewhere(endpoint)
        deploy(cloud.client, STACK, {"ApiBaseUrl": enhancer.url, **parameters}, tree)
        cloud.client("secretsmanager").put_secret_value(SecretId=cloud.outputs["KeySecretArn"], SecretString=key)
        enhancer.wait_until_ready()
        yield Sandbox(cloud, enhancer.url, folder)  # type: ignore[arg-type]


@contextlib.contextmanager
def ministack(folder: Path, variables: Mapping[str, str] | None = None) -> Iterator[str]:
    """Run ministack until the block ends, with these environment variables in addition. Yields its endpoint."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    environment = {
        **inherited,
        "GATEWAY_PORT": str(port),
        "BIND_HOST": "127.0.0.1",
        "MINISTACK_HOST": "127.0.0.1",
        "MINISTACK_ACCOUNT_ID": ACCOUNT,
        "AUTH": "true",
        "SFTP_ENABLED": "0",
        "IOT_MTLS_ENABLED": "0",
        "TMPDIR": str(folder),
        "STATE_DIR": str(folder / "state"),
        "S3_DATA_DIR": str(folder / "s3"),
        # The enhancer's links lead to this machine; the functions refuse such links on AWS.
        "LUMENDROP_ALLOW_LOOPBACK": "true",
        "no_proxy": "127.0.0.1",
        **(variables or {}),
    }
    command = [str(PYTHON), str(Path(__file__).with_name("patches.py"))]
    log = folder / "ministack.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, cwd=folder, env=environment, stdout=output, stderr=output, start_new_session=True
        )
    endpoint = f"http://127.0.0.1:{port}"
    try:
        _wait_until_ready(process, endpoint, log)
        yield endpoint
    finally:
        # With the functions' processes. Nothing is kept.
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _wait_until_ready(process: subprocess.Popen[bytes], endpoint: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(requests.ConnectionError):
            if requests.get(f"{endpoint}/_ministack/health", timeout=5).ok:
                return
        time.sleep(0.1)
    raise RuntimeError(f"ministack did not start:\n{log.read_text()[-3000:]}")
