"""The totals that `make chaos` prints and docs/reliability.md quotes."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.chaos import seeds
from tests.chaos.promises import Finding


def test_figures_of_all_seeds_are_added_up(capsys: pytest.CaptureFixture[str]) -> None:
    found = [
        Finding("1. every upload ends", {"uploads": Counter(enhanced=1200, failed=1)}),
        Finding("2. one task each", {"at the enhancer": Counter(tasks=7)}),
        Finding("1. every upload ends", {"uploads": Counter(enhanced=5, unknown=2)}),
    ]
    seeds.print_totals(found)

    assert capsys.readouterr().out.splitlines() == [
        "sum of all seeds (highest of one seed): 1. every upload ends",
        "    uploads: enhanced 1,205 (1,200), failed 1 (1), unknown 2 (2)",
        "sum of all seeds (highest of one seed): 2. one task each",
        "    at the enhancer: tasks 7 (7)",
    ]
