"""Every mutation of `make chaos-mutations` still applies to the sources; the command itself takes much longer."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.mutations import COPIED, MUTATIONS, REPO, Mutation, apply


@pytest.mark.parametrize("mutation", MUTATIONS, ids=[mutation.name for mutation in MUTATIONS])
def test_a_mutation_changes_its_file(mutation: Mutation, tmp_path: Path) -> None:
    copy = tmp_path / mutation.file
    copy.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(REPO / mutation.file, copy)
    apply(mutation, tmp_path)
    assert copy.read_text() != (REPO / mutation.file).read_text()
    assert Path(mutation.file).parts[0] in COPIED
    if copy.suffix == ".py":  # A crash for another reason than the promise would count as caught.
        _assert_names_are_defined(copy)


def _assert_names_are_defined(file: Path) -> None:
    command = [sys.executable, "-m", "ruff", "check", "--isolated", "--quiet", "--select", "E9,F821", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout


def test_a_text_that_is_missing_or_ambiguous_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "app.py").write_text("a = 1\na = 1\n")
    for old in ("b", "a = 1"):
        with pytest.raises(ValueError, match="not once"):
            apply(Mutation("name", "promise", "app.py", old, "c"), tmp_path)
