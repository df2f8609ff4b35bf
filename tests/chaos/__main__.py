"""`python -m tests.chaos`: runs the suite and prints, for every promise, the figures it was judged by."""

from __future__ import annotations

import argparse
import logging
import sys
import time

from tests.chaos import suite
from tests.chaos.promises import Finding
from tests.chaos.run import NeverQuiet

PARTS = ("storm", "relapses", "second-chances", "rivals", "balance", "daily-limit")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    parser.add_argument("--seed", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--seeds", type=int, default=1, help="how many seeds, one after the other (default 1)")
    parser.add_argument("--uploads", type=int, default=500, help="uploads in bad weather (default 500)")
    parser.add_argument("--keys", type=int, default=400, help="keys that they go to (default 400)")
    parser.add_argument("--only", choices=PARTS, help="one part of the suite (default all)")
    parser.add_argument("--patience", type=int, default=1200, help="real seconds until a run must be quiet")
    return parser.parse_args()


def main() -> int:
    """Runs every seed; 0 if every promise was kept by all."""
    arguments = _arguments()
    # Where a service throttles, its callers say so; here that is the plan.
    logging.getLogger("sandbox").setLevel(logging.CRITICAL)
    failed = []
    for seed in range(arguments.seed, arguments.seed + arguments.seeds):
        begun = time.monotonic()
        print(f"seed {seed}", flush=True)
        parts = [arguments.only] if arguments.only else PARTS
        kept = [_print(finding) for part in parts for finding in _findings(part, seed, arguments)]
        failed += [] if all(kept) else [seed]
        print(f"seed {seed}: {'kept' if all(kept) else 'BROKEN'} in {time.monotonic() - begun:.0f} s\n", flush=True)
    print(f"{arguments.seeds - len(failed)} of {arguments.seeds} seeds kept every promise")
    return 1 if failed else 0


def _findings(part: str, seed: int, arguments: argparse.Namespace) -> list[Finding]:
    try:
        return _judged(part, seed, arguments)
    except NeverQuiet as error:
        return [Finding("1. every run comes to rest", broken=str(error).splitlines())]


def _judged(part: str, seed: int, arguments: argparse.Namespace) -> list[Finding]:
    few, patience = arguments.uploads // 10, arguments.patience
    if part == "storm":
        return suite.storm(seed, arguments.uploads, arguments.keys, patience)
    if part == "relapses":
        return suite.relapses(seed, few, patience)
    if part == "second-chances":
        return suite.second_chances(seed, few, patience)
    if part == "rivals":
        return suite.rivals(seed, few, patience)
    if part == "balance":
        return suite.balance(seed, few, patience)
    return suite.daily_limit(seed, few, few * 2 // 5, patience)


def _print(finding: Finding) -> bool:
    print(f"  {'ok    ' if not finding.broken else 'BROKEN'}  {finding.promise}")
    for line in [*finding.figures, *(f"! {problem}" for problem in finding.broken)]:
        print(f"          {line}", flush=True)
    return not finding.broken


if __name__ == "__main__":
    sys.exit(main())
