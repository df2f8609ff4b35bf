"""`python -m sandbox status` says what became of a photo, in words."""

import subprocess
import sys

import pytest

from sandbox.demo.start import ROOT
from tests.e2e.pipeline import Pipeline


def _status(pipeline: Pipeline, key: str, port: int | None = None) -> subprocess.CompletedProcess[str]:
    port = port or int(pipeline.cloud.endpoint.rpartition(":")[2])
    command = [sys.executable, "-m", "sandbox", "status", key, "--port", str(port)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture(scope="module")
def rejected(pipeline: Pipeline) -> str:
    key = "status/note [1].jpg"
    pipeline.wait(pipeline.drop_all({key: b"Dear diary"}).values())
    return key


def test_it_says_what_happened_and_what_to_do(pipeline: Pipeline, rejected: str) -> None:
    answer = _status(pipeline, rejected)
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith("rejected ")
    assert "first bytes" in answer.stdout
    assert "Upload the photo in one of these formats." in answer.stdout
    assert f"errors/{rejected}.json" in answer.stdout


def test_a_key_that_nobody_dropped_is_not_known(pipeline: Pipeline) -> None:
    answer = _status(pipeline, "nobody/dropped.jpg")
    assert answer.returncode == 1
    assert "no upload with the key 'nobody/dropped.jpg'" in answer.stdout.replace("\n", "")


def test_without_a_sandbox_it_says_how_to_start_one(pipeline: Pipeline) -> None:
    answer = _status(pipeline, "a.jpg", port=1)
    assert answer.returncode == 2
    assert "make sandbox" in answer.stderr
