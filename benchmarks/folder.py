"""`lumendrop enhance` against `aws s3 sync`: the transfer of 1,000 small photos to S3, and of their results back.

Only the transfer is measured: uploads start no workflow, and the results are there already. `enhance` also reads the
ledger, hashes each file, and compares what it has downloaded. Both commands are processes of their own, in turns,
against the same simulated S3 on this machine.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from boto3.dynamodb.types import TypeSerializer
from rich.console import Console
from rich.table import Table

from benchmarks import results
from lumendrop.ledger import photo_key
from lumendrop.uploads import Upload
from sandbox.demo.start import Sandbox, sandbox
from tests.e2e.photos import jpeg

OPTIONS = '{"resolution":"1K"}'
PHOTO_BYTES = 50_000
FILES_PER_FOLDER = 100
THREADS = 8


def measure(running: Sandbox, photos: int, runs: int) -> dict[str, Any]:
    """The seconds of each command and direction. Raises SystemExit unless every photo has arrived."""
    cloud = running.cloud
    cloud.client("events").disable_rule(Name=cloud.resources["UploadRule"])
    rounds = [_round(running, run, photos) for run in range(runs)]
    seconds = {name: [one[name] for one in rounds] for name in rounds[0]}
    return {
        "photos": photos,
        "photo_bytes": PHOTO_BYTES,
        "seconds": {name: results.spread([round(one, 2) for one in found]) for name, found in seconds.items()},
    }


def _round(running: Sandbox, run: int, photos: int) -> dict[str, float]:
    """The seconds of each command and direction, with new photos."""
    source, target = (running.cloud.outputs[name] for name in ("InputBucketName", "OutputBucketName"))
    prefix, peers = f"ours/{run}/", f"theirs/{run}/"
    with tempfile.TemporaryDirectory() as scratch:
        folder, ours, theirs = (Path(scratch, name) for name in ("photos", "ours", "theirs"))
        create_photos(folder, photos)
        seconds = {
            "enhance up": timed(lambda: enhance(running, folder, ours, prefix, "--no-wait")),
            "sync up": timed(lambda: sync(running, folder, f"s3://{source}/{peers}")),
        }
        for below in (prefix, peers):
            check(count(running, source, below), photos, below)
        deliver(running, folder, prefix)
        seconds["enhance down"] = timed(lambda: enhance(running, folder, ours, prefix))
        seconds["sync down"] = timed(lambda: sync(running, f"s3://{target}/{prefix}", theirs))
        for results_of in (ours, theirs):
            check(sum(path.is_file() for path in results_of.rglob("*.jpg")), photos, str(results_of))
    return seconds


def create_photos(folder: Path, photos: int) -> None:
    body = jpeg()
    for number in range(photos):
        path = folder / f"{number // FILES_PER_FOLDER:02}/{number:05}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body + os.urandom(PHOTO_BYTES - len(body)))  # no two are the same photo


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return time.monotonic() - began


def enhance(running: Sandbox, folder: Path, out: Path, prefix: str, *options: str) -> None:
    command = [sys.executable, "-m", "lumendrop_cli", "enhance", str(folder), "-o", str(out), "--prefix", prefix]
    call(running, [*command, "--yes", *options])


def sync(running: Sandbox, source: str | Path, target: str | Path) -> None:
    aws = Path(sys.executable).with_name("aws")
    call(running, [str(aws), "s3", "sync", "--quiet", str(source), str(target)])


def call(running: Sandbox, command: list[str]) -> None:
    variables = {"AWS_ENDPOINT_URL": running.cloud.endpoint, "AWS_DEFAULT_REGION": "us-east-1"}
    variables |= {"AWS_ACCESS_KEY_ID": "owner", "AWS_SECRET_ACCESS_KEY": "owner", "AWS_CONFIG_FILE": os.devnull}
    done = subprocess.run(command, env=os.environ | variables, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{command[-6:]} failed: {done.stderr[-2000:]}")


def count(running: Sandbox, bucket: str, prefix: str) -> int:
    pages = running.cloud.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return sum(len(page.get("Contents", [])) for page in pages)


def check(found: int, expected: int, where: str) -> None:
    if found != expected:
        raise SystemExit(f"{where} has {found:,} of {expected:,} photos.")


def deliver(running: Sandbox, folder: Path, prefix: str) -> None:
    """Puts a result for each photo, and the rows that name it, as if all had been enhanced."""
    files = sorted(path for path in folder.rglob("*.jpg"))
    with ThreadPoolExecutor(THREADS) as workers:
        list(workers.map(lambda path: _deliver(running, path, prefix + path.relative_to(folder).as_posix()), files))


def _deliver(running: Sandbox, path: Path, key: str) -> None:
    cloud, body = running.cloud, path.read_bytes()
    source, target = cloud.outputs["InputBucketName"], cloud.outputs["OutputBucketName"]
    version_id = cloud.client("s3").head_object(Bucket=source, Key=key)["VersionId"]
    upload = Upload(source, key, version_id, "1", len(body), "")
    put = cloud.client("s3").put_object(
        Bucket=target,
        Key=key,
        Body=body[::-1],
        ContentType="image/jpeg",
        ChecksumAlgorithm="SHA256",
        Metadata={"correlation-id": upload.correlation_id},
    )
    pk, sha256 = f"object#{source}/{key}", base64.b64encode(hashlib.sha256(body).digest()).decode()
    output = {"bucket": target, "key": key, "version_id": put["VersionId"], "bytes": len(body)}
    row = {"pk": pk, "sk": version_id, "bucket": source, "key": key, "version_id": version_id, "status": "enhanced"}
    _put(running, row | {"output": output, "options": OPTIONS, "attempt": 1, "finished_at": "2026-11-27T00:00:00Z"})
    photo = photo_key(source, f"{len(body)} {sha256}", OPTIONS)
    _put(running, {"pk": photo, "sk": "holder", "holder_pk": pk, "holder_sk": version_id, "attempt": 1})


def _put(running: Sandbox, item: dict[str, Any]) -> None:
    table = running.cloud.outputs["LedgerTableName"]
    running.cloud.client("dynamodb").put_item(TableName=table, Item=TypeSerializer().serialize(item)["M"])


def show(figures: dict[str, Any]) -> None:
    table = Table("", "median seconds", "lowest quartile", "highest quartile")
    for name, one in figures["seconds"].items():
        table.add_row(name, *(f"{one[part]:.1f}" for part in ("median", "low", "high")))
    Console().print(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--photos", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=3)
    arguments = parser.parse_args()
    with sandbox({"Resolution": "1K"}) as running:
        figures = measure(running, arguments.photos, arguments.runs)
    show(figures)
    results.write("folder", "make bench-folder", figures)


if __name__ == "__main__":
    main()
