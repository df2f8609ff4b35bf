"""`lumendrop retry` sends uploads again that ended without an enhanced photo."""

from typing import Any

import pytest

from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

FAILED_TASK = {"end": "failed", "code": "unknown_error", "seconds": 0}


def _failed_upload(pipeline: Pipeline, key: str, **plan: list[Any]) -> Upload:
    """An upload that the enhancer handles as planned, and that has its report."""
    pipeline.plan(**plan)
    upload = pipeline.drop(key, jpeg())
    pipeline.wait([upload])
    return upload


def test_unknown_uploads_are_sent_again_only_after_confirmation(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = _failed_upload(pipeline, "in/retry/unknown.jpg", submit=[{"kind": "reset"}])
    dry = lumendrop.ok("retry", "--unknown", "--dry-run")
    assert (dry["sent"], [one["key"] for one in dry["uploads"]]) == (0, [upload.key])
    declined = lumendrop("retry", "--unknown", stdin="n\n")
    assert (declined.code, "This pays for 1 new task. Continue?" in declined.err) == (1, True)
    assert " rows read, 1 found …" in declined.err
    assert pipeline.rows()[upload]["attempt"] == 1
    assert lumendrop.ok("retry", "--unknown", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert (pipeline.rows()[upload]["attempt"], len(pipeline.tasks(upload))) == (2, 1)
    none = lumendrop("retry", "--unknown", "--yes")
    assert (none.code, "No matching upload" in none.out) == (1, True)


def test_uploads_are_sent_again_by_key_and_by_code(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    upload = _failed_upload(pipeline, "in/retry/failed.jpg", task=[FAILED_TASK, FAILED_TASK])
    assert lumendrop.ok("retry", upload.key, "--version-id", upload.version_id, "--yes")["sent"] == 1
    pipeline.wait_until(lambda: pipeline.rows()[upload]["attempt"] == 2, "a second attempt", [upload])
    pipeline.wait([upload])
    assert lumendrop.ok("retry", "--code", "unknown_error", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 3
    again = lumendrop("retry", upload.key, "--yes")
    assert (again.code, "The upload is enhanced" in again.err) == (1, True)


@pytest.mark.parametrize(
    "arguments", [(), ("a", "--unknown"), ("--unknown", "--code", "x"), ("--unknown", "--version-id", "x")]
)
def test_exactly_one_selection_is_required(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    assert lumendrop("retry", *arguments).code == 2


@pytest.mark.parametrize("command", ["retry", "fetch"])
def test_a_key_without_a_row_is_an_error(lumendrop: Lumendrop, command: str) -> None:
    result = lumendrop(command, "in/nobody.jpg")
    assert (result.code, "has no such upload" in result.err) == (1, True)
