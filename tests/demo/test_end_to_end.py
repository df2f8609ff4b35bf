"""Both commands in separate processes, with the commands that they print."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from sandbox.demo.images import SAMPLES, load
from tests.demo.locked import REPO, environment

SECONDS = 120


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The environment of a process that has only the sandbox's packages, and a proxy that leads nowhere."""
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY"), "http://127.0.0.1:9")
    return environment(tmp_path_factory.mktemp("locked")) | proxies


def sandbox(variables: dict[str, str], *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "sandbox", *arguments]
    return subprocess.run(
        command, cwd=REPO, env=variables, capture_output=True, text=True, timeout=SECONDS, check=False
    )


def test_the_demo_enhances_photos_and_reports_other_files(tmp_path: Path, locked: dict[str, str]) -> None:
    folder, out = tmp_path / "Fotos für Oma", tmp_path / "out"
    (folder / "süd").mkdir(parents=True)
    shutil.copy(SAMPLES / "cat.png", folder / "süd/cat +1%.png")
    shutil.copy(SAMPLES / "rocket.jpg", folder / "IMG_1 [1].jpg")
    (folder / "cut.jpg").write_bytes((SAMPLES / "rocket.jpg").read_bytes()[:-800])
    (folder / "notes.txt").write_text("buy milk")
    (folder / "empty.jpg").touch()
    (folder / ".DS_Store").write_text("x")

    run = sandbox(locked, "demo", "--photos", folder, "--out", out, "--resolution", "1K")

    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stderr == ""
    enhanced = {path: load(out / path) for path in ("IMG_1 [1].jpg", "süd/cat +1%.png.jpg")}
    assert {path: (image.width, image.height) for path, image in enhanced.items()} == {
        "IMG_1 [1].jpg": (683, 1024),
        "süd/cat +1%.png.jpg": (1024, 680),
    }
    assert json.loads((out / "errors/cut.jpg.json").read_text())["code"] == "truncated"
    assert ".DS_Store" not in run.stdout
    assert f"Report: {out}/errors/cut.jpg.json" in run.stdout
    assert "empty.jpg: Not uploaded: empty." in run.stdout
    assert "notes.txt: Not uploaded: no photo (JPEG, PNG, WebP, HEIC)." in run.stdout
    gains = [float(gain) for gain in re.findall(r"([\d.]+) \N{MULTIPLICATION SIGN}", run.stdout)]
    assert len(gains) == 2
    assert min(gains) > 1.2
    saved = re.search(r'id="saved">(.*)</script>', (out / "index.html").read_text())
    assert saved
    uploads = {one["card"]["key"]: one for one in json.loads(saved[1])["uploads"]}
    assert {key: one["card"]["status"] for key, one in uploads.items()} == {
        "IMG_1 [1].jpg": "enhanced",
        "cut.jpg": "rejected",
        "süd/cat +1%.png": "enhanced",
    }
    assert uploads["süd/cat +1%.png"]["file"] == "./s%C3%BCd/cat%20%2B1%25.png.jpg"
    assert uploads["IMG_1 [1].jpg"]["pictures"].keys() == {"before", "after"}
    assert [one["name"] for one in uploads["IMG_1 [1].jpg"]["execution"]["states"]][-1] == "PublishEnhanced"


class Up:
    """`up` in a separate process, and its output."""

    def __init__(self, log: Path, variables: dict[str, str]) -> None:
        self._log = log
        with log.open("wb") as output:
            command = [sys.executable, "-m", "sandbox", "up", "--port", "0"]
            self.process = subprocess.Popen(command, cwd=REPO, env=variables, stdout=output, stderr=output)

    def printed(self) -> str:
        return self._log.read_text()

    def wait_for(self, pattern: str) -> re.Match[str]:
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline:
            if found := re.search(pattern, self.printed(), re.MULTILINE):
                return found
            assert self.process.poll() is None, self.printed()
            time.sleep(0.1)
        raise AssertionError(f"no match for {pattern} in\n{self.printed()}")


@pytest.fixture
def up(tmp_path: Path, locked: dict[str, str]) -> Iterator[Up]:
    running = Up(tmp_path / "up.log", locked)
    yield running
    # SIGTERM, because a killed process would leave its child processes behind.
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


def test_up_prints_commands_that_work_and_stops_on_sigterm(
    up: Up, tmp_path: Path, locked: dict[str, str], socket_enabled: None
) -> None:
    shutil.copy(SAMPLES / "astronaut.jpg", tmp_path / "photo.jpg")
    up.wait_for("Uploads:$")
    export, copy_in, status, copy_out = re.findall(r"^  (.*)$", up.printed(), re.MULTILINE)
    assert len(up.printed().splitlines()) == 8
    board = up.wait_for(r"^Open the board: (http://127\.0\.0\.1:\d+/\?token=\S+)$").group(1)
    with urllib.request.urlopen(board, timeout=SECONDS) as page:
        assert "HttpOnly" in page.headers["Set-Cookie"]
    address = up.wait_for(r"AWS_ENDPOINT_URL=http://127\.0\.0\.1:(\d+) ")

    taken = sandbox(locked, "up", "--port", address.group(1))
    assert taken.returncode == 2
    problem = f"cannot listen on 127.0.0.1:{address.group(1)}: Address already in use; choose another port"
    assert taken.stderr == f"sandbox: {problem}\n"

    shell(f"{export}; {copy_in}", tmp_path)
    up.wait_for(r"dropped +photo\.jpg$")
    up.wait_for(r"enhanced +photo\.jpg  s3://")
    lumendrop = f"PYTHONPATH={locked['PYTHONPATH']} {status}"
    assert "enhanced: in the output bucket" in shell(f"cd {REPO}; {export}; {lumendrop}", tmp_path)
    shell(f"{export}; {copy_out}", tmp_path)
    enhanced = load(tmp_path / "enhanced.jpg")
    assert (enhanced.width, enhanced.height) == (4096, 4096)

    proxies = "HTTP_PROXY=http://127.0.0.1:9 http_proxy=http://127.0.0.1:9"
    assert "enhanced" in shell(f"cd {REPO}; {export} {proxies}; {lumendrop}", tmp_path)
    assert "photo.jpg" in shell(f"{export} {proxies}; aws s3 ls {copy_in.split()[-1]}", tmp_path)
    shell(f"cd {REPO}; {export}; {lumendrop.removesuffix(' status photo.jpg')} destroy --delete-photos --yes", tmp_path)
    up.wait_for("^The stack or its input bucket was deleted")

    logs = Path(up.wait_for(r"^Logs are in (.+?)\. In another").group(1))
    assert (logs / "functions.log").read_text()
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(SECONDS) == 0
    assert up.printed().endswith("Stopped. Nothing is kept.\n")
    assert not logs.exists()
