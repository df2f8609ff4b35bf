"""The layer's polling schedule compared with alternatives: cost per task, and delay until its end is detected."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from benchmarks.plots import GREY, LIMIT, OURS, PEER, figure, rounded, save_plot, show
from benchmarks.polls import cpu_share, measure_poll
from benchmarks.prices import PRICES
from benchmarks.results import write
from benchmarks.tasks import DISTRIBUTIONS, SimulatedTask, draw
from benchmarks.template import function
from lumendrop import polling
from lumendrop.polling import Poll, Task

SEED = 1
TASKS = 1000
PATIENCE_SECONDS = 3600
SHORT_SECONDS = 120
# Assumed, because they can't be measured here: a round trip to the vendor with a TLS handshake, and the time that Step
# Functions takes for a transition.
ROUND_TRIP_SECONDS = 0.15
TRANSITION_SECONDS = 0.05
TRANSITIONS = 3
# The time that functions/check_status/app.py reserves for the longest poll.
LONGEST_POLL_SECONDS = 30
BUDGETS = (0, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300)


@dataclass(frozen=True)
class Detection:
    """How the end of a task is detected: delay in seconds, USD, polls, seconds of the function."""

    delay: float
    cost: float
    polls: int
    function_seconds: float


@dataclass(frozen=True)
class Setup:
    """The seconds of one poll, the memory of the function in MB, and the seconds of polling per invocation."""

    poll_seconds: float
    memory: int
    budget: float

    def cost(self, iterations: int, function_seconds: float) -> float:
        """USD of the workflow's iterations and the seconds of check_status."""
        gigabyte_seconds = function_seconds * self.memory / 1024
        transitions = iterations * TRANSITIONS * PRICES["step_functions"]["transition"]
        calls = iterations * PRICES["lambda"]["request"]
        return float(transitions + calls + gigabyte_seconds * PRICES["lambda"]["gb_second"])


Schedule = Callable[[SimulatedTask, Setup], Detection]


def ours(task: SimulatedTask, setup: Setup) -> Detection:
    """The workflow's loop with the layer's polling."""
    polled = Task("task-1", 0, PATIENCE_SECONDS, task.estimate)
    poll = Poll(wait_seconds=polling.first_wait(task.estimate))
    clock, iterations, function_seconds = [0.0], 0, 0.0

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def poll_once(poll: Poll) -> Poll:
        now = clock[0]
        sleep(setup.poll_seconds)
        poll = msgspec.structs.replace(poll, polls=poll.polls + 1)
        if now >= task.seconds:
            return msgspec.structs.replace(poll, state="completed")
        poll = polling.update_estimate(polled, poll, task.progress(now / task.seconds), now)
        return msgspec.structs.replace(poll, wait_seconds=polling.next_wait(polled, poll, now))

    while poll.state == "waiting" and clock[0] < PATIENCE_SECONDS:
        sleep(poll.wait_seconds + TRANSITIONS * TRANSITION_SECONDS)
        begun = clock[0]
        poll = polling.watch(polled, poll, poll_once, begun + setup.budget, lambda: clock[0], sleep)
        function_seconds += clock[0] - begun
        iterations += 1
    return Detection(clock[0] - task.seconds, setup.cost(iterations, function_seconds), poll.polls, function_seconds)


def one_poll_per_iteration(waits: Callable[[SimulatedTask], Iterator[float]]) -> Schedule:
    """A loop of Wait, one poll, and Choice with these waits; Step Functions waits whole seconds."""

    def schedule(task: SimulatedTask, setup: Setup) -> Detection:
        now, iterations = 0.0, 0
        for wait in waits(task):
            iterations += 1
            now += math.ceil(wait) + TRANSITIONS * TRANSITION_SECONDS
            polled_at = now
            now += setup.poll_seconds
            if polled_at >= task.seconds:
                break
        spent = iterations * setup.poll_seconds
        return Detection(now - task.seconds, setup.cost(iterations, spent), iterations, spent)

    return schedule


def ideal(task: SimulatedTask, setup: Setup) -> Detection:
    """One iteration that polls exactly when the task ends."""
    return Detection(setup.poll_seconds, setup.cost(1, setup.poll_seconds), 1, setup.poll_seconds)


def _fixed(seconds: float) -> Schedule:
    return one_poll_per_iteration(lambda _: itertools.repeat(seconds))


def _exponential(_: SimulatedTask) -> Iterator[float]:
    return (min(60.0, 2.0 * 2**n) for n in itertools.count())


def _full_jitter(task: SimulatedTask) -> Iterator[float]:
    random = Random(str(task.seconds))  # noqa: S311  # a simulation, no secret
    return (random.uniform(0, min(20.0, 2.0 * 1.5 ** min(n, 20))) for n in itertools.count())


def _estimate_then_ten(task: SimulatedTask) -> Iterator[float]:
    return itertools.chain([task.estimate or 10.0], itertools.repeat(10.0))


PEERS: dict[str, Schedule] = {
    **{f"every {seconds} s": _fixed(seconds) for seconds in (5, 8, 10, 30, 60)},
    "exponential 2 to 60 s": one_poll_per_iteration(_exponential),
    "full jitter, 1.5x to 20 s": one_poll_per_iteration(_full_jitter),
    "the estimate, then every 10 s": one_poll_per_iteration(_estimate_then_ten),
}


def results(schedule: Schedule, setup: Setup) -> dict[str, dict[str, float]]:
    """The figures of a schedule for each distribution, and their mean."""
    rows = {}
    for name in DISTRIBUTIONS:
        tasks = list(draw(name, TASKS, SEED))
        found = [schedule(task, setup) for task in tasks]
        short = sorted(one.delay for one, task in zip(found, tasks, strict=True) if task.seconds < SHORT_SECONDS)
        rows[name] = {
            "usd_per_1000": statistics.mean(one.cost for one in found) * 1000,
            "delay_seconds": statistics.mean(one.delay for one in found),
            "short_delay_seconds": statistics.mean(short),
            "short_delay_p95_seconds": short[int(0.95 * len(short))],
            "polls": statistics.mean(one.polls for one in found),
            "function_seconds": statistics.mean(one.function_seconds for one in found),
        }
    rows["mean"] = {key: statistics.mean(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    return rows


def envelope(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower left convex hull of points (delay, cost), which a mix of the schedules can reach."""
    hull: list[tuple[float, float]] = []
    for point in sorted(points):
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    return hull


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0


def cost_at_delay(hull: list[tuple[float, float]], delay: float) -> float:
    """The lowest cost of the envelope at a delay; below its first point, that point's cost."""
    if delay <= hull[0][0]:
        return hull[0][1]
    for (left, high), (right, low) in itertools.pairwise(hull):
        if delay <= right:
            return high + (low - high) * (delay - left) / (right - left)
    return hull[-1][1]


def main() -> None:
    poll = measure_poll()
    properties = function("CheckStatusFunction")
    memory = int(properties["MemorySize"])
    poll_seconds = ROUND_TRIP_SECONDS + poll["poll_cpu_seconds"] / cpu_share(memory)
    setup = Setup(poll_seconds, memory, int(properties["Timeout"]) - LONGEST_POLL_SECONDS)
    peers = {name: results(peer, setup) for name, peer in PEERS.items()}
    mine, limit = results(ours, setup), results(ideal, setup)
    split = {budget: results(ours, Setup(poll_seconds, memory, budget))["mean"] for budget in BUDGETS}
    hull = envelope([(row["mean"]["delay_seconds"], row["mean"]["usd_per_1000"]) for row in peers.values()])
    same = cost_at_delay(hull, mine["mean"]["delay_seconds"])
    figures = {
        "seed": SEED,
        "prices": PRICES["checked"].isoformat(),
        "tasks_per_distribution": TASKS,
        "poll": poll | {"seconds": poll_seconds, "memory_mb": memory, "polling_seconds": setup.budget},
        "assumed": {"round_trip_seconds": ROUND_TRIP_SECONDS, "transition_seconds": TRANSITION_SECONDS},
        "ours": mine,
        "peers": peers,
        "ideal": limit,
        "split": {str(budget): row for budget, row in split.items()},
        "peers_at_our_delay_usd_per_1000": same,
    }
    write("polling", "make bench-polling", rounded(figures))
    _show(mine, peers, limit, split)
    _plot(mine, peers, limit, split, hull)


def _show(mine: Any, peers: Any, limit: Any, split: Any) -> None:
    columns = ["", "USD / 1,000", "delay, s", "delay < 2 min, s", "p95", "polls", "function, s"]
    schedules = {"Lumendrop": mine, **peers, "ideal": limit}
    show("Polling, mean over the distributions", columns, [[n, *r["mean"].values()] for n, r in schedules.items()])
    show("Lumendrop by distribution", columns, [[name, *row.values()] for name, row in mine.items()])
    show("Seconds of polling in one invocation", columns, [[str(n), *row.values()] for n, row in split.items()])


def _plot(mine: Any, peers: Any, limit: Any, split: Any, hull: list[tuple[float, float]]) -> None:
    made, (left, right) = figure(2)
    left.plot(*zip(*hull, strict=True), color=GREY, linewidth=0.8, linestyle="--")
    for name, row in peers.items():
        _point(left, name, row["mean"], PEER)
    _point(left, "Lumendrop", mine["mean"], OURS)
    _point(left, "ideal", limit["mean"], LIMIT)
    left.set(
        xscale="log", yscale="log", xlabel="seconds until the end of a task is detected", ylabel="USD per 1,000 tasks"
    )
    left.set_title("cost against delay, mean over the distributions", color=GREY)
    budgets = list(split)
    right.plot(budgets, [row["usd_per_1000"] for row in split.values()], color=OURS, marker="o", markersize=3)
    right.set(xlabel="seconds of polling in one invocation", ylabel="USD per 1,000 tasks", ylim=(0, None))
    right.set_title("cost by polling time per invocation", color=GREY)
    save_plot("polling", made)


def _point(axes: Any, name: str, row: dict[str, float], colour: str) -> None:
    at = (row["delay_seconds"], row["usd_per_1000"])
    axes.scatter(*at, color=colour, s=24, zorder=3)
    axes.annotate(name, at, xytext=(5, 4), textcoords="offset points", color=colour, fontsize=7.5)


if __name__ == "__main__":
    main()
