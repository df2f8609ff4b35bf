"""An empty sandbox, and the `lumendrop` command with a release that is made from this checkout."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from lumendrop_cli import release
from release.artifacts import read_template, write_artifacts
from sandbox.demo.start import ROOT, Sandbox, sandbox
from tests.cli.conftest import Lumendrop, _poll_often

__all__ = ["_poll_often"]

CHANGELOG = """# Changes

## [Unreleased]

- Not yet.

## [0.3.0] - 2026-12-24

### Upgrade notes

- Something of 0.3.0.

## [0.2.0] - 2026-11-27

- Something of 0.2.0.

## [0.1.0] - 2026-11-23

- Something of 0.1.0.
"""


@pytest.fixture(scope="package")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A release of this checkout. Its layer has no packages, which the sandbox does not use."""
    build, folder = tmp_path_factory.mktemp("build"), tmp_path_factory.mktemp("release")
    for name in ("template.yaml", "monitoring.yaml"):
        shutil.copy(ROOT / name, build)
    without = shutil.ignore_patterns("__pycache__")
    for name in ("functions", "statemachines"):
        shutil.copytree(ROOT / name, build / name, ignore=without)
    shutil.copytree(ROOT / "layers/lumendrop", build / "layers/python/lumendrop", ignore=without)
    write_artifacts(build, read_template(build), folder)
    (folder / "CHANGELOG.md").write_text(CHANGELOG)
    return folder


@pytest.fixture(autouse=True)
def _installed(built: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The command has the release, and runs in an empty folder."""
    monkeypatch.setattr(release, "_FOLDER", built)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="package")
def empty() -> Iterator[Sandbox]:
    """AWS without a stack, and the enhancer."""
    with sandbox({}, template=None, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        yield running


@pytest.fixture(scope="package")
def lumendrop(empty: Sandbox) -> Lumendrop:
    """The `lumendrop` command for the sandbox."""
    return Lumendrop(empty.cloud.endpoint)
