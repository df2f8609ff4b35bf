"""The figures in README.md, docs/benchmarks.md, and docs/limits.md are those of the benchmarks' files."""

from __future__ import annotations

import pytest

from benchmarks.pages import PAGES, filled
from tests.template.reading import ROOT


@pytest.mark.parametrize("page", PAGES)
def test_figures_are_those_of_the_files(page: str) -> None:
    """`make bench-pages` fills them in."""
    assert (ROOT / page).read_text() == filled(page)
