"""The installed wheel deploys a destroyed stack again, as docs/deploy.md says: nothing is lost or paid for twice."""

import json
import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import requests

from sandbox.demo.start import Sandbox
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

SECONDS = 120
TAKEN = b"Something that somebody else has put here."


class Command:
    """The installed command, in its folder."""

    def __init__(self, command: Path, folder: Path, environment: dict[str, str]) -> None:
        self._command, self._folder, self._environment = command, folder, environment

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        done = subprocess.run(
            [self._command, *arguments],
            cwd=self._folder,
            env=self._environment,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self(*arguments, "--json"))


@pytest.fixture
def run(command: Path, environment: dict[str, str], tmp_path: Path) -> Command:
    return Command(command, tmp_path, environment)


def test_a_stack_is_destroyed_and_deployed_again(run: Command, empty: Sandbox, tmp_path: Path) -> None:
    config = tmp_path / "lumendrop.toml"
    config.write_text(f'[parameters]\nApiBaseUrl = "{empty.enhancer}"\nResolution = "1K"\nDailyTaskLimit = 60\n')
    run("deploy", "--yes")
    run("set-key", stdin=f"{empty.key}\n")
    before = Pipeline(empty, tmp_path)
    ended = {before.drop("enhanced.jpg", jpeg()): "enhanced", before.drop("rejected.txt", b"Not a photo."): "rejected"}
    before.wait(ended)
    fault = {"submit": [{"kind": "reset", "created": True}]}
    ended[before.drop_with_faults(fault, "unknown.jpg", jpeg(), "unknown")] = "unknown"
    before.wait(ended)
    in_progress = before.drop_with_faults({"task": [{"seconds": 12}]}, "in progress.jpg", jpeg(), "submitted")
    run("pause")
    waiting = before.drop("waiting.jpg", jpeg())
    before.wait_until(lambda: _waiting(before) == 1, "it is in the queue")
    foreign = _put_foreign(before)
    printed = run("destroy", "--yes")
    kept = before.rows()
    assert kept[in_progress]["status"] == "submitted"

    config.write_text(_configuration(printed))
    meanwhile = before.drop("meanwhile.jpg", jpeg())
    taken = before.drop("taken.jpg", jpeg())
    run("deploy", "--yes")
    run("set-key", stdin=f"{empty.key}\n")
    after = Pipeline(empty, tmp_path)
    assert after.outputs["InputBucketName"] == before.outputs["InputBucketName"]
    assert after.outputs["OutputBucketName"] == before.outputs["OutputBucketName"]
    assert after.rows() == kept
    assert after.outputs["WorkflowArn"] != before.outputs["WorkflowArn"]
    survey = run.json("backfill", "--dry-run")
    assert (survey["photos"], survey["tasks"]) == (7, 3)
    run("backfill", "--yes")
    expected = {**ended, in_progress: "enhanced", waiting: "enhanced", meanwhile: "enhanced", taken: "enhanced"}
    after.wait(expected.keys() - ended.keys())
    rows = after.rows()
    assert {upload: rows[upload]["status"] for upload in expected} == expected
    assert {upload: row for upload, row in rows.items() if upload in ended} == {one: kept[one] for one in ended}
    _every_upload_is_visible_once(after, rows)
    _nothing_is_paid_for_twice(after, empty, rows)
    assert rows[in_progress]["task_id"] == kept[in_progress]["task_id"]
    assert foreign.items() <= _objects(after).items()


def _waiting(stack: Pipeline) -> int:
    url, name = stack.outputs["UploadQueueUrl"], "ApproximateNumberOfMessages"
    found = stack.cloud.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=[name])
    return int(found["Attributes"][name])


def _put_foreign(stack: Pipeline) -> dict[str, str]:
    """Puts an object of somebody else into the output bucket, where a result would be. Returns the ETag by key."""
    bucket = stack.outputs["OutputBucketName"]
    return {"taken.jpg": stack.cloud.client("s3").put_object(Bucket=bucket, Key="taken.jpg", Body=TAKEN)["ETag"]}


def _objects(stack: Pipeline) -> dict[str, str]:
    found = stack.cloud.client("s3").list_objects_v2(Bucket=stack.outputs["OutputBucketName"])
    return {one["Key"]: one["ETag"] for one in found["Contents"]}


def _configuration(printed: str) -> str:
    """The file that `lumendrop destroy` prints for the next stack."""
    found = re.search(r"^\[parameters\]\n(?:\w+ = .*\n)+", printed, re.MULTILINE)
    assert found, printed
    return found[0]


def _every_upload_is_visible_once(stack: Pipeline, rows: dict[Upload, Any]) -> None:
    photos = [row["output"]["key"] for row in rows.values() if row["status"] == "enhanced"]
    reports = [row["report_key"] for row in rows.values() if row["status"] != "enhanced"]
    assert sorted(_objects(stack)) == sorted([*photos, *reports, "taken.jpg"])


def _nothing_is_paid_for_twice(stack: Pipeline, running: Sandbox, rows: dict[Upload, Any]) -> None:
    tasks = requests.get(f"{running.enhancer}/_sandbox/tasks", timeout=SECONDS).json()
    recorded = {row["task_id"] for row in rows.values() if "task_id" in row}
    (unknown,) = (upload for upload, row in rows.items() if row["status"] == "unknown")
    charged = {task["id"] for task in tasks}
    assert charged - recorded == {task["id"] for task in stack.tasks(unknown)}
    assert recorded <= charged
    assert set(Counter(task["version_id"] for task in tasks).values()) == {1}
