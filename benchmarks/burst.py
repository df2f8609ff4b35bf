"""Many uploads at once and a vendor with limits: a simulation of the rate limiter, and a real run in the sandbox."""

from __future__ import annotations

import heapq
import math
import random
import statistics
import time
import tracemalloc
from collections import Counter, deque
from collections.abc import Generator
from dataclasses import dataclass, field
from random import Random
from typing import Any

import requests
import simpy
from rich.progress import track

from benchmarks.plots import GREY, LIMIT, OURS, PEER, figure, rounded, save_plot, show
from benchmarks.prices import PRICES
from benchmarks.results import write
from benchmarks.tasks import ESTIMATE_SECONDS
from lumendrop import polling, upload_queue
from lumendrop.polling import Poll, Task
from lumendrop.rate_limiter import RateLimiter, State
from sandbox.demo.start import Sandbox, sandbox

SEED = 1
# As in functions/submit/app.py.
SUBMIT_WINDOW_SECONDS = 20
REFUSED_SECONDS = 1
RECHECK_SECONDS = 5
# Assumed durations: submit before the POST, the POST, submit after the POST.
BEFORE_SECONDS, POST_SECONDS, AFTER_SECONDS = 0.25, 0.6, 0.1
SPREAD = 0.3
SIGMA = 0.35
# One of this many uploads is polled, because each takes about fifteen polls.
POLLED_SHARE = {1_000: 1, 100_000: 50, 1_000_000: 500}
PHOTOS = 1_000
PHOTO_SECONDS = 480
_GOALS = {"drain": 1.1, "wasted": 0.02}


@dataclass(frozen=True)
class Scenario:
    """The limits of a vendor.

    `rate`: tasks per second; with `window`, the tasks of that many seconds at the start of each window.
    `concurrency`: concurrent tasks. `outage`: its start and end, as shares of the drain time.
    `ambiguous`: in the outage, photos get no clear answer, so each is unknown and not sent again.
    `random_refusals`: the share of calls that are refused at random.
    """

    name: str
    rate: float | None = None
    window: float | None = None
    concurrency: int | None = None
    outage: tuple[float, float] | None = None
    ambiguous: bool = False
    random_refusals: float = 0.0
    functions: int = 5


SCENARIOS = [
    Scenario("2 tasks a second", rate=2),
    Scenario("10 tasks a second, 20 functions", rate=10, functions=20),
    Scenario("60 tasks in each minute", rate=1, window=60),
    Scenario("50 tasks at a time", concurrency=50),
    Scenario("500 tasks at a time, 20 functions", concurrency=500, functions=20),
    Scenario("2 tasks a second, away for a fifth of the time", rate=2, outage=(0.2, 0.4)),
    Scenario("2 tasks a second, no clear answers for a fifth of the time", rate=2, outage=(0.2, 0.4), ambiguous=True),
    Scenario("no limit, 3 % refused at random", random_refusals=0.03),
]
# Runs by number of uploads, each with another seed. Small bursts vary more; a large one takes minutes.
BURSTS = {1_000: 20, 100_000: 3, 1_000_000: 1}
_TRACED = 100_000  # tracing larger bursts takes too long


@dataclass
class Store:
    """The rate limiter's row as DynamoDB keeps it: one conditional write at a time."""

    state: State | None = None
    writes: int = 0

    def read(self) -> State | None:
        return self.state

    def write(self, new: State, previous: State | None) -> bool:
        self.writes += 1
        if self.state != previous:
            return False
        self.state = new
        return True


@dataclass
class Vendor:
    """Accepts a submit, or responds with 429, 502, or 503."""

    scenario: Scenario
    random: Random
    outage: tuple[float, float]
    running: list[float] = field(default_factory=list)
    tokens: float = 0.0
    filled_at: float = 0.0
    answers: Counter[int] = field(default_factory=Counter)

    def submit(self, now: float) -> tuple[int, float]:
        """The status, and the end of the task."""
        status = self._status(now)
        self.answers[status] += 1
        ends = now + self.random.lognormvariate(math.log(ESTIMATE_SECONDS), SIGMA)
        if status == 200 and self.scenario.concurrency:
            heapq.heappush(self.running, ends)
        return status, ends

    def is_away(self, now: float) -> bool:
        return self.outage[0] <= now < self.outage[1]

    def _status(self, now: float) -> int:
        if self.is_away(now):
            return 502 if self.scenario.ambiguous else 503
        if self.scenario.random_refusals and self.random.random() < self.scenario.random_refusals:
            return 429
        while self.running and self.running[0] <= now:
            heapq.heappop(self.running)
        if self.scenario.concurrency and len(self.running) >= self.scenario.concurrency:
            return 429
        if self.scenario.rate:
            self._fill(self.scenario.rate, now)
            if self.tokens < 1:
                return 429
            self.tokens -= 1
        return 200

    def _fill(self, rate: float, now: float) -> None:
        """Refills the token bucket, continuously or once per window."""
        if window := self.scenario.window:
            begins = now // window * window
            if begins >= self.filled_at:
                self.tokens, self.filled_at = rate * window, begins + window
        else:
            filled = self.tokens + (now - self.filled_at) * rate
            self.tokens, self.filled_at = min(max(1.0, rate), filled), now


class Burst:
    """A simulation from `uploads` messages in the queue until the last upload is submitted and polled."""

    def __init__(self, scenario: Scenario, uploads: int, run: int) -> None:
        self.env = simpy.Environment()
        self.random = Random(f"{scenario.name} {uploads} {SEED} {run}")  # noqa: S311  # a simulation, no secret
        self.uploads = uploads
        self.limit = limit(scenario, uploads)
        start, end = scenario.outage or (0.0, 0.0)
        self.vendor = Vendor(scenario, self.random, (start * self.limit, end * self.limit))
        self.limit += (end - start) * self.limit
        self.store = Store()
        self.ready = deque((upload, 0) for upload in range(uploads))
        self.delayed: list[tuple[float, int, int]] = []
        self.submitted = self.unknown = self.requeued = self.max_requeues = self.polled = self.polls = 0
        self.drained_at = 0.0
        self.delays: list[float] = []
        self.polled_share = POLLED_SHARE.get(uploads, 1)
        for _ in range(scenario.functions):
            self.env.process(self._function(scenario.functions))

    def run(self) -> None:
        self.env.run()

    def _duration(self, seconds: float) -> float:
        return seconds * self.random.uniform(1 - SPREAD, 1 + SPREAD)

    def _function(self, functions: int) -> Generator[simpy.Event, None, None]:
        """One warm environment of submit, as in functions/submit/app.py."""
        limiter = RateLimiter(self.store, functions, lambda: self.env.now)
        while self.submitted + self.unknown < self.uploads:
            received = self._receive()
            if received is None:
                next_at = self.delayed[0][0] if self.delayed else self.env.now + 1
                yield self.env.timeout(max(0.02, next_at - self.env.now))
                continue
            upload, requeues = received
            yield self.env.timeout(self._duration(BEFORE_SECONDS))
            if not (yield from self._submit_with_backoff(limiter, upload)):
                self.requeued += 1
                self._requeue(upload, requeues)
            yield self.env.timeout(self._duration(AFTER_SECONDS))

    def _submit_with_backoff(self, limiter: RateLimiter, upload: int) -> Generator[simpy.Event, Any, bool]:
        until = self.env.now + SUBMIT_WINDOW_SECONDS
        while (yield from self._acquire(limiter, until)):
            if limiter.must_probe and not (yield from self._probe(limiter)):
                continue
            limiter.on_send()
            yield self.env.timeout(self._duration(POST_SECONDS) / 2)
            status, ends = self.vendor.submit(self.env.now)
            yield self.env.timeout(self._duration(POST_SECONDS) / 2)
            if status == 200:
                limiter.on_accepted()
                self._submit_done(upload, ends)
                return True
            if status == 502:
                limiter.on_throttled(too_fast=False, ambiguous=True)
                self.unknown += 1
                return True
            too_fast = status == 429
            limiter.on_throttled(REFUSED_SECONDS if too_fast else 0, too_fast=too_fast)
            yield self.env.timeout(REFUSED_SECONDS)
        return False

    def _probe(self, limiter: RateLimiter) -> Generator[simpy.Event, Any, bool]:
        """The request that costs nothing."""
        yield self.env.timeout(self._duration(POST_SECONDS))
        if not self.vendor.is_away(self.env.now):
            return True
        limiter.on_throttled(too_fast=False)
        yield self.env.timeout(REFUSED_SECONDS)
        return False

    def _acquire(self, limiter: RateLimiter, until: float) -> Generator[simpy.Event, None, bool]:
        """As RateLimiter.wait."""
        while True:
            wait = limiter.acquire(until - self.env.now)
            if wait is not None:
                yield self.env.timeout(wait)
                if not wait or limiter.is_still_valid():
                    return True
            elif self.env.now >= until:
                return False
            else:
                yield self.env.timeout(min(until - self.env.now, RECHECK_SECONDS))

    def _receive(self) -> tuple[int, int] | None:
        while self.delayed and self.delayed[0][0] <= self.env.now:
            _, upload, requeues = heapq.heappop(self.delayed)
            self.ready.append((upload, requeues))
        return self.ready.popleft() if self.ready else None

    def _requeue(self, upload: int, requeues: int) -> None:
        delay = upload_queue.delay(requeues)
        self.max_requeues = max(self.max_requeues, requeues + 1)
        heapq.heappush(self.delayed, (self.env.now + delay, upload, requeues + 1))

    def _submit_done(self, upload: int, ends: float) -> None:
        self.submitted += 1
        self.drained_at = self.env.now
        if upload % self.polled_share == 0:
            self.env.process(self._poll(int(self.env.now), ends))

    def _poll(self, submitted_at: int, ends: float) -> Generator[simpy.Event, None, None]:
        """The layer's schedule, poll by poll; it does not matter whether the function or the workflow waits."""
        task = Task("task-1", submitted_at, submitted_at + 3600, ESTIMATE_SECONDS)
        wait = polling.first_wait(task.estimated_seconds)
        polls = 0
        while True:
            yield self.env.timeout(wait)
            polls += 1
            if self.env.now >= ends:
                break
            wait = polling.next_wait(task, Poll(polls=polls), self.env.now)
        self.polled += 1
        self.polls += polls
        self.delays.append(self.env.now - ends)


def limit(scenario: Scenario, uploads: int) -> float:
    """Seconds until an ideal client, which knows when the vendor has capacity, submits the last upload."""
    random = Random(SEED)  # noqa: S311  # a simulation, no secret
    speed = scenario.functions / (BEFORE_SECONDS + POST_SECONDS + AFTER_SECONDS)
    interval = 1 / min(speed, scenario.rate or speed)
    if not scenario.concurrency:
        return uploads * interval
    now, running = 0.0, list[float]()
    for _ in range(uploads):
        now += interval
        if len(running) == scenario.concurrency:
            now = max(now, heapq.heappop(running))
        heapq.heappush(running, now + random.lognormvariate(math.log(ESTIMATE_SECONDS), SIGMA))
    return now


def simulate(scenario: Scenario, uploads: int) -> dict[str, Any]:
    """The median run and the worst run."""
    runs = [simulate_once(scenario, uploads, run) for run in track(range(BURSTS[uploads]), scenario.name)]
    median: dict[str, Any] = {"scenario": scenario.name}
    for name in list(runs[0])[1:]:
        values = [run[name] for run in runs if run[name] is not None]
        median[name] = statistics.median_low(values) if values else None
    worst = {f"worst_{name}": max(run[name] for run in runs) for name in ("drain_of_limit", "wasted_share")}
    return median | worst | {"runs": len(runs)}


def simulate_once(scenario: Scenario, uploads: int, run: int) -> dict[str, Any]:
    random.seed(f"{SEED} {run}")
    if uploads <= _TRACED and scenario is SCENARIOS[0] and not run:
        tracemalloc.start()
    begun = time.monotonic()
    burst = Burst(scenario, uploads, run)
    burst.run()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    calls = sum(burst.vendor.answers.values())
    return {
        "scenario": scenario.name,
        "limited": not scenario.random_refusals,
        "uploads": uploads,
        "limit_seconds": burst.limit,
        "drain_seconds": burst.drained_at,
        "drain_of_limit": burst.drained_at / burst.limit,
        "submit_calls": calls,
        "wasted_share": (calls - burst.vendor.answers[200]) / calls,
        "refused_429": burst.vendor.answers[429],
        "refused_503": burst.vendor.answers[503],
        "unanswered_502": burst.vendor.answers[502],
        "submitted": burst.submitted,
        "unknown": burst.unknown,
        "calls_per_upload": calls / uploads,
        "queue_rounds_per_upload": (calls + burst.requeued) / uploads,
        "max_requeues": burst.max_requeues,
        "limiter_writes_per_upload": burst.store.writes / uploads,
        "polls_per_task": burst.polls / max(1, burst.polled),
        "delay_seconds": statistics.mean(burst.delays),
        "bytes_per_upload": peak / uploads if peak else None,
        "simulated_in_seconds": time.monotonic() - begun,
    }


# ---------------------------------------------------------------- a real run


def real_run() -> dict[str, Any]:
    """Processes a thousand small photos in the sandbox: one task, one execution, and one result each."""
    photo = _small_photo()
    arguments = ["--task-seconds", "0.2", "--credits", "1000000"]
    parameters = {"Resolution": "1K", "MaxConcurrentSubmits": "4", "MaxWaitMinutes": "60"}
    with sandbox(parameters, enhancer_arguments=arguments) as running:
        cloud = running.cloud
        s3, bucket = cloud.client("s3"), cloud.outputs["InputBucketName"]
        begun = time.monotonic()
        for number in range(PHOTOS):
            body = photo + str(number).encode()  # no two are the same photo
            s3.put_object(Bucket=bucket, Key=f"{number % 16:x}/{number}.jpg", Body=body)
        uploaded = time.monotonic() - begun
        while (done := _outputs(running)) < PHOTOS and time.monotonic() - begun < PHOTO_SECONDS:
            time.sleep(1)
        seconds = time.monotonic() - begun
        tasks = requests.get(f"{running.enhancer}/_sandbox/tasks", timeout=60).json()
        images = Counter((task["image"], task["version_id"]) for task in tasks)
        dead = cloud.client("sqs").get_queue_attributes(
            QueueUrl=cloud.outputs["DeadLetterQueueUrl"], AttributeNames=["ApproximateNumberOfMessages"]
        )["Attributes"]["ApproximateNumberOfMessages"]
    return {
        "photos": PHOTOS,
        "enhanced": done,
        "tasks": len(tasks),
        "photos_with_more_than_one_task": sum(count > 1 for count in images.values()),
        "in_the_dead_letter_queue": int(dead),
        "seconds_to_upload": uploaded,
        "seconds": seconds,
        "photos_per_minute": done / seconds * 60,
        "seconds_per_photo": seconds / max(1, done),
    }


def _small_photo() -> bytes:
    import pyvips

    image = pyvips.Image.gaussnoise(96, 64, mean=128, sigma=30, seed=SEED).cast("uchar")
    return bytes(image.jpegsave_buffer())


def _outputs(running: Sandbox) -> int:
    pages = (
        running.cloud.client("s3")
        .get_paginator("list_objects_v2")
        .paginate(Bucket=running.cloud.outputs["OutputBucketName"])
    )
    return sum(len(page.get("Contents", [])) for page in pages)


def main() -> None:
    found = [simulate(scenario, uploads) for uploads in BURSTS for scenario in SCENARIOS]
    run = real_run()
    figures = {"seed": SEED, "prices": PRICES["checked"].isoformat(), "goals": _GOALS}
    assumed = {"before_seconds": BEFORE_SECONDS, "post_seconds": POST_SECONDS, "after_seconds": AFTER_SECONDS}
    write("burst", "make bench-burst", rounded(figures | {"assumed": assumed, "simulated": found, "sandbox": run}))
    columns = ["", "uploads", "drain / limit", "worst", "wasted", "worst", "calls / upload", "bytes / upload"]
    shares = ("drain_of_limit", "worst_drain_of_limit", "wasted_share", "worst_wasted_share")
    keys = ("uploads", *shares, "calls_per_upload", "bytes_per_upload")
    show("Bursts, simulated", columns, [[one["scenario"], *(one[key] for key in keys)] for one in found])
    show("1,000 photos through the sandbox", ["", ""], [[name, value] for name, value in run.items()])
    _plot(found)


def _plot(found: list[dict[str, Any]]) -> None:
    made, (left, right) = figure(2)
    limited = [scenario for scenario in SCENARIOS if not scenario.random_refusals]
    for scenario, colour in zip(limited, (OURS, LIMIT, PEER, "#b05cc6", "#c65c6e", "#4fb3bf", "#8a7a3c"), strict=True):
        rows = [one for one in found if one["scenario"] == scenario.name]
        uploads = [one["uploads"] for one in rows]
        left.plot(uploads, [one["drain_of_limit"] for one in rows], color=colour, marker="o", markersize=4)
        right.plot(uploads, [100 * one["wasted_share"] for one in rows], color=colour, marker="o", markersize=4)
        right.plot([], [], color=colour, label=scenario.name)
    left.axhline(_GOALS["drain"], color=GREY, linewidth=0.8, linestyle="--")
    right.axhline(100 * _GOALS["wasted"], color=GREY, linewidth=0.8, linestyle="--")
    left.set(xscale="log", xlabel="uploads at once", ylabel="drain time / the vendor's limit", ylim=(1, None))
    right.set(xscale="log", xlabel="uploads at once", ylabel="wasted calls, %", ylim=(0, None))
    right.legend(fontsize=7)
    save_plot("burst", made)


if __name__ == "__main__":
    main()
