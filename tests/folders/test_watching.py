"""`lumendrop enhance --watch`: files are uploaded once they are complete."""

import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lumendrop_cli import watching
from lumendrop_cli.watching import Watcher
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.folders.test_enhance import start


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "photos").mkdir()
    return tmp_path / "photos"


@pytest.fixture
def watcher(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watcher]:
    """A watcher that gets no notifications, as on a network drive, and looks often."""
    monkeypatch.setattr(watching, "STABLE_SECONDS", 0.3)
    monkeypatch.setattr(watching, "RESCAN_SECONDS", 0.05)
    monkeypatch.setattr(Watcher, "_listen", lambda _: None)
    watcher = Watcher([folder], folder / "out")
    yield watcher
    watcher.close()


def _until(watcher: Watcher, count: int) -> list[str]:
    """The names of the next complete files."""
    found: list[str] = []
    deadline = time.monotonic() + 20
    while len(found) < count and time.monotonic() < deadline:
        found += [one.name for one in watcher.ready()]
        time.sleep(0.01)
    return found


def _nothing(watcher: Watcher, seconds: float = 0.6) -> bool:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if watcher.ready():
            return False
        time.sleep(0.01)
    return True


def test_a_slow_copy_is_taken_when_it_is_complete(watcher: Watcher, folder: Path) -> None:
    with (folder / "slow.jpg").open("wb", buffering=0) as copy:
        for _ in range(8):
            copy.write(b"x" * 1000)
            assert _nothing(watcher, 0.1)
    assert _until(watcher, 1) == ["slow.jpg"]
    assert _nothing(watcher)
    (folder / "slow.jpg").write_bytes(b"another")
    assert _until(watcher, 1) == ["slow.jpg"]


def test_a_rename_into_place_is_taken_under_its_new_name(watcher: Watcher, folder: Path) -> None:
    (folder / "a.jpg.part").write_bytes(b"x")
    assert _until(watcher, 1) == ["a.jpg.part"]  # the plan then skips it
    (folder / "a.jpg.part").rename(folder / "a.jpg")
    assert _until(watcher, 1) == ["a.jpg"]


def test_a_thousand_files_at_once(watcher: Watcher, folder: Path) -> None:
    for number in range(1000):
        (folder / f"{number}.jpg").write_bytes(b"x")
    assert len(set(_until(watcher, 1000))) == 1000
    assert _nothing(watcher)


def test_a_folder_that_comes_back_is_found_again(watcher: Watcher, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    assert _until(watcher, 1) == ["a.jpg"]
    folder.rename(folder.with_name("unmounted"))
    assert _nothing(watcher)
    folder.with_name("unmounted").rename(folder)
    assert _until(watcher, 1) == ["a.jpg"]


def test_files_that_were_not_finished_are_found_again(watcher: Watcher, folder: Path) -> None:
    (folder / "a.jpg").write_bytes(b"x")
    deadline = time.monotonic() + 20
    while not (found := watcher.ready()) and time.monotonic() < deadline:
        time.sleep(0.01)
    watcher.give_back(found)
    assert _until(watcher, 1) == ["a.jpg"]


def test_of_two_files_with_one_name_only_the_first_is_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watching, "STABLE_SECONDS", 0.1)
    monkeypatch.setattr(watching, "RESCAN_SECONDS", 0.05)
    monkeypatch.setattr(Watcher, "_listen", lambda _: None)
    other = folder.parent / "other"
    other.mkdir()
    (other / "a.jpg").write_bytes(b"first")
    watcher = Watcher([folder, other], folder / "out")
    assert (_until(watcher, 1), watcher.left_out) == (["a.jpg"], [])
    (folder / "a.jpg").write_bytes(b"second")
    assert _nothing(watcher, 0.4)
    assert watcher.left_out == [folder / "a.jpg"]
    (other / "a.jpg").unlink()
    assert (_until(watcher, 1), watcher.left_out) == (["a.jpg"], [])


def _ended(events: list[Any]) -> list[Any]:
    """`done` is a result with the same bytes as before: bytes after the end of a photo don't change it."""
    return [one for one in events if one.get("event") in ("enhanced", "done")]


def test_new_and_changed_photos_are_enhanced_until_ctrl_c(pipeline: Pipeline, folder: Path) -> None:
    out = folder.parent / "out"
    first = jpeg() + os.urandom(8)
    (folder / "first.jpg").write_bytes(first)
    command = start(pipeline, folder, out, "--watch")
    watchdog = threading.Timer(100, command.kill)
    watchdog.start()
    events = []
    try:
        assert command.stdout is not None
        for line in command.stdout:
            events.append(json.loads(line))
            match len(_ended(events)) if events[-1] in _ended(events) else 0:
                case 0:
                    continue
                case 1:
                    (folder / "new.jpg.part").write_bytes(jpeg() + os.urandom(8))
                    (folder / "new.jpg.part").rename(folder / "new.jpg")
                case 2:
                    (folder / "first.jpg").write_bytes(jpeg() + os.urandom(8))
                case 3:
                    (folder / "first.jpg").rename(folder / "renamed.jpg")
                case _:
                    command.send_signal(signal.SIGINT)
    finally:
        _, err = command.communicate(timeout=60)
        watchdog.cancel()
    assert command.returncode == 130, err
    assert [one["name"] for one in _ended(events)] == ["first.jpg", "new.jpg", "first.jpg", "renamed.jpg"]
    assert (out / "renamed.jpg").read_bytes() == (out / "first.jpg").read_bytes()
    rows = [row for one, row in pipeline.rows().items() if one.key.startswith(f"in/enhance/{folder.parent.name}/")]
    assert len([row for row in rows if not row.get("same_as")]) == 3
