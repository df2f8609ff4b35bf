"""The backfill of many objects in the sandbox: each is sent once and paid for once; and the cost of a sweep.

The times are those of the sandbox on this machine. The costs are calculated from AWS's prices and the counted calls.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import unquote

import requests
from moto.sqs.models import sqs_backends
from rich.console import Console
from rich.table import Table

from benchmarks import results
from benchmarks.prices import PRICES
from sandbox.aws.cloud import ACCOUNT
from sandbox.demo.start import Sandbox, sandbox
from tests.e2e.photos import jpeg

UPLOAD_THREADS = 8
POLL_SECONDS = 1.0


def measure(running: Sandbox, objects: int, submitted: int) -> dict[str, Any]:
    """Raises SystemExit unless each object is sent and paid for exactly once."""
    cloud = running.cloud
    cloud.client("events").disable_rule(Name=cloud.resources["UploadRule"])
    enable_event_source(running, enabled=False)
    print(f"Uploading {objects:,} photos …")
    keys = [f"photos/{'some' if number < submitted else 'rest'}/{number:06}.jpg" for number in range(objects)]
    bucket, photo = cloud.outputs["InputBucketName"], jpeg()
    put = cloud.client("s3").put_object
    with ThreadPoolExecutor(UPLOAD_THREADS) as workers:  # no two are the same photo
        list(workers.map(lambda key: put(Bucket=bucket, Key=key, Body=photo + key.encode()), keys))
    print("Sending them to the upload queue …")
    sent = timed(lambda: backfill(running, "photos/"))
    exactly_once(Counter(drain(running)), keys, "in the upload queue")
    print(f"Enhancing {submitted:,} of them, then sweeping them …")
    enable_event_source(running, enabled=True)
    some = keys[:submitted]
    paid = timed(lambda: [backfill(running, "photos/some/"), wait(lambda: has_ended(running, submitted))])
    exactly_once(Counter(tasks(running)), some, "among the enhancer's tasks")
    before = len(cloud.calls)
    swept = timed(lambda: [backfill(running, "photos/some/"), wait(lambda: is_empty(running))])
    exactly_once(Counter(tasks(running)), some, "among the enhancer's tasks after the sweep")
    calls = Counter(call.action for call in cloud.calls[before:] if call.principal == "SubmitRole")
    return {
        "objects": objects,
        "once_in_the_queue": objects,
        "seconds_to_send": sent,
        "submitted": submitted,
        "once_among_the_tasks": submitted,
        "seconds_to_enhance": paid,
        "seconds_to_sweep_what_is_done": swept,
        "calls_of_a_sweep_per_object": {name: round(number / submitted, 2) for name, number in sorted(calls.items())},
        "usd_per_1000": {"sending": round(usd_to_send(), 4), "sweeping": round(usd_to_sweep(), 4)},
    }


def timed(work: Callable[[], object]) -> float:
    began = time.monotonic()
    work()
    return round(time.monotonic() - began, 1)


def wait(condition: Callable[[], bool]) -> None:
    while not condition():
        time.sleep(POLL_SECONDS)


def enable_event_source(running: Sandbox, *, enabled: bool) -> None:
    """Enables or disables the event source; its last poll takes up to a second."""
    mapping = running.cloud.resources["SubmitFunctionUploads"]
    running.cloud.client("lambda").update_event_source_mapping(UUID=mapping, Enabled=enabled)
    time.sleep(2 * POLL_SECONDS)


def backfill(running: Sandbox, prefix: str) -> None:
    states, machine = running.cloud.client("stepfunctions"), running.cloud.outputs["BackfillWorkflowArn"]
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps({"prefix": prefix}))["executionArn"]
    wait(lambda: states.describe_execution(executionArn=execution)["status"] != "RUNNING")
    if (ended := states.describe_execution(executionArn=execution))["status"] != "SUCCEEDED":
        raise SystemExit(f"The backfill failed: {ended.get('cause')}")


def drain(running: Sandbox) -> list[str]:
    """Empties the upload queue; returns the key of each message. Reads moto's state, because receiving takes hours."""
    url = running.cloud.outputs["UploadQueueUrl"]
    queue = sqs_backends[ACCOUNT][running.cloud.region].queues[url.rpartition("/")[2]]
    keys = [json.loads(message.body)["detail"]["object"]["key"] for message in queue.messages]
    running.cloud.client("sqs").purge_queue(QueueUrl=url)
    return keys


def tasks(running: Sandbox) -> list[str]:
    """The key of each task that the enhancer created and charged."""
    found = requests.get(f"{running.enhancer}/_sandbox/tasks", timeout=60).json()
    return [unquote(task["image"]).partition("/")[2].partition("/")[2] for task in found]


def has_ended(running: Sandbox, uploads: int) -> bool:
    pages = (
        running.cloud.client("dynamodb")
        .get_paginator("scan")
        .paginate(TableName=running.cloud.outputs["LedgerTableName"], FilterExpression="attribute_exists(finished_at)")
    )
    return sum(page["Count"] for page in pages) == uploads


def is_empty(running: Sandbox) -> bool:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    url = running.cloud.outputs["UploadQueueUrl"]
    found = running.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=names)["Attributes"]
    return set(found.values()) == {"0"}


def exactly_once(found: Counter[str], keys: list[str], where: str) -> None:
    if found != Counter(keys):
        wrong = (found - Counter(keys)) + (Counter(keys) - found)
        raise SystemExit(f"Not exactly once {where}: {wrong.most_common(5)} …")


def usd_to_send() -> float:
    """USD for a listing of 1,000 objects, ten child executions of 200 ms with 64 MB, and 100 batches."""
    states = PRICES["step_functions"]
    children = 10 * (states["express_request"] + 0.2 * 0.0625 * states["express_gb_second"])
    return float(PRICES["s3"]["put"] + children + 100 * PRICES["sqs"]["request"])


def usd_to_sweep() -> float:
    """USD for sending, and per enhanced object a receive, a delete, an invocation of 50 ms, a HEAD, and half a read."""
    invocation = PRICES["lambda"]["request"] + 0.05 * 0.5 * PRICES["lambda"]["gb_second"]
    checks = 2 * PRICES["sqs"]["request"] + invocation + PRICES["s3"]["get"] + 0.5 * PRICES["dynamodb"]["read_unit"]
    return float(usd_to_send() + 1000 * checks)


def main() -> None:
    """Prints the figures; writes the JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.backfill", description=__doc__)
    parser.add_argument("--objects", type=int, default=10_000, help="objects in the bucket (default 10000)")
    parser.add_argument("--submitted", type=int, default=100, help="objects to enhance and then sweep (default 100)")
    arguments = parser.parse_args()
    with sandbox({"Resolution": "1K"}, enhancer_arguments=["--task-seconds", "0"]) as running:
        figures = measure(running, arguments.objects, arguments.submitted)
    table = Table("", "", title="Backfill")
    for name, value in figures.items():
        table.add_row(name.replace("_", " "), str(value))
    Console().print(table)
    results.write("backfill", "make bench-backfill", figures)


if __name__ == "__main__":
    main()
