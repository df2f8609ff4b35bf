"""One seed or many: runs the parts of the suite, prints what was found, adds it up."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable

from tests.chaos import suite
from tests.chaos.promises import Finding
from tests.chaos.run import NeverQuiet

PARTS = ("storm", "relapses", "second-chances", "rivals", "balance", "daily-limit")


def run(seed: int, arguments: Namespace) -> list[Finding]:
    """Runs the suite, or one part of it, with one seed; prints every finding as soon as it is there."""
    # Where a service throttles, its callers say so; here that is the plan.
    logging.getLogger("sandbox").setLevel(logging.CRITICAL)
    begun = time.monotonic()
    findings = []
    for part in [arguments.only] if arguments.only else PARTS:
        for finding in _findings(part, seed, arguments):
            findings.append(finding)
            _print(f"seed {seed}: {'BROKEN' if finding.broken else 'ok'}: {finding.promise}", finding.lines())
    _print(f"seed {seed}: {'kept' if kept(findings) else 'NOT KEPT'} in {time.monotonic() - begun:.0f} s")
    return findings


def kept(findings: Iterable[Finding]) -> bool:
    """Whether no promise was broken."""
    return not any(finding.broken for finding in findings)


def print_sums(findings: Iterable[Finding]) -> None:
    """Prints the figures of several seeds as one, each with the highest of any seed."""
    figures: dict[str, dict[str, list[Counter[str]]]] = {}
    for finding in findings:
        for of_what, counts in finding.figures.items():
            figures.setdefault(finding.promise, {}).setdefault(of_what, []).append(counts)
    for promise, by_name in figures.items():
        lines = [f"{of_what}: {_summed(of_seeds)}" for of_what, of_seeds in by_name.items()]
        _print(f"sum of all seeds (most of one): {promise}", lines)


def _summed(of_seeds: list[Counter[str]]) -> str:
    names = sorted({name for counts in of_seeds for name in counts})
    columns = {name: [counts[name] for counts in of_seeds] for name in names}
    return ", ".join(f"{name} {sum(column):,} ({max(column):,})" for name, column in columns.items())


def _findings(part: str, seed: int, arguments: Namespace) -> list[Finding]:
    try:
        return _judged(part, seed, arguments)
    except NeverQuiet as error:
        return [Finding("1. every run comes to rest", broken=str(error).splitlines())]


def _judged(part: str, seed: int, arguments: Namespace) -> list[Finding]:
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


def _print(title: str, lines: Iterable[str] = ()) -> None:
    # In one piece, lest the lines of two seeds mix.
    print("\n".join([title, *(f"    {line}" for line in lines)]), flush=True)
