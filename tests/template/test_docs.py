"""The Markdown pages: links lead somewhere, and the README stays short and small."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.template.reading import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
README_WORDS = 900
PICTURE_BYTES = 300_000


def broken_links(page: Path, text: str) -> list[str]:
    """Links to files that are not there, or to sections that their page does not have."""
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        file = (page.parent / path).resolve() if path else page
        if not file.exists() or (anchor and anchor not in anchors(text if file == page else file.read_text())):
            broken.append(target)
    return broken


def missing_files(text: str) -> list[str]:
    """Paths of this repository that the text names and that are not there."""
    named = re.findall(
        r"`((?:benchmarks|cli|docs|events|functions|layers|sandbox|statemachines|tests)/[\w./-]+)`", text
    )
    return [path for path in named if not (ROOT / path).exists()]


def anchors(text: str) -> set[str]:
    """A page's anchors: those that GitHub derives from headings, and explicit ones."""
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    derived = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}
    return derived | set(re.findall(r'<a id="([\w-]+)"></a>', text))


def words(text: str) -> int:
    """Words as `wc -w` counts them, without HTML comments."""
    return len(re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL).split())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_files_that_a_page_names_are_there(page: Path) -> None:
    assert missing_files(page.read_text()) == []


def test_each_decision_has_a_number_of_its_own() -> None:
    numbers = re.findall(r"^- \*\*(\d+)\.", (ROOT / "docs/decisions.md").read_text(), re.MULTILINE)
    assert len(numbers) == len(set(numbers)) > 50


def test_the_readme_is_short() -> None:
    assert words((ROOT / "README.md").read_text()) <= README_WORDS


def test_pictures_are_small() -> None:
    sizes = {path.name: path.stat().st_size for path in (ROOT / "docs/images").iterdir()}
    assert len(sizes) >= 2
    assert {name: size for name, size in sizes.items() if size > PICTURE_BYTES} == {}


# Each check can fail.


@pytest.mark.parametrize("target", ["nowhere.md", "docs/deploy.md#nowhere", "#nowhere"])
def test_a_broken_link_is_found(target: str) -> None:
    assert broken_links(ROOT / "README.md", f"# A page\n\n[a link]({target})") == [target]
    assert broken_links(ROOT / "README.md", "# A page\n\n[a link](#a-page) [a page](docs/deploy.md)") == []


def test_a_missing_file_is_found() -> None:
    assert missing_files("see `docs/nowhere.md`, `docs/deploy.md`, and `docs/`") == ["docs/nowhere.md"]


def test_words_are_counted() -> None:
    assert words("# Two words <!-- not these --> | a") == 5
