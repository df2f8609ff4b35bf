"""What is different on Windows, as far as another system can show it.

`make check` also checks the command with the types that Python has on Windows.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lumendrop_cli import main, photo_files
from lumendrop_cli.photo_files import LocalFile, Skipped, discover, expand_patterns
from lumendrop_cli.template_parameters import read_parameters
from sandbox.demo.start import ROOT
from tests.cli.command import Lumendrop

# Loads all modules twice: first with what they need, then without what only POSIX has.
IMPORT_WITHOUT_POSIX = """
import importlib, os, pkgutil, signal, socket, sys, time
import lumendrop_cli

def load():
    found = pkgutil.walk_packages(lumendrop_cli.__path__, "lumendrop_cli.")
    names = [one.name for one in found if not one.name.endswith("__main__")]
    for name in names:
        importlib.import_module(name)
    return names

load()
for name in [name for name in sys.modules if name.startswith("lumendrop_cli.")]:
    del sys.modules[name]
for name in ("fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty", "readline", "curses"):
    sys.modules[name] = None
MISSING = {
    os: "O_NOFOLLOW O_DIRECTORY O_CLOEXEC O_NONBLOCK getuid geteuid getgid getpgid setsid killpg fork chown fchmod "
    "mkfifo sync statvfs sysconf uname pread pwrite sched_getaffinity WNOHANG",
    signal: "SIGHUP SIGKILL SIGALRM SIGPIPE SIGUSR1 SIGUSR2 SIGCHLD SIGWINCH pthread_sigmask sigwait alarm",
    socket: "AF_UNIX SO_REUSEPORT socketpair",
    time: "tzset",
}
for module, names in MISSING.items():
    for name in names.split():
        if hasattr(module, name):
            delattr(module, name)
print(len(load()))
"""


def import_without_posix(*more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "\n".join((*more, IMPORT_WITHOUT_POSIX))],
        env={"PYTHONPATH": f"{ROOT / 'cli'}", "PATH": os.defpath},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_every_module_can_be_imported_without_what_only_posix_has() -> None:
    done = import_without_posix()
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 60


def test_an_import_of_a_posix_module_is_found(tmp_path: Path) -> None:
    (tmp_path / "needs_posix.py").write_text("import fcntl, os\nFLAGS = os.O_NOFOLLOW\n")
    failed = import_without_posix("import lumendrop_cli", f"lumendrop_cli.__path__.append({str(tmp_path)!r})")
    assert "import of fcntl halted" in failed.stderr


class Entry:
    """An entry of a folder as on Windows: without the file's identity."""

    def __init__(self, entry: os.DirEntry[str]) -> None:
        self.name, self.path, self._entry = entry.name, entry.path, entry

    def is_symlink(self) -> bool:
        return False

    def is_junction(self) -> bool:
        return self._entry.is_symlink()

    def stat(self) -> os.stat_result:
        return without_identity(self._entry.stat())


def without_identity(status: os.stat_result) -> os.stat_result:
    values = list(status)
    values[1] = values[2] = 0  # st_ino, st_dev
    return os.stat_result(values)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photos, with the folder for results and a loop inside."""
    folder = tmp_path / "photos"
    for name in ("a.jpg", "sub/b.jpg", "sub/deep/c.jpg", "out/result.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    (folder / "sub/loop").symlink_to(folder, target_is_directory=True)
    (folder / "out/of/today").mkdir(parents=True)
    (folder / "today").symlink_to(folder / "out/of/today", target_is_directory=True)
    return folder


def names(folder: Path) -> tuple[list[str], dict[str, str]]:
    found = list(discover([folder], folder / "out"))
    skipped = {one.name: one.reason for one in found if isinstance(one, Skipped)}
    return [one.name for one in found if isinstance(one, LocalFile)], skipped


FOUND = ["a.jpg", "sub/b.jpg", "sub/deep/c.jpg"]
LEFT_OUT = {
    "out": "the folder for results",
    "today": "the folder for results",
    "sub/loop": "a link to a folder that contains it",
}


def test_results_are_left_out_if_the_listing_has_no_identities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.scandir

    @contextmanager
    def scandir(path: Any) -> Iterator[list[Entry]]:
        with original(path) as listed:
            yield [Entry(one) for one in listed]

    monkeypatch.setattr(photo_files.os, "scandir", scandir)
    assert names(folder) == (FOUND, LEFT_OUT)


def test_results_are_left_out_on_a_drive_without_identities(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = os.stat
    monkeypatch.setattr(os, "stat", lambda *given, **named: without_identity(original(*given, **named)))
    assert names(folder) == (FOUND, LEFT_OUT)


def test_what_was_deleted_is_not_uploaded(folder: Path) -> None:
    (folder / "$RECYCLE.BIN").mkdir()
    (folder / "$RECYCLE.BIN/$R1.jpg").touch()
    (folder / "System Volume Information").mkdir()
    found, skipped = names(folder)
    assert found == FOUND
    assert skipped.items() - LEFT_OUT.items() == {("$RECYCLE.BIN", "hidden"), ("System Volume Information", "hidden")}


def test_patterns_are_expanded_where_no_shell_does_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder / "sub")
    Path("d[1].jpg").touch()
    given = ["*.jpg", "d[1].jpg", "../?.jpg", "none*.png", "-o", "out", "--prefix=x*"]
    expanded = ["b.jpg", "d[1].jpg", "d[1].jpg", "../a.jpg", "none*.png", "-o", "out", "--prefix=x*"]
    assert expand_patterns(given, windows=True) == expanded
    assert expand_patterns(given, windows=False) == given


def test_only_paths_of_this_machine_are_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    expanded = list[list[str]]()
    monkeypatch.setattr(main, "expand_patterns", lambda given: expanded.append([*given]) or given)
    lumendrop = Lumendrop("http://127.0.0.1:1")
    assert lumendrop("enhance", "none*.jpg").code == 2
    assert lumendrop("retry", "a*.jpg", "--resolution", "8K").code == 2
    assert expanded == [["none*.jpg"]]


def test_editors_of_windows_begin_a_file_with_a_mark(tmp_path: Path) -> None:
    path = tmp_path / "lumendrop.toml"
    path.write_text("[parameters]\nDailyTaskLimit = 5\n", encoding="utf-8-sig")
    assert read_parameters(None, path, {"DailyTaskLimit": {"Type": "Number"}}) == {"DailyTaskLimit": "5"}
