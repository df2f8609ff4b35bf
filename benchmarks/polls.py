"""CPU time and memory of one poll of check_status, measured in the sandbox's runtime."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from benchmarks.prices import PRICES
from sandbox.aws.cloud import Cloud
from sandbox.demo.start import sandbox

_POLLS = 40
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Usage:
    """The CPU seconds and the peak memory in MiB of a function's processes so far."""

    cpu: float
    peak: float


def usage(cloud: Cloud, logical_id: str) -> Usage:
    """The usage of a function's running environments so far. Linux only."""
    pool = cloud._pools[cloud.resources[logical_id]]
    used = [_of_process(environment._process.pid) for environment in list(pool._all)]
    return Usage(sum(one.cpu for one in used), max((one.peak for one in used), default=0.0))


def _of_process(pid: int) -> Usage:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    peak = next(
        line
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        if line.startswith("VmHWM")
    )
    return Usage((int(fields[11]) + int(fields[12])) / _TICKS, int(peak.split()[1]) / 1024)


def cpu_share(memory: int) -> float:
    """The share of a vCPU that Lambda assigns to a function with `memory` MB."""
    return float(min(1.0, memory / PRICES["lambda"]["full_cpu_mb"]))


def measure_poll() -> dict[str, Any]:
    """One poll in a warm function: CPU seconds, peak memory in MiB, and CPU seconds of a cold start."""
    with sandbox({"Resolution": "1K"}) as running:
        task = _endless_task(running.enhancer, running.cloud)
        now = int(time.time())
        event = {
            "task": {"id": task, "submitted_at": now, "deadline": now + 3600, "estimated_seconds": 45},
            "poll": {"lambda_throttled": True},  # one poll per invocation
            "correlation_id": "benchmark",
        }
        running.cloud.invoke("CheckStatusFunction", event)
        cold = usage(running.cloud, "CheckStatusFunction")
        for _ in range(_POLLS):
            running.cloud.invoke("CheckStatusFunction", event)
        warm = usage(running.cloud, "CheckStatusFunction")
    return {
        "cold_start_cpu_seconds": cold.cpu,
        "poll_cpu_seconds": (warm.cpu - cold.cpu) / _POLLS,
        "peak_mib": warm.peak,
        "polls": _POLLS,
    }


def _endless_task(enhancer: str, cloud: Cloud) -> str:
    plan = {"seed": 1, "task": {"rates": [{"rate": 1, "fault": {"end": "never"}}]}}
    requests.put(f"{enhancer}/_sandbox/faults", json=plan, timeout=10).raise_for_status()
    secret = cloud.client("secretsmanager").get_secret_value(SecretId=cloud.outputs["KeySecretArn"])["SecretString"]
    response = requests.post(
        f"{enhancer}/v1/images/generations",
        json={"model": "phota-image-enhance", "image_url": "https://photos.test/a.jpg"},
        headers={"Authorization": f"Bearer {secret}"},
        timeout=10,
    )
    response.raise_for_status()
    return str(response.json()["id"])


def median(values: Iterable[float]) -> float:
    ordered = sorted(values)
    return ordered[len(ordered) // 2]
