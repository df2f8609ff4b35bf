"""`python -m release.build BUILD DIST`: the wheel with all that `lumendrop deploy` needs, hashes, and SBOM."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

from release.artifacts import ReleaseError, Template, read_template, require_bytecode, write_artifacts
from release.sbom import bill_of_materials

ROOT = Path(__file__).resolve().parents[1]
MOST_BYTES = 40_000_000
LOCKS = {"layer": "layers/requirements.txt", "command": "requirements/command.txt"}


def release(build: Path, dist: Path) -> list[Path]:
    """Write a release into `dist`, which is emptied, and return its files. Raises ReleaseError."""
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    require_bytecode(build)
    template = read_template(build)
    _require_version(template["Outputs"]["Version"]["Value"], version)
    shutil.rmtree(dist, ignore_errors=True)
    dist.mkdir(parents=True)
    with tempfile.TemporaryDirectory() as folder:
        _stage(Path(folder), build, template)
        command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(dist.resolve())]
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)  # noqa: S603  # hatchling
    bill = bill_of_materials("lumendrop", version, {part: ROOT / lock for part, lock in LOCKS.items()})
    (dist / f"lumendrop-{version}.cdx.json").write_text(json.dumps(bill, indent=1) + "\n", encoding="utf-8")
    files = sorted(dist.iterdir())
    sums = "".join(f"{hashlib.sha256(file.read_bytes()).hexdigest()}  {file.name}\n" for file in files)
    (dist / "SHA256SUMS").write_text(sums, encoding="utf-8")
    for file in files:
        if file.stat().st_size > MOST_BYTES:
            raise ReleaseError(f"{file.name} has {file.stat().st_size:,} bytes; at most {MOST_BYTES:,} are allowed.")
    return [*files, dist / "SHA256SUMS"]


def _require_version(built: str, version: str) -> None:
    if built != version:
        raise ReleaseError(f"The template's output Version is {built}, and the project's version {version}.")
    if f"\n## [{version}] - " not in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"):
        raise ReleaseError(f"CHANGELOG.md has no heading of the version {version} with a date.")


def _stage(folder: Path, build: Path, template: Template) -> None:
    """Copy what the wheel is made from. A checkout never contains artifacts, which could be older than its code."""
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, folder)
    package = folder / "cli/lumendrop_cli"
    shutil.copytree(ROOT / "cli/lumendrop_cli", package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "release_files").mkdir()
    shutil.copy(ROOT / "CHANGELOG.md", package / "release_files")
    write_artifacts(build, template, package / "release_files")


def main(build: str, dist: str) -> str | None:
    """Print the files and their hashes. Returns a message if something is wrong."""
    try:
        files = release(Path(build), Path(dist))
    except ReleaseError as error:
        return str(error)
    for file in files[:-1]:
        print(f"{file}  {file.stat().st_size:,} bytes  {hashlib.sha256(file.read_bytes()).hexdigest()}")
    return None


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
