"""The wheel of `make release`, in an empty environment and an empty folder: `make test-release`."""

import hashlib
import json
import os
import pty
import secrets
import select
import subprocess
import termios
import time
import zipfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Self

import pytest

from release.build import MOST_BYTES
from sandbox.demo.start import ROOT, Sandbox, _enhancer
from tests.elsewhere.cloud import ministack
from tests.release.conftest import DIST

SECONDS = 300
EXISTING = {
    "ExistingInputBucket": "InputBucketName",
    "ExistingOutputBucket": "OutputBucketName",
    "ExistingLedgerTable": "LedgerTableName",
}
# The packages of the layer that are compiled, for arm64.
COMPILED = ("charset_normalizer", "msgspec")


def test_the_wheel_is_small_and_its_hash_is_published(wheel: Path) -> None:
    assert wheel.stat().st_size <= MOST_BYTES
    sums = dict(line.split("  ")[::-1] for line in (DIST / "SHA256SUMS").read_text().splitlines())
    assert sums == {
        file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in DIST.iterdir() if file.name in sums
    }
    assert set(sums) == {file.name for file in DIST.iterdir()} - {"SHA256SUMS"}


def test_each_artifact_has_the_hash_that_it_is_named_after(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = [one for one in archive.namelist() if one.startswith("lumendrop_cli/release_files/") and "-" in one]
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


def test_nothing_of_the_clone_is_on_the_path(command: Path, environment: dict[str, str], tmp_path: Path) -> None:
    show = "import lumendrop_cli, sys; print(lumendrop_cli.__file__, *sys.path)"
    python = command.with_name("python")
    paths = subprocess.run([python, "-c", show], cwd=tmp_path, env=environment, capture_output=True, check=True).stdout
    assert str(ROOT).encode() not in paths


def test_the_wheel_deploys_and_a_photo_is_enhanced(
    command: Path, environment: dict[str, str], empty: Sandbox, tmp_path: Path
) -> None:
    """As somebody at a terminal who answers the questions."""
    (tmp_path / "lumendrop.toml").write_text(f'[parameters]\nApiBaseUrl = "{empty.enhancer}"\nResolution = "1K"\n')
    began = time.monotonic()
    with Terminal([command, "deploy"], tmp_path, environment) as terminal:
        terminal.answer("Create the stack lumendrop as shown? [y/N]: ", "y")
        terminal.read_until("The stack lumendrop has version")
        print(f"Deployed in {time.monotonic() - began:.1f} seconds.")
        terminal.type_secret("API key: ", "not the key")
        terminal.type_secret("API key: ", empty.key)
        terminal.read_until("alarms")  # the last check of doctor
        terminal.answer("This pays for 1 task, about 0.12 USD. Continue? [y/N]: ", "y")
        terminal.read_until("Enhanced in")
        assert terminal.wait() == 0
    assert empty.key not in terminal.shown
    again = subprocess.run(
        [command, "upgrade", "--yes", "--json"], cwd=tmp_path, env=environment, capture_output=True, check=True
    )
    assert json.loads(again.stdout)["changes"] == []


@pytest.fixture
def compiled_for_this_machine(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Makes Python load the layer's compiled packages from the tests' environment, before it finds those for arm64."""
    folder = tmp_path_factory.mktemp("compiled")
    places = sorted({str(Path(find_spec(name).submodule_search_locations[0]).parent) for name in COMPILED})  # type: ignore[union-attr,index]
    lines = ["import sys", "before = sys.path[:]", f"sys.path[:0] = {places}", f"import {', '.join(COMPILED)}"]
    (folder / "sitecustomize.py").write_text("\n".join([*lines, "sys.path[:] = before", ""]))
    return {"PYTHONPATH": str(folder)}


def test_only_these_packages_of_the_layer_are_compiled(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if "/LumendropLayer-" in one)
        with archive.open(name) as packed, zipfile.ZipFile(packed) as layer:
            files = [Path(one) for one in layer.namelist()]
    assert {one.parts[1] for one in files if ".so" in one.suffixes} == set(COMPILED)


def test_another_emulator_enhances_a_photo_and_updates_the_stack(
    command: Path,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    socket_enabled: None,
    compiled_for_this_machine: dict[str, str],
) -> None:
    """ministack, with the wheel's functions, workflow, and layer, but for the compiled packages."""
    folder, key = tmp_path_factory.mktemp("ministack"), secrets.token_urlsafe(24)
    with (
        _enhancer(key, folder / "enhancer.log", ["--task-seconds", "0.2"]) as enhancer,
        ministack(folder, compiled_for_this_machine) as endpoint,
    ):
        environment = {"PATH": os.defpath, "HOME": str(tmp_path), "AWS_ENDPOINT_URL": endpoint}

        def run(*arguments: str, stdin: str | None = None) -> Any:
            done = subprocess.run(
                [command, *arguments, "--json"],
                cwd=tmp_path,
                env=environment,
                input=stdin,
                capture_output=True,
                text=True,
                timeout=SECONDS,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout)

        given = ("DailyTaskLimit=60", "Resolution=1K", f"ApiBaseUrl={enhancer.url}")
        created = run("deploy", "--yes", *(text for one in given for text in ("--parameter", one)))
        assert {one["action"] for one in created["changes"]} == {"create"}
        enhancer.wait_until_ready()
        run("set-key", stdin=f"{key}\n")
        assert run("smoke", "--yes")["photo"].startswith("s3://")
        assert run("deploy", "--yes")["changes"] == []
        updated = run("upgrade", "--yes", "--parameter", "DailyTaskLimit=70")
        assert (updated["executed"], updated["uploaded"], updated["warnings"]) == (True, [], [])
        assert "SubmitFunction" in {one["logical_id"] for one in updated["changes"]}
        assert updated["outputs"].keys() == created["outputs"].keys()
        deleted = run("destroy", "--yes")
        kept = {"DailyTaskLimit": "70", "Resolution": "1K", "ApiBaseUrl": enhancer.url}
        kept |= {name: created["outputs"][output] for name, output in EXISTING.items()}
        assert deleted["parameters"] == kept
        again = run("deploy", "--yes", *(text for one in kept.items() for text in ("--parameter", "=".join(one))))
        assert {name: again["outputs"][output] for name, output in EXISTING.items()}.items() <= kept.items()
        assert (run("backfill", "--dry-run")["photos"], run("backfill", "--dry-run")["tasks"]) == (1, 0)


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, command: list[Any], folder: Path, environment: dict[str, str]) -> None:
        self._terminal, end = pty.openpty()
        # A new session has no other terminal that the command could read the key from.
        self._process = subprocess.Popen(
            command, cwd=folder, env=environment, stdin=end, stdout=end, stderr=end, start_new_session=True
        )
        os.close(end)
        self.shown = ""
        self._read = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._terminal)

    def read_until(self, text: str) -> None:
        while (found := self.shown.find(text, self._read)) < 0:
            assert select.select([self._terminal], [], [], SECONDS)[0], self.shown
            try:
                self.shown += os.read(self._terminal, 4096).decode(errors="replace")
            except OSError:  # the command ended
                pytest.fail(f"There is no {text!r} in: {self.shown}")
        self._read = found + len(text)

    def answer(self, question: str, answer: str) -> None:
        self.read_until(question)
        os.write(self._terminal, f"{answer}\n".encode())

    def type_secret(self, question: str, secret: str) -> None:
        self.read_until(question)
        while termios.tcgetattr(self._terminal)[3] & termios.ECHO:  # disabling it discards earlier input
            time.sleep(0.01)
        os.write(self._terminal, f"{secret}\n".encode())

    def wait(self) -> int:
        return self._process.wait(60)
