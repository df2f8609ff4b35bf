"""`python -m sandbox up`: the whole system on one machine, until Ctrl-C."""

import shlex
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from rich.console import Console

from sandbox.demo.start import Sandbox, sandbox
from sandbox.demo.watch import Sight, Watch

SECONDS_BETWEEN_LOOKS = 0.5
EMPTY = ("skipped", "An empty object is no photo.")
CREDENTIALS = "AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1"


def run(port: int, console: Console) -> None:
    """Start the sandbox, say how to use it, and show what becomes of each upload until KeyboardInterrupt.

    Raises what `start.sandbox` raises.
    """
    console.print("Starting AWS and the enhancer on this machine ...")
    with sandbox({}, port) as running:
        console.print(introduction(running), markup=False, soft_wrap=True)
        for line in changes(running):
            console.print(line, markup=False, soft_wrap=True)


def introduction(running: Sandbox) -> str:
    """What is where, and three commands to try, as text."""
    cloud = running.cloud
    source, target = cloud.outputs["InputBucketName"], cloud.outputs["OutputBucketName"]
    aws = f"aws --endpoint-url {cloud.endpoint} s3"
    skipped = f"Not in the sandbox  {', '.join(cloud.skipped)}\n" if cloud.skipped else ""
    return f"""
AWS endpoint        {cloud.endpoint}
Input bucket        {source}
Output bucket       {target}
Enhancer            {running.enhancer}/docs
Logs                {running.logs}
{skipped}
Try, in another terminal:

  export {CREDENTIALS}
  {aws} cp photo.jpg {shlex.quote(f"s3://{source}/")}
  {aws} ls --recursive {shlex.quote(f"s3://{target}/")}
  {aws} cp {shlex.quote(f"s3://{target}/photo.jpg")} enhanced.jpg

Ctrl-C stops it; nothing is kept. Uploads show here:
"""


def changes(running: Sandbox) -> Iterator[str]:
    """A line for each change of an upload's state, for as long as it is asked."""
    watch = Watch(running)
    dropped: set[tuple[str, datetime]] = set()
    states: dict[tuple[str, str], str] = {}
    while True:
        for upload in _uploads(running):
            if (upload["Key"], upload["LastModified"]) not in dropped:
                dropped.add((upload["Key"], upload["LastModified"]))
                yield _line(upload["Key"], *(("dropped",) if upload["Size"] else EMPTY))
        for sight in watch.look():
            if states.get((sight.key, sight.version_id)) != sight.state:
                states[sight.key, sight.version_id] = sight.state
                yield _line(sight.key, sight.state, _explanation(sight, running))
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _uploads(running: Sandbox) -> Iterator[dict[str, Any]]:
    # Not their versions: moto keeps a copy of each object for every time that those are listed.
    pages = (
        running.cloud.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=running.cloud.outputs["InputBucketName"])
    )
    yield from (upload for page in pages for upload in page.get("Contents", []))


def _explanation(sight: Sight, running: Sandbox) -> str:
    if not sight.is_final:
        return ""
    bucket = running.cloud.outputs["OutputBucketName"]
    if sight.state == "enhanced":
        return f"s3://{bucket}/{sight.row['output']['key']}"
    return f"{sight.reason} Report: s3://{bucket}/{sight.row.get('report_key')}"


def _line(key: str, state: str, explanation: str = "") -> str:
    return f"{datetime.now().astimezone():%H:%M:%S}  {state:<10}  {key}  {explanation}".rstrip()
