"""The wheel of `make release`, in an empty environment and an empty folder: `make test-release`."""

import hashlib
import json
import os
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from release.build import MOST_BYTES
from sandbox.demo.start import ROOT, Sandbox, sandbox

DIST = ROOT / "dist"
SECONDS = 300


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


def test_the_wheel_is_small_and_its_hash_is_published(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES
    sums = dict(line.split("  ")[::-1] for line in (DIST / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in DIST.iterdir() if file.name in sums
    }
    assert set(sums) == {file.name for file in DIST.iterdir()} - {"SHA256SUMS"}


def test_each_artifact_has_the_hash_that_it_is_named_after(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [one for one in archive.namelist() if one.startswith("lumendrop_cli/release/") and "-" in one]
        for name in names:
            stem = Path(name).name.partition("-")[2].partition(".")[0]
            assert hashlib.sha256(archive.read(name)).hexdigest() == stem
        assert len(names) == 7
        texts = b"".join(archive.read(one) for one in archive.namelist() if one.endswith((".json", ".yaml")))
    assert str(ROOT).encode() not in texts


def test_the_bill_of_materials_has_what_the_lock_files_have() -> None:
    (file,) = DIST.glob("*.cdx.json")
    bill = json.loads(file.read_text())
    assert (bill["bomFormat"], bill["specVersion"]) == ("CycloneDX", "1.6")
    listed = {one["purl"] for one in bill["components"]}
    for lock in ("layers/requirements.txt", "requirements/command.txt"):
        lines = [line.split()[0] for line in (ROOT / lock).read_text().splitlines() if "==" in line]
        assert {f"pkg:pypi/{line.replace('==', '@')}".lower() for line in lines} <= listed


def test_the_wheel_deploys_and_a_photo_is_enhanced(command: Path, empty: Sandbox, tmp_path: Path) -> None:
    environment = {"PATH": os.defpath, "HOME": str(tmp_path), "AWS_ENDPOINT_URL": empty.cloud.endpoint}

    def run(*arguments: str, stdin: str = "") -> str:
        done = subprocess.run(
            [command, *arguments],
            cwd=tmp_path,
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, f"{arguments}: {done.stdout}{done.stderr}"
        return done.stdout

    python = command.with_name("python")
    show = "import lumendrop_cli, sys; print(lumendrop_cli.__file__, *sys.path)"
    paths = subprocess.run([python, "-c", show], cwd=tmp_path, env=environment, capture_output=True, check=True).stdout
    assert str(ROOT).encode() not in paths
    began = time.monotonic()
    parameters = ("--parameter", f"ApiBaseUrl={empty.enhancer}", "--parameter", "Resolution=1K")
    deployed = json.loads(run("deploy", "--yes", "--json", *parameters))
    print(f"Deployed {len(deployed['changes'])} resources in {time.monotonic() - began:.1f} seconds.")
    assert deployed["executed"]
    run("set-key", stdin=f"{empty.key}\n")
    run("doctor")
    assert json.loads(run("smoke", "--yes", "--json", "--timeout", "120"))["task_id"]
    assert json.loads(run("deploy", "--yes", "--json"))["changes"] == []
