"""The code on docs/other-tools.md. The tests use it as it is there, so that page and tests can't differ."""

from __future__ import annotations

import re

from tests.template.reading import ROOT

TEXT = (ROOT / "docs/other-tools.md").read_text(encoding="utf-8")


def code(language: str, text: str = TEXT) -> str:
    """The code in a language, of which there must be one block."""
    (found,) = re.findall(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    return str(found)


def commands(text: str = TEXT) -> list[str]:
    """Each line that runs `lumendrop`: of the workflow, of the shell blocks, and of the sentences."""
    return re.findall(r"^(?:      - run: )?(lumendrop [^>\n]+)", text, re.MULTILINE) + re.findall(
        r"`(lumendrop [^`]+)`", text
    )
