"""Ways to deliver one result to a bucket. Each runs in its own process: `python -m … NAME JOB`, with JOB as JSON.

Runs a small delivery to warm up and then one delivery; prints its seconds, its CPU time, the CPU time of the servers,
and the peak memory in MB.
"""

from __future__ import annotations

import concurrent.futures
import hashlib
import http.client
import importlib
import json
import os
import resource
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import certifi

from benchmarks import results
from benchmarks.results import REPO

BUCKET, UPLOADS = "photos-out", "photos-in"
PART_BYTES = 5 << 20  # the minimum of S3
BLOCK_BYTES = 1 << 20

Deliver = Callable[[str, str, str], None]
"""Delivers the result at a URL, of a task with this ID, to a key."""


def ours(metadata: str = "keep") -> Deliver:
    """The deliver function: requests the link, verifies the result, writes it conditionally."""
    os.environ["ENHANCEMENT_LABEL"] = "omit" if metadata == "none" else "write"
    sys.path[:0] = [str(REPO / "functions" / "deliver"), str(REPO / "layers")]
    bundle = os.environ["AWS_CA_BUNDLE"]
    certifi.where = lambda: bundle  # deliver trusts certifi's authorities only
    app = importlib.import_module("app")
    event = json.loads((REPO / "events" / "deliver.json").read_text(encoding="utf-8"))

    class Context:
        function_name = invoked_function_arn = aws_request_id = "deliver"
        memory_limit_in_mb = 512

    def deliver(_: str, task: str, key: str) -> None:
        event["upload"] |= {"bucket": UPLOADS, "key": key, "version_id": "null", "size": int(task)}
        event["options"]["metadata"] = metadata
        event["task"]["id"] = task
        output = app.handler(event, Context())
        if output["state"] != "enhanced":
            raise SystemExit(f"not delivered: {output}")

    return deliver


def in_memory() -> Deliver:
    """The simplest way: the whole result in memory."""
    import boto3
    import requests

    s3 = boto3.client("s3")

    def deliver(url: str, _: str, key: str) -> None:
        s3.put_object(Bucket=BUCKET, Key=key, Body=requests.get(url, timeout=60).content)

    return deliver


def in_memory_connected() -> Deliver:
    """The same on a connection to the vendor that is already open, as with consecutive deliveries."""
    import boto3
    import requests

    s3, session = boto3.client("s3"), requests.Session()

    def deliver(url: str, _: str, key: str) -> None:
        s3.put_object(Bucket=BUCKET, Key=key, Body=session.get(url, timeout=60).content)

    return deliver


def shell() -> Deliver:
    """Two shell commands."""

    def deliver(url: str, _: str, key: str) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/result"
            subprocess.run(["curl", "--silent", "--fail", "--output", file, url], check=True)
            aws = Path(sys.executable).with_name("aws")
            copy = [aws, "s3", "cp", "--only-show-errors", file, f"s3://{BUCKET}/{key}"]
            subprocess.run([*copy, "--endpoint-url", os.environ["AWS_ENDPOINT_URL"]], check=True)

    return deliver


def floor() -> Deliver:
    """The minimum: the bytes to disk, and from disk to S3 on an open connection, without any checks."""
    import boto3
    from botocore.config import Config

    s3 = boto3.client("s3", config=Config(signature_version="s3v4"))
    tls = ssl.create_default_context(cafile=os.environ["AWS_CA_BUNDLE"])
    target = http.client.HTTPSConnection(urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc, timeout=60, context=tls)

    def deliver(url: str, _: str, key: str) -> None:
        with tempfile.TemporaryFile() as file:
            parts = urlsplit(url)
            source = http.client.HTTPSConnection(parts.netloc, timeout=60, context=tls)
            source.request("GET", parts.path)
            shutil.copyfileobj(source.getresponse(), file, BLOCK_BYTES)
            source.close()
            size = file.tell()
            file.seek(0)
            presigned = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": BUCKET, "Key": key}))
            target.putrequest("PUT", f"{presigned.path}?{presigned.query}")
            target.putheader("Content-Length", str(size))
            target.endheaders()
            while block := file.read(BLOCK_BYTES):
                target.send(block)
            response = target.getresponse()
            if response.status != 200:
                raise SystemExit(f"S3 responded with {response.status}")
            response.read()

    return deliver


def overlapped() -> Deliver:
    """Uploads parts while the download continues: the possible gain of an overlap."""
    import boto3
    import requests

    s3, session = boto3.client("s3"), requests.Session()

    def deliver(url: str, _: str, key: str) -> None:
        upload = s3.create_multipart_upload(Bucket=BUCKET, Key=key)["UploadId"]
        digest = hashlib.sha256()

        def send(number: int, body: bytes) -> dict[str, Any]:
            named = {"Bucket": BUCKET, "Key": key, "UploadId": upload, "PartNumber": number}
            return {"PartNumber": number, "ETag": s3.upload_part(**named, Body=body)["ETag"]}

        with (
            session.get(url, stream=True, timeout=60) as response,
            concurrent.futures.ThreadPoolExecutor(max_workers=2) as pool,
        ):
            sent = []
            while part := response.raw.read(PART_BYTES):
                digest.update(part)
                sent.append(pool.submit(send, len(sent) + 1, part))
                if len(sent) > 2:
                    sent[-3].result()  # no more than three parts in memory
            parts = [one.result() for one in sent]
        s3.complete_multipart_upload(Bucket=BUCKET, Key=key, UploadId=upload, MultipartUpload={"Parts": parts})

    return deliver


CONTENDERS = {
    "deliver": ours,
    "deliver, without metadata": partial(ours, "none"),
    "requests.get().content, put_object": in_memory,
    "the same, connected to the vendor": in_memory_connected,
    "curl, aws s3 cp": shell,
    "floor: raw to disk, raw from disk": floor,
    "overlapped multipart": overlapped,
}


def cpu_seconds() -> tuple[float, float]:
    """CPU time so far of this process with its children, and of the servers. Linux only."""
    mine = sum(
        one.ru_utime + one.ru_stime for one in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )
    servers = (~int(os.environ["SERVERS_PID"]) << 3) | 2  # as clock_getcpuclockid(3) computes it
    return mine, time.clock_gettime(servers)


def main() -> None:
    """Runs one delivery."""
    deliver = CONTENDERS[sys.argv[1]]()
    job = json.loads(sys.argv[2])
    deliver(job["warm_url"], job["warm_task"], f"warm-{job['key']}")
    begun, begun_cpu = time.perf_counter(), cpu_seconds()
    deliver(job["url"], job["task"], job["key"])
    seconds = time.perf_counter() - begun
    cpu, servers_cpu = (now - then for now, then in zip(cpu_seconds(), begun_cpu, strict=True))
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    found = {
        "seconds": seconds,
        "cpu_seconds": cpu,
        "servers_cpu_seconds": servers_cpu,
        "peak_megabytes": max(results.peak_megabytes("self"), children),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
