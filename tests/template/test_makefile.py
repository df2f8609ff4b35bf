"""The Makefile, in a copy with empty lock files: environments, stages, and texts that a shell would replace."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.template.reading import ROOT

MADE_AGAIN = "Making .venv again"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A folder whose name has a space, with what the Makefile reads."""
    folder = tmp_path / "my clone"
    (folder / "requirements").mkdir(parents=True)
    for name in ("Makefile", "samconfig.toml", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    for name in ("sandbox", "tests", "benchmarks", "sam"):
        (folder / f"requirements/{name}.txt").touch()
    return folder


def make(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "PYTHON"))}
    base = Path(sys.base_prefix, "bin")
    return subprocess.run(
        ["make", *arguments],
        cwd=folder,
        env={**inherited, "PATH": f"{base}{os.pathsep}{os.environ['PATH']}", **variables},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def environment(folder: Path, *arguments: str) -> str:
    """Makes the environment, and returns what was printed."""
    done = make(folder, ".venv/.python", *arguments)
    assert done.returncode == 0, done.stderr
    assert subprocess.run([folder / ".venv/bin/python", "-c", ""], check=False).returncode == 0
    return done.stdout


def program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)


def test_an_environment_that_fits_is_kept(copy: Path) -> None:
    assert environment(copy) == ""
    (copy / ".venv/mine").touch()
    assert environment(copy) == environment(copy, f"PYTHON={sys.executable}") == ""
    assert (copy / ".venv/mine").exists()


@pytest.mark.parametrize("change", ["earlier version", "no Python", "another Python", "lock", "link"])
def test_an_environment_that_does_not_fit_is_made_again(copy: Path, change: str) -> None:
    environment(copy)
    venv = copy / ".venv"
    (venv / "package").touch()
    match change:
        case "earlier version":
            (venv / ".python").unlink()
        case "no Python":
            (venv / "bin/python").unlink()
            (venv / "bin/python").symlink_to("/nowhere/python3")
        case "another Python":
            (venv / ".python").write_text((venv / ".python").read_text().replace(" 3 ", " 2 "))
        case "lock":
            (copy / "requirements/tests.txt").write_text("# changed\n")
        case "link":
            shutil.rmtree(venv)
            venv.symlink_to("/nowhere/.venv")
    assert MADE_AGAIN in environment(copy)
    assert not (venv / "package").exists()
    assert environment(copy) == ""


def test_a_clone_that_was_moved_makes_its_environment_again(copy: Path) -> None:
    environment(copy)
    moved = copy.rename(copy.with_name("moved"))
    assert MADE_AGAIN in environment(moved)
    assert environment(moved) == ""


def test_a_python_that_is_named_replaces_another(copy: Path) -> None:
    environment(copy)
    other = copy / "python-of-another-version"
    program(
        other, f'[ "$1" = -c ] && [ "${{2#*base_prefix}}" != "$2" ] && echo /other 3 99 || exec {sys.executable} "$@"'
    )
    done = make(copy, ".venv/.python", "PYTHON=./python-of-another-version")
    assert MADE_AGAIN in done.stdout, done.stderr


@pytest.mark.parametrize(
    ("version", "message"),
    [(None, "There is no python-of-mine"), ("3.10.4", "this is 3.10.4. Try make PYTHON=python3.13")],
)
def test_a_python_that_is_missing_or_too_old(copy: Path, tmp_path: Path, version: str | None, message: str) -> None:
    if version:
        old = f"import sys; sys.version_info, sys.version = (3, 10), '{version} (main)'"
        program(tmp_path / "bin/python-of-mine", f'exec {sys.executable} -c "{old}; exec(sys.argv[1])" "$2"')
    done = make(
        copy, ".venv/.python", "PYTHON=python-of-mine", PATH=f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    )
    assert done.returncode != 0
    assert message in done.stderr
    assert not (copy / ".venv").exists()


@pytest.mark.parametrize("stage", ["typo", "", "default", "version", 'a b"$HOME`id`'])
def test_a_stage_that_does_not_exist_lists_the_stages_and_changes_nothing(copy: Path, stage: str) -> None:
    for name in (".venv", ".venv-sam"):
        (copy / name / "bin").mkdir(parents=True)
        (copy / name / "bin/python").symlink_to(sys.executable)
    program(copy / ".venv/bin/lumendrop", "touch called")
    program(copy / ".venv-sam/bin/sam", "touch called")
    for target, installed in (("destroy", ".venv/.sandbox"), ("deploy", ".venv-sam/.ready")):
        done = make(copy, target, f"STAGE={stage}", "-o", installed)
        assert done.returncode != 0
        assert f"samconfig.toml has no stage {stage!r}, only dev, prod." in done.stderr
        assert "Traceback" not in done.stderr
        assert not (copy / "called").exists()


def test_destroy_names_the_stack_of_the_stage(copy: Path) -> None:
    (copy / ".venv/bin").mkdir(parents=True)
    (copy / ".venv/bin/python").symlink_to(sys.executable)
    program(copy / ".venv/bin/lumendrop", 'printf "%s\\n" "$@"')
    done = make(copy, "destroy", "STAGE=prod", "DELETE_PHOTOS=yes", "-o", ".venv/.sandbox")
    assert done.stdout.splitlines() == ["--stack", "lumendrop-prod", "destroy", "--delete-photos"]


@pytest.mark.parametrize("name", ["$HOME", "a b", "it's", 'a"b', "`id`", "$(id)", "-x", "a;b", "ü", "#1", "\\"])
def test_photos_and_out_are_passed_as_they_are(copy: Path, name: str) -> None:
    program(copy / ".venv/bin/python", 'printf "%s\\n" "$@"')
    arguments = ("demo", "-o", ".venv/.sandbox")
    expected = ["-m", "sandbox", "demo", f"--photos={name}", f"--out={name}"]
    assert make(copy, *arguments, f"PHOTOS={name}", f"OUT={name}").stdout.splitlines() == expected
    assert make(copy, *arguments, PHOTOS=name, OUT=name).stdout.splitlines() == expected


def test_the_demo_has_defaults(copy: Path) -> None:
    program(copy / ".venv/bin/python", 'printf "%s\\n" "$@"')
    assert make(copy, "demo", "-o", ".venv/.sandbox").stdout.splitlines() == ["-m", "sandbox", "demo", "--out=out"]


def test_clean_removes_everything_that_a_run_leaves(copy: Path) -> None:
    kept = {path.relative_to(copy) for path in copy.rglob("*")}
    left = (
        ".venv",
        ".venv-sam",
        ".venv-cli",
        "out",
        ".aws-sam",
        ".mypy_cache",
        "sandbox/aws/__pycache__",
        ".hypothesis",
    )
    for name in left:
        (copy / name).mkdir(parents=True)
        (copy / name / "file").touch()
    assert make(copy, "clean").returncode == 0
    (copy / "sandbox/aws").rmdir()
    (copy / "sandbox").rmdir()
    assert {path.relative_to(copy) for path in copy.rglob("*")} == kept
