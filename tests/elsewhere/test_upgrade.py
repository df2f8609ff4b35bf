"""An update from an earlier version and the way back, while photos are in progress: nothing is lost or paid for twice.

The earlier version is the last one whose rows have keys without the bucket. Template and code come from the history.
"""

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.demo.start import ROOT
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import EventRecorder, Pipeline, Upload
from tests.elsewhere.cloud import STACK, elsewhere
from tests.elsewhere.deployment import deploy

EARLIER = "1b238e1"
PARTS = ("template.yaml", "monitoring.yaml", "statemachines", "functions", "layers")
PARAMETERS = {"Resolution": "1K"}
SLOW: list[Any] = [{"seconds": 8}]  # longer than an update takes


@pytest.fixture(scope="module")
def earlier(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tree of the earlier version."""
    archive = subprocess.run(["git", "archive", EARLIER, *PARTS], cwd=ROOT, capture_output=True, check=False)
    if archive.returncode:  # a shallow clone, or a source archive, has no earlier version; CI fetches all of them
        pytest.skip(f"This clone's history has no commit {EARLIER}. Get it with: git fetch --unshallow")
    tree = tmp_path_factory.mktemp("earlier")
    subprocess.run(["tar", "-x", "-C", tree], input=archive.stdout, check=True)
    return tree


@pytest.fixture(scope="module")
def stack(earlier: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A stack of its own, of the earlier version."""
    with elsewhere(PARAMETERS, tmp_path_factory.mktemp("logs"), earlier) as running:
        yield Pipeline(running, tmp_path_factory.mktemp("upgrade"))


def _in_progress(stack: Pipeline, key: str) -> Upload:
    """An upload whose task runs for some seconds."""
    stack.plan(task=SLOW)
    upload = stack.drop(key, jpeg())
    stack.wait_until(lambda: stack.rows().get(upload, {}).get("status") == "submitted", f"{key} is submitted")
    return upload


def _update(stack: Pipeline, tree: Path, key: str) -> Upload:
    """Updates the paused stack, as docs/deploy.md says. Returns an upload that arrives meanwhile."""
    with stack.event_source_disabled():
        upload = stack.drop(key, jpeg())
        url = {"ApiBaseUrl": stack._enhancer}
        deploy(stack.cloud.client, STACK, {**url, **PARAMETERS}, tree)
    return upload


def _paid_once(stack: Pipeline, *uploads: Upload) -> None:
    stack.wait(uploads)
    rows = stack.rows()
    for upload in uploads:
        assert rows[upload]["status"] == "enhanced", stack.explain(upload)
        assert len(stack.tasks(upload)) == 1, stack.explain(upload)
        assert upload.key in stack.keys("")


def test_an_update_and_the_way_back_keep_every_promise(stack: Pipeline, earlier: Path) -> None:
    events = EventRecorder(stack, "upgrade", {"source": ["aws.s3", "lumendrop"]})
    done = stack.drop("done.jpg", jpeg())
    _paid_once(stack, done)
    assert stack.rows()[done]["pk"] == "upload#done.jpg"

    running = _in_progress(stack, "running.jpg")
    waiting = _update(stack, ROOT, "waiting.jpg")
    _paid_once(stack, running, waiting)
    new = stack.drop("new.jpg", jpeg())
    _paid_once(stack, new)
    assert stack.rows()[new]["pk"].startswith("object#")
    # The rows of the earlier version count: neither copies of an event nor a backfill pay again.
    events.repeat(done, 2)
    sent = json.loads(stack.backfill("")["output"])["sent"]
    assert sent == 4
    _settle(stack)
    _paid_once(stack, done, running, waiting, new)

    running_back = _in_progress(stack, "running back.jpg")
    waiting_back = _update(stack, earlier, "waiting back.jpg")
    _paid_once(stack, running_back, waiting_back)
    events.repeat(done, 2)
    _settle(stack)
    _paid_once(stack, done, running, waiting, new, running_back, waiting_back)


def _settle(stack: Pipeline) -> None:
    """Waits until the upload queue is empty."""
    sqs, counts = stack.cloud.client("sqs"), ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]

    def is_empty() -> bool:
        found = sqs.get_queue_attributes(QueueUrl=stack.outputs["UploadQueueUrl"], AttributeNames=counts)["Attributes"]
        return not any(int(found[name]) for name in counts)

    stack.wait_until(is_empty, "the queue is empty")
