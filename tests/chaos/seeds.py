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
    sums: dict[str, dict[str, Counter[str]]] = {}
    most: dict[tuple[str, str], Counter[str]] = {}
    for finding in findings:
        for of_what, counts in finding.figures.items():
            sums.setdefault(finding.promise, {}).setdefault(of_what, Counter()).update(counts)
            place = finding.promise, of_what
            most[place] = most.get(place, Counter()) | counts
    for promise, figures in sums.items():
        lines = [f"{of_what}: {_summed(counts, most[promise, of_what])}" for of_what, counts in figures.items()]
        _print(f"sum of all seeds (most of one): {promise}", lines)


def _summed(sums: Counter[str], most: Counter[str]) -> str:
    return ", ".join(f"{name} {count:,} ({most[name]:,})" for name, count in sorted(sums.items()))


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
