"""Starts the enhancer, and AWS with the stack deployed. Both listen on loopback only."""

import logging
import os
import secrets
import socket
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
from sandbox.enhancer import API_KEY

ROOT = Path(__file__).resolve().parents[2]
STACK = "lumendrop"
ENHANCER_START_SECONDS = 60
ENHANCER_STOP_SECONDS = 5
NO_TASK_LIMIT = "1000000"  # the maximum of the parameter: tasks cost nothing in the sandbox


class StartError(RuntimeError):
    """The sandbox can't start. The message is shown to the user."""


@dataclass(frozen=True)
class Sandbox:
    """A running sandbox: `cloud` has the stack, `enhancer` is a base URL that accepts `key`, `logs` is a folder."""

    cloud: Cloud
    enhancer: str
    logs: Path
    key: str = ""


@contextmanager
def sandbox(
    parameters: Mapping[str, str],
    port: int = 0,
    *,
    prepare: Callable[[Cloud], None] | None = None,
    hooks: Hooks | None = None,
    enhancer_arguments: Sequence[str] = (),
    template: Path | None = ROOT / "template.yaml",
) -> Iterator[Sandbox]:
    """Run the enhancer and the stack until the block ends. Port 0 takes any free port. Without a template, there is no
    stack, until a change set creates one.

    `prepare` and `hooks` are arguments of `Cloud`, `enhancer_arguments` those of `python -m sandbox.enhancer`.

    Raises `CloudError` when the port is in use, `TemplateError` when the template is wrong, and `StartError` when the
    enhancer doesn't start.
    """
    # moto logs an error for each execution that ends in a Fail state, which is the normal end of a rejected upload.
    logging.getLogger("moto").setLevel(logging.CRITICAL)
    key = secrets.token_urlsafe(24)
    with tempfile.TemporaryDirectory(prefix="lumendrop-logs-") as folder:
        logs = Path(folder)
        with _enhancer(key, logs / "enhancer.log", enhancer_arguments) as enhancer:
            values = {"ApiBaseUrl": enhancer.url, "DailyTaskLimit": NO_TASK_LIMIT, **parameters}
            log = logs / "functions.log"

            def complete(cloud: Cloud) -> None:
                if template:
                    secret = cloud.outputs["KeySecretArn"]
                    cloud.client("secretsmanager").put_secret_value(SecretId=secret, SecretString=key)
                enhancer.wait_until_ready()

            with Cloud(
                template,
                STACK,
                parameters=values,
                port=port,
                # The enhancer's links lead to this machine; the functions refuse such links on AWS.
                variables={"LUMENDROP_ALLOW_LOOPBACK": "true"},
                log=log,
                prepare=prepare,
                complete=complete,
                hooks=hooks,
            ) as cloud:
                yield Sandbox(cloud, enhancer.url, logs, key)


@dataclass(frozen=True)
class _Enhancer:
    url: str
    process: subprocess.Popen[bytes]
    log: Path

    def wait_until_ready(self) -> None:
        """Wait until the enhancer serves requests. Raises StartError."""
        deadline = time.monotonic() + ENHANCER_START_SECONDS
        while self.url not in self.log.read_text(encoding="utf-8"):
            if self.process.poll() is not None:
                raise StartError(f"The enhancer stopped while starting:\n{self.log.read_text(encoding='utf-8')}")
            if time.monotonic() > deadline:
                raise StartError(f"The enhancer did not start within {ENHANCER_START_SECONDS} seconds.")
            time.sleep(0.05)


@contextmanager
def _enhancer(key: str, log: Path, arguments: Sequence[str]) -> Iterator[_Enhancer]:
    """Start the enhancer in a separate process, so that it starts while AWS does and runs on its own core."""
    with socket.create_server(("127.0.0.1", 0), backlog=128) as listener:
        port, fd = listener.getsockname()[1], listener.fileno()
        command = [sys.executable, "-m", "sandbox.enhancer", f"--fd={fd}", *arguments]
        with log.open("wb") as output:
            # A new session, so that Ctrl-C reaches only this process, which then stops the enhancer.
            process = subprocess.Popen(  # noqa: S603 - this project's own module
                command,
                cwd=ROOT,
                env=os.environ | {API_KEY: key},
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[fd],
                start_new_session=True,
            )
    try:
        yield _Enhancer(f"http://127.0.0.1:{port}", process, log)
    finally:
        _stop(process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(ENHANCER_STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
