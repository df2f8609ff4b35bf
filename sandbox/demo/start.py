"""Starts what every command needs: the enhancer and AWS with the stack deployed, both on loopback only."""

import logging
import re
import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from sandbox.aws.cloud import Cloud
from sandbox.aws.hooks import Hooks

ROOT = Path(__file__).resolve().parents[2]
STACK = "lumendrop"
ENHANCER_START_SECONDS = 60
ENHANCER_STOP_SECONDS = 5
NO_TASK_LIMIT = "1000000"  # the most the template allows: tasks cost nothing here


class StartError(RuntimeError):
    """The sandbox can't start; the message is meant for people."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox: `cloud` with the stack in it, the enhancer's base URL, and the folder with both's logs."""

    cloud: Cloud
    enhancer: str
    logs: Path


@contextmanager
def sandbox(
    parameters: Mapping[str, str],
    port: int = 0,
    *,
    prepare: Callable[[Cloud], None] | None = None,
    hooks: Hooks | None = None,
    enhancer_arguments: Sequence[str] = (),
) -> Iterator[Sandbox]:
    """Run the enhancer and the stack until the block ends. Port 0 takes any free one.

    `prepare` and `hooks` are the cloud's; the enhancer's arguments are those of `python -m sandbox.enhancer`.

    Raises `CloudError` when the port is taken, `TemplateError` when the template is wrong, `StartError` when the
    enhancer doesn't come up.
    """
    # Moto logs every execution that ends as Fail; here that is an upload's regular end, shown as such.
    logging.getLogger("moto").setLevel(logging.CRITICAL)
    key = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="lumendrop-logs-") as folder:
        logs = Path(folder)
        with _enhancer(key, logs / "enhancer.log", enhancer_arguments) as enhancer:
            values = {"ApiBaseUrl": enhancer, "DailyTaskLimit": NO_TASK_LIMIT, **parameters}
            with Cloud(
                ROOT / "template.yaml",
                STACK,
                parameters=values,
                port=port,
                # The enhancer's links lead to this machine; the functions refuse such links on AWS.
                variables={"LUMENDROP_ALLOW_LOOPBACK": "true"},
                log=logs / "functions.log",
                prepare=prepare,
                hooks=hooks,
            ) as cloud:
                secret = cloud.outputs["KeySecretArn"]
                cloud.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=key)
                yield Sandbox(cloud, enhancer, logs)


@contextmanager
def _enhancer(key: str, log: Path, arguments: Sequence[str]) -> Iterator[str]:
    """Run the enhancer in a process of its own: its work takes no turns from AWS's. Gives its base URL."""
    command = [sys.executable, "-m", "sandbox.enhancer", "--port", "0", f"--api-key={key}", *arguments]
    with log.open("wb") as output:
        # A session of its own: Ctrl-C reaches this process only, which then ends the enhancer in good order.
        process = subprocess.Popen(  # noqa: S603 - this project's own module
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=output, stderr=output, start_new_session=True
        )
        try:
            yield _address(process, log)
        finally:
            _stop(process)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + ENHANCER_START_SECONDS
    while time.monotonic() < deadline:
        text = log.read_text()
        if found := re.search(r"http://127\.0\.0\.1:\d+", text):
            return found.group()
        if process.poll() is not None:
            raise StartError(f"The enhancer stopped while starting:\n{text}")
        time.sleep(0.05)
    raise StartError(f"The enhancer did not start within {ENHANCER_START_SECONDS} seconds.")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENHANCER_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
