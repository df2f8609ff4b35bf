"""`python -m tests.chaos`: runs the suite and prints, for every promise, the figures it was judged by."""

from __future__ import annotations

import argparse
import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor
from itertools import chain, repeat

from tests.chaos import seeds


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds (default 1)")
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds at the same time (default 1)")
    parser.add_argument("--uploads", type=int, default=500, help="uploads in bad weather (default 500)")
    parser.add_argument("--keys", type=int, default=400, help="keys that they go to (default 400)")
    parser.add_argument("--only", choices=seeds.PARTS, help="one part of the suite (default all)")
    parser.add_argument("--patience", type=int, default=1200, help="real seconds until a run must be quiet")
    return parser.parse_args()


def main() -> int:
    """Runs every seed, each in a process of its own; 0 if every promise was kept by all."""
    arguments = _arguments()
    wanted = range(arguments.seed, arguments.seed + arguments.seeds)
    processes = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=processes, max_tasks_per_child=1) as pool:
        found = list(pool.map(seeds.run, wanted, repeat(arguments)))
    if len(wanted) > 1:
        seeds.print_sums(chain.from_iterable(found))
    kept = sum(map(seeds.kept, found))
    print(f"{kept} of {len(wanted)} seeds kept every promise")
    return 0 if kept == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
