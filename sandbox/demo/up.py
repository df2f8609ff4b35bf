"""`python -m sandbox up`: runs the whole system on one machine until Ctrl-C."""

import shlex
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.request import getproxies

from botocore.exceptions import ClientError
from rich.console import Console

from lumendrop_cli.text import clean
from sandbox.demo.board import board
from sandbox.demo.start import Sandbox, sandbox
from sandbox.demo.status import StatusReader, UploadStatus

POLL_SECONDS = 0.5
FOLDER_MARKER = ("skipped", "It is a folder marker.")
CREDENTIALS = "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1"
DIRECT = ' no_proxy="127.0.0.1,$no_proxy"'
DELETED = {"NoSuchBucket", "ResourceNotFoundException", "StateMachineDoesNotExist"}


def run(port: int, verbose: bool, console: Console) -> None:
    """Start the sandbox, print how to use it, and print each upload's state until KeyboardInterrupt.

    Raises the errors of `start.sandbox`.
    """
    console.print("Starting AWS and the enhancer on this machine ...")
    has_proxy = bool(getproxies())  # before the sandbox hides it
    with sandbox({}, port) as running, board(running.cloud.endpoint) as address:
        console.print(introduction(running, verbose, address, has_proxy), markup=False, soft_wrap=True)
        running.cloud.warm()
        for line in changes(running):
            console.print(clean(line), markup=False, emoji=False, soft_wrap=True)


def introduction(running: Sandbox, verbose: bool, address: str | None, has_proxy: bool = False) -> str:
    """The board's address, the logs, and commands to try; if `verbose`, also the enhancer and what is not simulated.

    With a proxy in the environment, the commands bypass it.
    """
    cloud = running.cloud
    source, target = (f"s3://{cloud.outputs[name]}" for name in ("InputBucketName", "OutputBucketName"))
    details = [f"Enhancer       {running.enhancer}/docs", *(f"Not simulated  {item}" for item in cloud.skipped)]
    return "\n".join(
        [
            f"Open the board: {address}" if address else "The board did not start: run `lumendrop board`.",
            *(details if verbose else []),
            f"Logs are in {running.logs}. In another terminal:",
            f"  export AWS_ENDPOINT_URL={cloud.endpoint} {CREDENTIALS}{DIRECT if has_proxy else ''}",
            f"  aws s3 cp photo.jpg {shlex.quote(f'{source}/')}",
            f"  {shlex.quote(str(_cli()))} status photo.jpg",
            f"  aws s3 cp {shlex.quote(f'{target}/photo.jpg')} enhanced.jpg",
            "Press Ctrl-C to stop; nothing is kept. Uploads:",
        ]
    )


def _cli() -> Path:
    """The `lumendrop` command of this environment, relative to the current folder if it is below."""
    path, here = Path(sys.executable).with_name("lumendrop"), Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def changes(running: Sandbox) -> Iterator[str]:
    """Yields a line for each change of an upload's state, without end.

    When the stack or its input bucket is deleted, yields a line that says so, and then nothing. AWS stays, because the
    command that deletes the stack may still need it.
    """
    try:
        yield from _changes(running)
    except ClientError as error:
        if error.response["Error"]["Code"] not in DELETED:
            raise
    yield "The stack or its input bucket was deleted. Press Ctrl-C, and start again for a new stack."
    while True:
        time.sleep(POLL_SECONDS)


def _changes(running: Sandbox) -> Iterator[str]:
    reader = StatusReader(running)
    dropped: set[tuple[str, datetime]] = set()
    states: dict[tuple[str, str], str] = {}
    while True:
        for upload in _uploads(running):
            if (upload["Key"], upload["LastModified"]) not in dropped:
                dropped.add((upload["Key"], upload["LastModified"]))
                is_folder_marker = upload["Size"] == 0 and upload["Key"].endswith("/")
                yield _line(upload["Key"], *(FOLDER_MARKER if is_folder_marker else ("dropped",)))
        for status in reader.read():
            if states.get((status.key, status.version_id)) != status.state:
                states[status.key, status.version_id] = status.state
                yield _line(status.key, status.state, _explanation(status, running))
        time.sleep(POLL_SECONDS)


def _uploads(running: Sandbox) -> Iterator[dict[str, Any]]:
    # Not the versions: moto keeps a copy of each object whenever versions are listed.
    pages = (
        running.cloud.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=running.cloud.outputs["InputBucketName"])
    )
    yield from (upload for page in pages for upload in page.get("Contents", []))


def _explanation(status: UploadStatus, running: Sandbox) -> str:
    if not status.is_final:
        return ""
    bucket = running.cloud.outputs["OutputBucketName"]
    if status.state == "enhanced":
        return f"s3://{bucket}/{status.row['output']['key']}"
    report = status.row.get("report_key")  # there is none next to a newer photo
    return f"{status.reason} Report: s3://{bucket}/{report}" if report else status.reason


def _line(key: str, state: str, explanation: str = "") -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}  {state:<10}  {key}  {explanation}".rstrip()
