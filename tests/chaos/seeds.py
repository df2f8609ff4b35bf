"""Runs the parts of the suite for one seed, prints the findings, and adds up the figures of several seeds."""

from __future__ import annotations

import logging
import time
from argparse import Namespace
from collections import Counter
from collections.abc import Iterable

from tests.chaos import outages, suite
from tests.chaos.promises import Finding
from tests.chaos.run import NotIdle

PARTS = (
    "random-faults",
    "repeated-failures",
    "ambiguous-submits",
    "concurrent-overwrites",
    "stopped-executions",
    "empty-balance",
    "daily-limit",
    "outages",
)


def run(seed: int, arguments: Namespace) -> list[Finding]:
    """Runs the suite, or one part of it, with one seed; prints each finding at once."""
    # The fault plan throttles the services, so warnings about throttling are expected.
    logging.getLogger("sandbox").setLevel(logging.CRITICAL)
    begun = time.monotonic()
    findings = []
    for part in [arguments.only] if arguments.only else PARTS:
        for finding in _findings(part, seed, arguments):
            findings.append(finding)
            _print(f"seed {seed}: {'BROKEN' if finding.broken else 'ok'}: {finding.promise}", finding.lines())
    _print(f"seed {seed}: {'passed' if passed(findings) else 'FAILED'} in {time.monotonic() - begun:.0f} s")
    return findings


def passed(findings: Iterable[Finding]) -> bool:
    """Whether every promise held."""
    return not any(finding.broken for finding in findings)


def print_totals(findings: Iterable[Finding]) -> None:
    """Prints each figure's sum over several seeds, and its highest value in one seed."""
    figures: dict[str, dict[str, list[Counter[str]]]] = {}
    for finding in findings:
        for of_what, counts in finding.figures.items():
            figures.setdefault(finding.promise, {}).setdefault(of_what, []).append(counts)
    for promise, by_name in figures.items():
        lines = [f"{of_what}: {_summed(of_seeds)}" for of_what, of_seeds in by_name.items()]
        _print(f"sum of all seeds (highest of one seed): {promise}", lines)


def _summed(of_seeds: list[Counter[str]]) -> str:
    names = sorted({name for counts in of_seeds for name in counts})
    columns = {name: [counts[name] for counts in of_seeds] for name in names}
    return ", ".join(f"{name} {sum(column):,} ({max(column):,})" for name, column in columns.items())


def _findings(part: str, seed: int, arguments: Namespace) -> list[Finding]:
    try:
        return _run_part(part, seed, arguments)
    except NotIdle as error:
        return [Finding("1. every run becomes idle", broken=str(error).splitlines())]


def _run_part(part: str, seed: int, arguments: Namespace) -> list[Finding]:
    few, patience = arguments.uploads // 10, arguments.patience
    if part == "random-faults":
        return suite.random_faults(seed, arguments.uploads, arguments.keys, patience)
    if part == "repeated-failures":
        return suite.repeated_failures(seed, few, patience)
    if part == "ambiguous-submits":
        return suite.ambiguous_submits(seed, few, patience)
    if part == "concurrent-overwrites":
        return suite.concurrent_overwrites(seed, few, patience)
    if part == "stopped-executions":
        return suite.stopped_executions(seed, few, patience)
    if part == "empty-balance":
        return suite.empty_balance(seed, few, patience)
    if part == "outages":
        return outages.outages(seed, arguments.uploads, patience)
    return suite.daily_limit(seed, few, few * 2 // 5, patience)


def _print(title: str, lines: Iterable[str] = ()) -> None:
    # One call, so that the lines of concurrent seeds do not mix.
    print("\n".join([title, *(f"    {line}" for line in lines)]), flush=True)
