"""Both commands as a newcomer runs them: in processes of their own, with the printed commands."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.demo.photos import bundled, load

REPO = Path(__file__).resolve().parents[2]
SECONDS = 120


def sandbox(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(command, cwd=REPO, capture_output=True, text=True, timeout=SECONDS, check=False)


def test_the_demo_brings_back_photos_and_explains_what_is_none(tmp_path: Path) -> None:
    folder, out = tmp_path / "Fotos für Oma", tmp_path / "out"
    (folder / "süd").mkdir(parents=True)
    photos = {photo.key: photo.path for photo in bundled(tmp_path)}
    photos["cat.png"].rename(folder / "süd/cat +1%.png")
    photos["rocket.jpg"].rename(folder / "IMG_1 [1].jpg")
    (folder / "notes.txt").write_text("buy milk")
    (folder / "empty.jpg").touch()
    (folder / ".DS_Store").write_text("x")

    run = sandbox("demo", "--photos", folder, "--out", out, "--resolution", "1K")

    assert run.returncode == 1, run.stdout + run.stderr
    assert run.stderr == ""
    enhanced = {path: load(out / path) for path in ("IMG_1 [1].jpg", "süd/cat +1%.png.jpg")}
    assert {path: (image.width, image.height) for path, image in enhanced.items()} == {
        "IMG_1 [1].jpg": (683, 1024),
        "süd/cat +1%.png.jpg": (1024, 680),
    }
    assert json.loads((out / "errors/notes.txt.json").read_text())["code"] == "not_an_image"
    assert ".DS_Store" not in run.stdout
    assert f"Report: {out}/errors/notes.txt.json" in run.stdout
    assert "empty.jpg: The file is empty" in run.stdout
    page = (out / "index.html").read_text()
    assert "4 uploads: 2 enhanced, 1 rejected, 1 skipped." in " ".join(page.split())
    gains = [float(gain) for gain in re.findall(r"([\d.]+) . bicubic", page)]
    assert len(gains) == 2
    assert min(gains) > 1.2


class Up:
    """`up` in a process of its own, and what it has printed so far."""

    def __init__(self, log: Path) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", "sandbox", "up", "--port", "0"]
            self.process = subprocess.Popen(command, cwd=REPO, stdout=output, stderr=output)

    def printed(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.printed(), re.MULTILINE):
                return found
            assert self.process.poll() is None, self.printed()
            time.sleep(0.1)
        raise AssertionError(f"nothing like {pattern} in\n{self.printed()}")


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    running = Up(tmp_path / "up.log")
    yield running
    # Not killed: it ends the processes that it started.
    running.process.terminate()
    running.process.wait(SECONDS)


def shell(command: str, folder: Path) -> str:
    surroundings = {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(folder)}
    return subprocess.run(
        ["bash", "-ec", command],
        cwd=folder,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=True,
    ).stdout


def test_up_prints_commands_that_work_and_stops_when_told(up: Up, tmp_path: Path) -> None:
    bundled(tmp_path)
    (tmp_path / "astronaut.jpg").rename(tmp_path / "photo.jpg")
    up.wait_for("Uploads show here:")
    export, copy_in, listing, copy_out = re.findall(r"^  ((?:export|aws) .*)$", up.printed(), re.MULTILINE)
    address = up.wait_for(r"http://127\.0\.0\.1:(\d+)$")

    taken = sandbox("up", "--port", address.group(1))
    assert taken.returncode == 2
    assert f"cannot listen on 127.0.0.1:{address.group(1)}" in taken.stderr
    assert "Traceback" not in taken.stderr

    shell(f"{export}; {copy_in}", tmp_path)
    up.wait_for(r"dropped +photo\.jpg$")
    up.wait_for(r"enhanced +photo\.jpg  s3://")
    assert "photo.jpg" in shell(f"{export}; {listing}", tmp_path)
    shell(f"{export}; {copy_out}", tmp_path)
    enhanced = load(tmp_path / "enhanced.jpg")
    assert (enhanced.width, enhanced.height) == (4096, 4096)

    logs = Path(up.wait_for(r"^Logs +(.+)$").group(1))
    assert (logs / "functions.log").read_text()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(SECONDS) == 0
    assert up.printed().endswith("Stopped. Nothing is kept.\n")
    assert not logs.exists()
