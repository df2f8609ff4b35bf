"""The layer's polling schedule against what is used instead: AWS's cost of a task, and how late its end is seen."""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import msgspec

from benchmarks.looks import cpu_share, measured_look
from benchmarks.plots import GREY, LIMIT, OURS, PEER, figure, rounded, save_plot, show
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
# Assumed, since nothing here can measure them: the way to the vendor and back with a TLS handshake, and what Step
# Functions itself takes for a transition.
ROUND_TRIP_SECONDS = 0.15
TRANSITION_SECONDS = 0.05
TRANSITIONS = 3
# What a look keeps back for its worst case, as functions/check_status/app.py has it.
LONGEST_LOOK_SECONDS = 30
BUDGETS = (0, 5, 10, 20, 30, 45, 60, 90, 120, 180, 300)


@dataclass(frozen=True)
class Seen:
    """How a task was seen to end: seconds late, USD, looks at the vendor, seconds of the function."""

    late: float
    cost: float
    looks: int
    function_seconds: float


@dataclass(frozen=True)
class World:
    """What a look takes in seconds, what the function has of memory in MB, and how long it may look in seconds."""

    look_seconds: float
    memory: int
    budget: float

    def cost(self, rounds: int, function_seconds: float) -> float:
        """USD of so many rounds of the workflow and so many seconds of check_status."""
        gigabyte_seconds = function_seconds * self.memory / 1024
        transitions = rounds * TRANSITIONS * PRICES["step_functions"]["transition"]
        calls = rounds * PRICES["lambda"]["request"]
        return float(transitions + calls + gigabyte_seconds * PRICES["lambda"]["gb_second"])


Watch = Callable[[SimulatedTask, World], Seen]


def ours(task: SimulatedTask, world: World) -> Seen:
    """The workflow's loop around the layer's own watching."""
    asked = Task("task-1", 0, PATIENCE_SECONDS, task.estimate)
    poll = Poll(wait_seconds=polling.first_wait(task.estimate))
    clock, rounds, function_seconds = [0.0], 0, 0.0

    def sleep(seconds: float) -> None:
        clock[0] += seconds

    def look(poll: Poll) -> Poll:
        now = clock[0]
        sleep(world.look_seconds)
        poll = msgspec.structs.replace(poll, polls=poll.polls + 1)
        if now >= task.seconds:
            return msgspec.structs.replace(poll, state="completed")
        poll = polling.update_estimate(asked, poll, task.progress(now / task.seconds), now)
        return msgspec.structs.replace(poll, wait_seconds=polling.next_wait(asked, poll, now))

    while poll.state == "waiting" and clock[0] < PATIENCE_SECONDS:
        sleep(poll.wait_seconds + TRANSITIONS * TRANSITION_SECONDS)
        begun = clock[0]
        poll = polling.watch(asked, poll, look, begun + world.budget, lambda: clock[0], sleep)
        function_seconds += clock[0] - begun
        rounds += 1
    return Seen(clock[0] - task.seconds, world.cost(rounds, function_seconds), poll.polls, function_seconds)


def one_look_a_round(waits: Callable[[SimulatedTask], Iterator[float]]) -> Watch:
    """A loop of Wait, a look, Choice, with these waits; Step Functions waits whole seconds."""

    def watch(task: SimulatedTask, world: World) -> Seen:
        now, rounds = 0.0, 0
        for wait in waits(task):
            rounds += 1
            now += math.ceil(wait) + TRANSITIONS * TRANSITION_SECONDS
            looked_at = now
            now += world.look_seconds
            if looked_at >= task.seconds:
                break
        spent = rounds * world.look_seconds
        return Seen(now - task.seconds, world.cost(rounds, spent), rounds, spent)

    return watch


def ideal(task: SimulatedTask, world: World) -> Seen:
    """One round that looks at the very moment at which the task ends."""
    return Seen(world.look_seconds, world.cost(1, world.look_seconds), 1, world.look_seconds)


def _fixed(seconds: float) -> Watch:
    return one_look_a_round(lambda _: itertools.repeat(seconds))


def _exponential(_: SimulatedTask) -> Iterator[float]:
    return (min(60.0, 2.0 * 2**n) for n in itertools.count())


def _full_jitter(task: SimulatedTask) -> Iterator[float]:
    random = Random(str(task.seconds))  # noqa: S311  # a simulation, no secret
    return (random.uniform(0, min(20.0, 2.0 * 1.5 ** min(n, 20))) for n in itertools.count())


def _estimate_then_ten(task: SimulatedTask) -> Iterator[float]:
    return itertools.chain([task.estimate or 10.0], itertools.repeat(10.0))


PEERS: dict[str, Watch] = {
    **{f"every {seconds} s": _fixed(seconds) for seconds in (5, 8, 10, 30, 60)},
    "exponential 2 to 60 s": one_look_a_round(_exponential),
    "full jitter, 1.5x to 20 s": one_look_a_round(_full_jitter),
    "the estimate, then every 10 s": one_look_a_round(_estimate_then_ten),
}


def results(watch: Watch, world: World) -> dict[str, dict[str, float]]:
    """The figures of a schedule for each distribution, and their mean."""
    rows = {}
    for name in DISTRIBUTIONS:
        tasks = list(draw(name, TASKS, SEED))
        seen = [watch(task, world) for task in tasks]
        short = sorted(one.late for one, task in zip(seen, tasks, strict=True) if task.seconds < SHORT_SECONDS)
        rows[name] = {
            "usd_per_1000": statistics.mean(one.cost for one in seen) * 1000,
            "delay_seconds": statistics.mean(one.late for one in seen),
            "short_delay_seconds": statistics.mean(short),
            "short_delay_p95_seconds": short[int(0.95 * len(short))],
            "polls": statistics.mean(one.looks for one in seen),
            "function_seconds": statistics.mean(one.function_seconds for one in seen),
        }
    rows["mean"] = {key: statistics.mean(row[key] for row in rows.values()) for key in next(iter(rows.values()))}
    return rows


def envelope(points: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """The lower left convex hull of points (delay, cost): what a mix of the schedules could reach."""
    hull: list[tuple[float, float]] = []
    for point in sorted(points):
        while len(hull) > 1 and _turns_right(hull[-2], hull[-1], point):
            hull.pop()
        if not hull or point[1] < hull[-1][1]:
            hull.append(point)
    return hull


def _turns_right(a: tuple[float, float], b: tuple[float, float], c: tuple[float, float]) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]) <= 0


def at_the_same_delay(hull: list[tuple[float, float]], delay: float) -> float:
    """The least cost of the envelope at a delay; that of its first point for shorter ones."""
    if delay <= hull[0][0]:
        return hull[0][1]
    for (left, high), (right, low) in itertools.pairwise(hull):
        if delay <= right:
            return high + (low - high) * (delay - left) / (right - left)
    return hull[-1][1]


def main() -> None:
    look = measured_look()
    properties = function("CheckStatusFunction")
    memory = int(properties["MemorySize"])
    look_seconds = ROUND_TRIP_SECONDS + look["look_cpu_seconds"] / cpu_share(memory)
    world = World(look_seconds, memory, int(properties["Timeout"]) - LONGEST_LOOK_SECONDS)
    peers = {name: results(peer, world) for name, peer in PEERS.items()}
    mine, limit = results(ours, world), results(ideal, world)
    split = {budget: results(ours, World(look_seconds, memory, budget))["mean"] for budget in BUDGETS}
    hull = envelope([(row["mean"]["delay_seconds"], row["mean"]["usd_per_1000"]) for row in peers.values()])
    same = at_the_same_delay(hull, mine["mean"]["delay_seconds"])
    figures = {
        "seed": SEED,
        "prices": PRICES["checked"].isoformat(),
        "tasks_per_distribution": TASKS,
        "look": look | {"seconds": look_seconds, "memory_mb": memory, "watching_seconds": world.budget},
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
    columns = ["", "USD / 1,000", "late, s", "late < 2 min, s", "p95", "polls", "function, s"]
    everybody = {"Lumendrop": mine, **peers, "ideal": limit}
    show("Polling, mean over the distributions", columns, [[n, *r["mean"].values()] for n, r in everybody.items()])
    show("Lumendrop by distribution", columns, [[name, *row.values()] for name, row in mine.items()])
    show("Seconds of watching in one invocation", columns, [[str(n), *row.values()] for n, row in split.items()])


def _plot(mine: Any, peers: Any, limit: Any, split: Any, hull: list[tuple[float, float]]) -> None:
    made, (left, right) = figure(2)
    left.plot(*zip(*hull, strict=True), color=GREY, linewidth=0.8, linestyle="--")
    for name, row in peers.items():
        _point(left, name, row["mean"], PEER)
    _point(left, "Lumendrop", mine["mean"], OURS)
    _point(left, "ideal", limit["mean"], LIMIT)
    left.set(
        xscale="log", yscale="log", xlabel="seconds from a task's end to its being seen", ylabel="USD per 1,000 tasks"
    )
    left.set_title("cost against delay, mean over the distributions", color=GREY)
    budgets = list(split)
    right.plot(budgets, [row["usd_per_1000"] for row in split.values()], color=OURS, marker="o", markersize=3)
    right.set(xlabel="seconds of watching in one invocation", ylabel="USD per 1,000 tasks", ylim=(0, None))
    right.set_title("where to wait", color=GREY)
    save_plot("polling", made)


def _point(axes: Any, name: str, row: dict[str, float], colour: str) -> None:
    at = (row["delay_seconds"], row["usd_per_1000"])
    axes.scatter(*at, color=colour, s=24, zorder=3)
    axes.annotate(name, at, xytext=(5, 4), textcoords="offset points", color=colour, fontsize=7.5)


if __name__ == "__main__":
    main()
