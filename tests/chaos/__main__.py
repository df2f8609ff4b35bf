"""`python -m tests.chaos`: runs the suite and prints, for every promise, the result and its figures."""

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
    parser.add_argument("--jobs", type=int, default=1, help="how many seeds run concurrently (default 1)")
    parser.add_argument("--uploads", type=int, default=500, help="uploads with random faults (default 500)")
    parser.add_argument("--keys", type=int, default=400, help="keys of these uploads (default 400)")
    parser.add_argument("--only", choices=seeds.PARTS, help="run one part of the suite (default: all parts)")
    parser.add_argument("--patience", type=int, default=1200, help="real seconds until a run must be idle")
    return parser.parse_args()


def main() -> int:
    """Runs every seed in its own process; 0 if all promises held."""
    arguments = _arguments()
    wanted = range(arguments.seed, arguments.seed + arguments.seeds)
    processes = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(arguments.jobs, mp_context=processes, max_tasks_per_child=1) as pool:
        found = list(pool.map(seeds.run, wanted, repeat(arguments)))
    if len(wanted) > 1:
        seeds.print_totals(chain.from_iterable(found))
    passed = sum(map(seeds.passed, found))
    print(f"every promise held in {passed} of {len(wanted)} seeds")
    return 0 if passed == len(wanted) else 1


if __name__ == "__main__":
    sys.exit(main())
