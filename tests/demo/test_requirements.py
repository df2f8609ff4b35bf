"""The packages in requirements/sandbox.txt are enough. The end-to-end tests also run with only these."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.demo.locked import LOCKED, REPO, environment


def run(code: str, variables: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], cwd=REPO, env=variables, capture_output=True, text=True, timeout=60, check=False
    )


def test_other_packages_are_hidden(tmp_path: Path) -> None:
    assert "No module named 'scipy'" in run("import scipy", environment(tmp_path)).stderr


@pytest.mark.parametrize("package", ["jsonpath-ng", "pyvips", "typer"])
def test_a_missing_package_is_found(package: str, tmp_path: Path) -> None:
    done = run(
        "import sandbox.aws.cloud, sandbox.enhancer.server, lumendrop_cli.main",
        environment(tmp_path, LOCKED - {package}),
    )
    assert "No module named" in done.stderr
