"""README, docs/benchmarks.md and docs/cost.md say what the benchmarks' files say."""

from __future__ import annotations

import pytest

from benchmarks.pages import PAGES, filled
from tests.template.reading import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_figures_are_those_of_the_files(page: str) -> None:
    """`make bench-pages` writes them anew."""
    assert (ROOT / page).read_text() == filled(page)
