"""The installed wheel, and an empty sandbox."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.demo.start import ROOT, Sandbox, sandbox

DIST = ROOT / "dist"


@pytest.fixture(scope="session")
def wheel() -> Path:
    found = list(DIST.glob("*.whl"))
    assert len(found) == 1, "run: make release"
    return found[0]


@pytest.fixture(scope="session")
def command(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`lumendrop` from the wheel, installed with its dependencies, as somebody without a clone has it."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    locked = ("--require-hashes", "-r", str(ROOT / "requirements/command.txt"))
    for arguments in (locked, ("--no-deps", str(wheel))):
        subprocess.run(
            [folder / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *arguments],
            check=True,
        )
    return folder / "bin/lumendrop"


@pytest.fixture
def empty(socket_enabled: None) -> Iterator[Sandbox]:
    with sandbox({}, template=None, enhancer_arguments=["--task-seconds", "0.2"]) as running:
        yield running


@pytest.fixture
def environment(empty: Sandbox, tmp_path: Path) -> dict[str, str]:
    """Nothing but the sandbox's endpoint, and an empty home."""
    shown = {"TERM": "dumb", "COLUMNS": "200", "PYTHONUTF8": "1"}
    return {"PATH": os.defpath, "HOME": str(tmp_path), "AWS_ENDPOINT_URL": empty.cloud.endpoint, **shown}
