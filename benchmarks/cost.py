"""AWS's cost of 1,000 photos with tasks of 45 seconds: usage measured in the sandbox, at dated prices."""

from __future__ import annotations

import json
import math
import re
import statistics
import time
from collections import Counter
from dataclasses import dataclass
from importlib import resources
from typing import Any

import pyvips

from benchmarks.plots import GREY, OURS, PEER, figure, rounded, save_plot, show
from benchmarks.polling import PEERS, Setup
from benchmarks.polls import cpu_share, usage
from benchmarks.prices import PRICES
from benchmarks.results import load, write
from benchmarks.tasks import ESTIMATE_SECONDS, SimulatedTask, silent
from benchmarks.template import alarms, function
from sandbox.aws.cloud import Cloud
from sandbox.demo.start import sandbox

FUNCTIONS = {"SubmitFunction": "submit", "CheckStatusFunction": "check_status", "DeliverFunction": "deliver"}
PHOTOS = 8  # the sandbox's maximum of environments per function, so that no photo waits
PHOTO_PIXELS = 3000
WAIT_SECONDS = 240
BATCHES = 5
STAGGER_SECONDS = 1  # functions that work at the same moment would wait for each other's CPU
HOURS_PER_MONTH = 730
MONTHLY_PHOTOS = (1_000, 10_000, 100_000)
# Assumed, because the sandbox's enhancer is on the same machine: the time to create a task, and a round trip.
SUBMIT_SECONDS = 1.0
ROUND_TRIP_SECONDS = 0.15
INDEX_WRITES = 1 + 2 + 2
# A message is sent, received and deleted.
_MESSAGE_REQUESTS = 3
# An event source runs at least five long polls of 20 seconds.
POLLS_PER_SECOND = 5 / 20


@dataclass(frozen=True)
class Measured:
    """The usage per photo, as the mean of a warm batch; `functions` by logical ID."""

    functions: dict[str, dict[str, float]]
    transitions: float
    requests: dict[str, float]
    write_units: float
    log_bytes: float
    bytes_out: float
    bytes_in: float
    task_seconds: float
    delay_seconds: float


def measure() -> Measured:
    """Processes batches in real time until one met only warm functions, which is measured."""
    with sandbox({}, enhancer_arguments=["--task-seconds", str(ESTIMATE_SECONDS)]) as running:
        cloud = running.cloud
        photo = _photo()
        for number in range(BATCHES):
            folder = f"batch-{number}"
            before = {one: _Mark(cloud, one) for one in FUNCTIONS}
            calls = len(cloud._permissions.calls)
            executions = _batch(cloud, photo, folder)
            functions = {one: mark.since(cloud) for one, mark in before.items()}
            logged = statistics.mean(mark.logged(cloud) for mark in before.values()) * len(before) / PHOTOS
            requests = Counter(call.action for call in list(cloud._permissions.calls)[calls:])
            if not requests["secretsmanager:GetSecretValue"]:  # a function that starts reads the API key
                break
        else:
            raise SystemExit(
                f"Functions started in each of {BATCHES} batches, so none was warm. Try again on an idle machine."
            )
        histories = [_history(cloud, one) for one in executions]
        rows = cloud.client("dynamodb").scan(TableName=cloud.outputs["LedgerTableName"])["Items"]
        size = max(len(json.dumps(row)) for row in rows)
        results = cloud.client("s3").list_objects_v2(Bucket=cloud.outputs["OutputBucketName"], Prefix=f"{folder}/")
    entered = [sum("stateEnteredEventDetails" in event for event in history) for history in histories]
    return Measured(
        functions,
        statistics.mean(entered),
        {action: count / PHOTOS for action, count in sorted(requests.items()) if not action.startswith("logs:")},
        _write_units(requests, math.ceil(size / 1024)),
        logged,
        len(photo),
        statistics.mean(one["Size"] for one in results["Contents"]),
        ESTIMATE_SECONDS,
        statistics.mean(_seconds_to_delivery(history) for history in histories) - ESTIMATE_SECONDS,
    )


class _Mark:
    """The state of a function, to measure its usage afterwards."""

    def __init__(self, cloud: Cloud, logical_id: str) -> None:
        self._id = logical_id
        self._lines = len(cloud.logs(logical_id).splitlines())
        self._cpu = usage(cloud, logical_id).cpu

    def since(self, cloud: Cloud) -> dict[str, float]:
        durations = [float(ms) / 1000 for ms in re.findall(r"\tDuration: ([0-9.]+) ms", "\n".join(self._new(cloud)))]
        used = usage(cloud, self._id)
        return {
            "invocations": len(durations) / PHOTOS,
            "seconds": sum(durations) / PHOTOS,
            "cpu_seconds": (used.cpu - self._cpu) / PHOTOS,
            "peak_mib": used.peak,
        }

    def logged(self, cloud: Cloud) -> float:
        return sum(len(line) + 26 for line in self._new(cloud))  # CloudWatch adds 26 bytes to each event

    def _new(self, cloud: Cloud) -> list[str]:
        return cloud.logs(self._id).splitlines()[self._lines :]


def _photo() -> bytes:
    with resources.as_file(resources.files("skimage.data") / "astronaut.png") as path:
        image = pyvips.Image.new_from_file(str(path))
        return bytes(image.resize(PHOTO_PIXELS / image.width).jpegsave_buffer(Q=90))


def _batch(cloud: Cloud, photo: bytes, folder: str) -> list[str]:
    """Uploads photos, which run concurrently; returns their executions once all photos are enhanced."""
    for number in range(PHOTOS):
        key, bucket = f"{folder}/{number}.jpg", cloud.outputs["InputBucketName"]
        cloud.client("s3").put_object(Bucket=bucket, Key=key, Body=photo + key.encode())  # no two are the same photo
        time.sleep(STAGGER_SECONDS)
    deadline = time.monotonic() + WAIT_SECONDS
    states = cloud.client("stepfunctions")
    while time.monotonic() < deadline:
        found = states.list_executions(stateMachineArn=cloud.outputs["WorkflowArn"])["executions"]
        ours = [one for one in found if one["name"].startswith(folder)]
        if len(ours) == PHOTOS and all(one["status"] == "SUCCEEDED" for one in ours):
            return [one["executionArn"] for one in ours]
        time.sleep(0.5)
    raise SystemExit(f"The photos were not enhanced within {WAIT_SECONDS} seconds.")


def _history(cloud: Cloud, execution: str) -> list[dict[str, Any]]:
    pages = cloud.client("stepfunctions").get_paginator("get_execution_history").paginate(executionArn=execution)
    return [event for page in pages for event in page["events"]]


def _seconds_to_delivery(history: list[dict[str, Any]]) -> float:
    entered = next(one for one in history if one.get("stateEnteredEventDetails", {}).get("name") == "Deliver")
    return float((entered["timestamp"] - history[0]["timestamp"]).total_seconds())


def _write_units(requests: Counter[str], kilobytes: int) -> float:
    """A transaction doubles the write units of its row and counter; later writes of the row are single.

    The index by day is written with each transition: once for the claim, and twice for each of the two later ones,
    because a change of an index's key deletes the entry and puts another one.
    """
    single = requests["dynamodb:PutItem"] + requests["dynamodb:UpdateItem"] - 2 * PHOTOS
    return 2 * (kilobytes + 1) + single / PHOTOS * kilobytes + INDEX_WRITES * kilobytes


def lambda_cost(name: str, measured: dict[str, float], assumed_seconds: float, memory: int | None = None) -> float:
    """USD per photo of one function: its waiting time and its CPU time, scaled by its share of a CPU."""
    memory = memory or int(function(name)["MemorySize"])
    stretched = measured["cpu_seconds"] * (1 / cpu_share(memory) - 1)
    seconds = measured["seconds"] + stretched + assumed_seconds
    price = PRICES["lambda"]
    return float(seconds * memory / 1024 * price["gb_second"] + measured["invocations"] * price["request"])


def ours(measured: Measured) -> dict[str, float]:
    """USD per 1,000 photos by service."""
    assumed = {
        "SubmitFunction": SUBMIT_SECONDS,
        "CheckStatusFunction": ROUND_TRIP_SECONDS,
        "DeliverFunction": 2 * ROUND_TRIP_SECONDS,
    }
    functions = {
        f"Lambda, {FUNCTIONS[name]}": lambda_cost(name, one, assumed[name]) for name, one in measured.functions.items()
    }
    transitions = measured.transitions * PRICES["step_functions"]["transition"]
    return _thousand({"Step Functions": transitions, **functions, **_without_polling(measured)})


def _without_polling(measured: Measured) -> dict[str, float]:
    """USD per photo for everything but polling, which all alternatives need, too."""
    count = measured.requests
    s3, dynamodb = PRICES["s3"], PRICES["dynamodb"]
    row_reads = count.get("dynamodb:GetItem", 0)  # of rows below 4 KB: the ledger's and the rate limiter's
    reads = sum(n for action, n in count.items() if action in ("s3:GetObject", "s3:GetObjectVersion"))
    writes = count.get("s3:PutObject", 0)  # s3:ListBucket is a permission that a HEAD needs, not a call
    events = count.get("events:PutEvents", 0) * PRICES["eventbridge"]["event"] + PRICES["eventbridge"]["s3_event"]
    return {
        "S3": reads * s3["get"] + writes * s3["put"],
        "DynamoDB": measured.write_units * dynamodb["write_unit"] + row_reads * dynamodb["read_unit"],
        "SQS": _MESSAGE_REQUESTS * PRICES["sqs"]["request"],
        "EventBridge": events,
        "Secrets Manager": count.get("secretsmanager:GetSecretValue", 0) * PRICES["secrets_manager"]["call"],
        "CloudWatch Logs": measured.log_bytes / 1e9 * PRICES["cloudwatch"]["log_gb"],
    }


def _thousand(costs: dict[str, float]) -> dict[str, float]:
    return {name: cost * 1000 for name, cost in costs.items()}


def peers(measured: Measured) -> dict[str, dict[str, Any]]:
    """USD per 1,000 photos of the alternatives, and what each gives up."""
    without_polling = sum(_thousand(_without_polling(measured)).values())
    memory = int(function("CheckStatusFunction")["MemorySize"])
    others = sum(cost for name, cost in ours(measured).items() if name in ("Lambda, submit", "Lambda, deliver"))
    setup = Setup(load("polling")["poll"]["seconds"], memory, 0)
    detection = PEERS["every 10 s"](SimulatedTask(measured.task_seconds, ESTIMATE_SECONDS, silent), setup)
    fixed_states = (measured.transitions - 3) * PRICES["step_functions"]["transition"] * 1000
    result: dict[str, dict[str, Any]] = {
        "a loop that polls every 10 s": {
            "usd_per_1000": fixed_states + detection.cost * 1000 + others + without_polling,
            "gives_up": "seconds: it detects the end of a task up to 10 s late",
        }
    }
    cpu = sum(one["cpu_seconds"] for one in measured.functions.values())
    busy = sum(one["seconds"] for name, one in measured.functions.items() if name != "CheckStatusFunction")
    for size in (int(function("DeliverFunction")["MemorySize"]), 256):
        seconds = measured.task_seconds + 2 + busy + SUBMIT_SECONDS + cpu * (1 / cpu_share(size) - 1)
        price = seconds * size / 1024 * PRICES["lambda"]["gb_second"] + PRICES["lambda"]["request"]
        result[f"one function of {size} MB that sleeps while it polls"] = {
            "usd_per_1000": price * 1000 + without_polling,
            "gives_up": (
                "tasks longer than 15 minutes; a crash or a deployment in between loses the task or pays for it twice; "
                "no history, no report of early ends; one concurrent execution per photo all the time"
            ),
        }
    fargate = PRICES["fargate"]
    month = HOURS_PER_MONTH * (0.25 * fargate["vcpu_hour"] + 0.5 * fargate["gb_hour"] + fargate["public_ipv4_hour"])
    for photos in MONTHLY_PHOTOS:
        result[f"a container of 0.25 vCPU, always on, at {photos:,} photos a month"] = {
            "usd_per_1000": month / photos * 1000 + without_polling,
            "gives_up": "a second zone, a memory of paid tasks that survives a restart, maintenance without you",
        }
    return result


def monthly() -> dict[str, float]:
    """USD per month, independent of the number of photos."""
    polls = POLLS_PER_SECOND * 3600 * HOURS_PER_MONTH * PRICES["sqs"]["request"]
    return {
        "the secret": PRICES["secrets_manager"]["secret_month"],
        "alarms": alarms() * PRICES["cloudwatch"]["alarm_month"],
        "polling the upload queue": polls,
    }


def main() -> None:
    measured = measure()
    costs = ours(measured)
    total = sum(costs.values())
    compared = peers(measured)
    transfer = {
        "photo_mb": measured.bytes_out / 1e6,
        "result_mb": measured.bytes_in / 1e6,
        "usd_per_1000": measured.bytes_out / 1e9 * PRICES["transfer"]["internet_out_gb"] * 1000,
    }
    figures = {
        "seed": None,
        "prices": PRICES["checked"].isoformat(),
        "photos": PHOTOS,
        "assumed": {"submit_seconds": SUBMIT_SECONDS, "round_trip_seconds": ROUND_TRIP_SECONDS},
        "measured": {
            "task_seconds": measured.task_seconds,
            "delay_seconds": measured.delay_seconds,
            "functions": {
                FUNCTIONS[name]: one | {"memory_mb": int(function(name)["MemorySize"])}
                for name, one in measured.functions.items()
            },
            "transitions": measured.transitions,
            "requests": measured.requests,
            "dynamodb_write_units": measured.write_units,
            "log_bytes": measured.log_bytes,
        },
        "usd_per_1000": costs | {"sum": total},
        "vendor_usd_per_1000": PRICES["vendor"]["photo"] * 1000,
        "usd_per_month": monthly(),
        "data_transfer": transfer,
        "peers": compared,
    }
    write("cost", "make bench-cost", rounded(figures))
    show("AWS's cost of 1,000 photos", ["", "USD"], [*([n, c] for n, c in costs.items()), ["sum", total]])
    show("Alternatives", ["", "USD"], [[name, one["usd_per_1000"]] for name, one in compared.items()])
    _plot(total, compared, costs)


def _plot(total: float, compared: dict[str, dict[str, Any]], costs: dict[str, float]) -> None:
    made, (left, right) = figure(2)
    parts = sorted(costs.items(), key=lambda one: one[1])
    left.barh([name for name, _ in parts], [cost for _, cost in parts], color=OURS)
    left.set(xlabel="USD per 1,000 photos")
    left.set_title("AWS's cost of Lumendrop", color=GREY)
    names = ["Lumendrop", *compared]
    values = [total, *(one["usd_per_1000"] for one in compared.values())]
    right.barh([_short(name) for name in reversed(names)], values[::-1], color=[*[PEER] * len(compared), OURS])
    right.set(xscale="log", xlabel="USD per 1,000 photos")
    right.set_title("alternatives", color=GREY)
    save_plot("cost", made)


def _short(name: str) -> str:
    return name.replace(" that sleeps while it polls", ", sleeping").replace(" of 0.25 vCPU, always on,", "")


if __name__ == "__main__":
    main()
