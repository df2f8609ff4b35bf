"""Distributions of the duration of tasks, the vendor's estimate, and the progress that it reports."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from random import Random

ESTIMATE_SECONDS = 45
LONGEST_SECONDS = 3000
Progress = Callable[[float], float | None]


@dataclass(frozen=True)
class SimulatedTask:
    """A task that ends after `seconds`; `progress` returns the reported progress at a share of that time, 0 to 1."""

    seconds: float
    estimate: float | None
    progress: Progress


Draw = Callable[[Random], SimulatedTask]


def silent(_: float) -> None:
    """No progress reported."""


def honest(share: float) -> float:
    """Grows linearly to 100, in whole percent."""
    return math.floor(100 * share)


def stuck(share: float) -> float:
    """Jumps to 90 and stays there."""
    return min(90, math.floor(900 * share))


def late(share: float) -> float:
    """Slow at first, fast at the end: an extrapolation is too late."""
    return math.floor(100 * share**3)


def by_estimate(seconds: float, estimate: float) -> Progress:
    """Derived from the estimate, not from the work: grows to 95 until the estimate, and stays there."""
    return lambda share: min(95, math.floor(100 * share * seconds / estimate))


def noise(random: Random) -> Progress:
    """A random number from 0 to 99."""
    seed = random.random()
    return lambda share: Random(f"{seed} {share}").randrange(100)  # noqa: S311  # a simulation, no secret


def around(random: Random) -> SimulatedTask:
    return SimulatedTask(_log_normal(random, ESTIMATE_SECONDS, 0.35), ESTIMATE_SECONDS, silent)


def below(random: Random) -> SimulatedTask:
    return SimulatedTask(_log_normal(random, 18, 0.4), ESTIMATE_SECONDS, silent)


def above(random: Random) -> SimulatedTask:
    return SimulatedTask(_log_normal(random, 90, 0.4), ESTIMATE_SECONDS, honest)


def bimodal(random: Random) -> SimulatedTask:
    seconds = _log_normal(random, 12, 0.2) if random.random() < 0.6 else _log_normal(random, 75, 0.15)
    return SimulatedTask(seconds, ESTIMATE_SECONDS, silent)


def heavy_tail(random: Random) -> SimulatedTask:
    return SimulatedTask(min(25 * random.paretovariate(1.2), LONGEST_SECONDS), ESTIMATE_SECONDS, honest)


def heavy_tail_stuck(random: Random) -> SimulatedTask:
    return SimulatedTask(min(25 * random.paretovariate(1.2), LONGEST_SECONDS), ESTIMATE_SECONDS, stuck)


def instant_failures(random: Random) -> SimulatedTask:
    if random.random() < 0.2:
        return SimulatedTask(random.uniform(0.2, 2), ESTIMATE_SECONDS, silent)
    return around(random)


def useless_estimate(random: Random) -> SimulatedTask:
    return SimulatedTask(_log_normal(random, 40, 0.5), random.uniform(5, 300), noise(random))


def good_estimate(random: Random) -> SimulatedTask:
    seconds = math.exp(random.uniform(math.log(10), math.log(600)))
    return SimulatedTask(seconds, _log_normal(random, seconds, 0.15), silent)


def no_estimate(random: Random) -> SimulatedTask:
    return SimulatedTask(_log_normal(random, 30, 0.5), None, late)


def progress_by_estimate(random: Random) -> SimulatedTask:
    seconds = _log_normal(random, 60, 0.5)
    return SimulatedTask(seconds, ESTIMATE_SECONDS, by_estimate(seconds, ESTIMATE_SECONDS))


DISTRIBUTIONS: dict[str, Draw] = {
    "around the estimate": around,
    "below the estimate": below,
    "above the estimate, honest progress": above,
    "bimodal": bimodal,
    "heavy tail, honest progress": heavy_tail,
    "heavy tail, progress stuck at 90": heavy_tail_stuck,
    "a fifth fails at once": instant_failures,
    "useless estimate, progress is noise": useless_estimate,
    "good estimates, 10 s to 10 min": good_estimate,
    "no estimate, progress slow at first": no_estimate,
    "progress made of the estimate": progress_by_estimate,
}


def draw(name: str, count: int, seed: int) -> Iterator[SimulatedTask]:
    """Draws tasks from a distribution, the same ones for the same seed."""
    random = Random(f"{name} {seed}")  # noqa: S311  # a simulation, no secret
    for _ in range(count):
        yield DISTRIBUTIONS[name](random)


def _log_normal(random: Random, median: float, sigma: float) -> float:
    return random.lognormvariate(math.log(median), sigma)
