"""`python -m sandbox up`: runs the whole system on one machine until Ctrl-C."""

import shlex
import sys
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from lumendrop_cli.text import clean
from sandbox.demo.board import board
from sandbox.demo.start import Sandbox, sandbox
from sandbox.demo.status import StatusReader, UploadStatus

POLL_SECONDS = 0.5
FOLDER_MARKER = ("skipped", "It is a folder marker.")
CREDENTIALS = "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1"


def run(port: int, verbose: bool, console: Console) -> None:
    """Start the sandbox, print how to use it, and print each upload's state until KeyboardInterrupt.

    Raises the errors of `start.sandbox`.
    """
    console.print("Starting AWS and the enhancer on this machine ...")
    with sandbox({}, port) as running, board(running.cloud.endpoint) as address:
        console.print(introduction(running, verbose, address), markup=False, soft_wrap=True)
        running.cloud.warm()
        for line in changes(running):
            console.print(clean(line), markup=False, emoji=False, soft_wrap=True)


def introduction(running: Sandbox, verbose: bool, address: str | None) -> str:
    """The board's address, the endpoint, the logs, and commands; if `verbose`, also the enhancer and what it lacks."""
    cloud = running.cloud
    source, target = (f"s3://{cloud.outputs[name]}" for name in ("InputBucketName", "OutputBucketName"))
    details = [f"Enhancer       {running.enhancer}/docs", *(f"Not simulated  {item}" for item in cloud.skipped)]
    return "\n".join(
        [
            f"Board          {address or 'not started: run `lumendrop board`'}",
            f"AWS endpoint   {cloud.endpoint}",
            f"Logs           {running.logs}",
            *(details if verbose else []),
            "In another terminal:",
            f"  export AWS_ENDPOINT_URL={cloud.endpoint} {CREDENTIALS}",
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
    """Yields a line for each change of an upload's state, without end."""
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
