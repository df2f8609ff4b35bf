"""An environment for subprocesses that has only the packages of requirements/sandbox.txt, as after `make demo`."""

import os
import re
from collections.abc import Collection
from importlib import metadata
from pathlib import Path

REPO = Path(__file__).resolve().parents[2]
LOCKED = frozenset(re.findall(r"^([\w.-]+)==", (REPO / "requirements/sandbox.txt").read_text(), re.MULTILINE))

# Python runs a module of this name at its start.
SITECUSTOMIZE = """
import sys

class Finder:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)

sys.meta_path.insert(0, Finder())
"""


def environment(folder: Path, packages: Collection[str] = LOCKED) -> dict[str, str]:
    """Environment variables that hide every installed package except `packages`. Writes a module to `folder`."""
    visible = {*packages, "lumendrop"}
    hidden = {
        module
        for module, providers in metadata.packages_distributions().items()
        if visible.isdisjoint(map(_normalized, providers))
    }
    (folder / "sitecustomize.py").write_text(SITECUSTOMIZE.format(hidden=hidden))
    return {**os.environ, "PYTHONPATH": str(folder)}


def _normalized(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
