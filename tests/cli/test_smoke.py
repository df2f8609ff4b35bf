"""`lumendrop smoke` pays for one task and checks the result."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from lumendrop_cli import event_delivery, polling
from lumendrop_cli.smoke import built_in_photo
from lumendrop_cli.versions import delete_versions
from tests.cli.command import Lumendrop
from tests.e2e.photos import opened
from tests.e2e.pipeline import Pipeline


def test_the_built_in_photo_is_enhanced_and_deleted(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    result = lumendrop.ok("smoke", "--yes", "--clean")
    assert result["key"].startswith("in/lumendrop-smoke/")
    assert result["photo"].startswith(f"s3://{pipeline.outputs['OutputBucketName']}/{result['key']}")
    bucket = pipeline.outputs["InputBucketName"]
    found = pipeline.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix="in/lumendrop-smoke/")
    assert (found["KeyCount"], pipeline.keys("in/lumendrop-smoke/")) == (0, [])
    (row,) = lumendrop.ok("status", result["key"])["rows"]
    assert (row["status"], row["task_id"]) == ("enhanced", result["task_id"])


def test_a_photo_of_your_own_is_not_changed_and_its_reuse_is_named(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    photo = tmp_path / "mine.png"
    photo.write_bytes(built_in_photo())
    first = lumendrop.ok("smoke", str(photo), "--yes")
    bucket = pipeline.outputs["InputBucketName"]
    stored = pipeline.cloud.client("s3").get_object(Bucket=bucket, Key=first["key"])["Body"].read()
    assert (stored == photo.read_bytes(), first["same_as"]) == (True, None)
    before = len(pipeline._all_tasks())
    second = lumendrop("smoke", str(photo), "--yes", "--clean")
    assert second.code == 0, second.err
    assert "Nothing was paid." in second.out
    assert len(pipeline._all_tasks()) == before
    for name in (bucket, pipeline.outputs["OutputBucketName"]):
        delete_versions(pipeline.cloud.client("s3"), name, first["key"])


def test_the_built_in_photo_is_a_new_one_each_time() -> None:
    assert built_in_photo() != built_in_photo()


def test_nothing_is_paid_without_confirmation(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    before = len(pipeline._all_tasks())
    for answer in ("n\n", ""):
        result = lumendrop("smoke", typed=answer)
        assert (result.code, "This pays for 1 task, about 0.12 USD. Continue?" in result.err) == (1, True)
    assert len(pipeline._all_tasks()) == before


def test_a_photo_of_your_own_may_cost_nothing(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    photo = tmp_path / "mine.png"
    photo.write_bytes(built_in_photo())
    result = lumendrop("smoke", str(photo), typed="n\n")
    assert "about 0.12 USD, or for nothing if the same photo is already enhanced. Continue?" in result.err


def test_a_file_that_is_not_an_image_fails(lumendrop: Lumendrop, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Dear diary")
    result = lumendrop("smoke", str(note), "--yes", "--clean")
    assert result.code == 1
    assert "ended as rejected" in result.err
    assert "Upload the photo in one of these formats." in result.err


def test_the_timeout_ends_the_wait(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    with _without_events(pipeline):
        result = lumendrop("--json", "smoke", "--yes", "--timeout", "1", "--clean")
    assert (result.code, result.json["cleaned"]) == (1, True)
    assert "is not finished after 1 seconds" in result.err
    assert "lumendrop doctor" in result.err
    assert _objects(pipeline) == []


def test_a_paused_stack_fails_at_once(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    lumendrop.ok("pause")
    result = lumendrop("smoke", "--yes")
    lumendrop.ok("resume")
    assert (result.code, "lumendrop resume" in result.err) == (1, True)
    assert _objects(pipeline) == []


def test_an_empty_photo_fails_at_once(lumendrop: Lumendrop, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jpg"
    empty.touch()
    result = lumendrop("smoke", str(empty), "--yes")
    assert (result.code, "the photo is empty" in result.err) == (2, True)


def test_clean_deletes_the_report_of_a_failure(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    note = tmp_path / "note.jpg"
    note.write_text("Dear diary")
    result = lumendrop("--json", "smoke", str(note), "--yes", "--clean")
    assert (result.code, result.json["cleaned"]) == (1, True)
    assert _objects(pipeline) == []
    assert not [key for key in pipeline.keys("errors/") if result.json["key"] in key]


def test_ctrl_c_names_the_photo_and_what_continues(
    lumendrop: Lumendrop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling.time, "sleep", _interrupt)
    with _without_events(pipeline):
        result = lumendrop("--json", "smoke", "--yes")
    assert (result.code, result.json["exit_code"]) == (130, 130)
    assert result.err.strip().splitlines()[-1].startswith(f"lumendrop: Interrupted. {result.json['key']} is still")
    assert f"lumendrop status {result.json['key']}" in result.err


@pytest.mark.parametrize("command", ["smoke", "verify"])
def test_nothing_is_uploaded_without_a_key(
    lumendrop: Lumendrop, pipeline: Pipeline, api_key: str, command: str
) -> None:
    pipeline.cloud.client("secretsmanager").put_secret_value(
        SecretId=pipeline.outputs["KeySecretArn"], SecretString=" "
    )
    refused = lumendrop(command, "--yes")
    assert (refused.code, "The stack has no API key" in refused.err, "Uploading" in refused.err) == (1, True, False)


def test_smoke_waits_until_eventbridge_is_reliable(lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch) -> None:
    remaining = iter([2, 2, 1, 0])
    monkeypatch.setattr(event_delivery, "seconds_until_reliable", lambda _: next(remaining, 0))
    result = lumendrop("smoke", "--yes", "--clean")
    assert result.code == 0, result.err
    assert "EventBridge needs about five minutes. Waiting for 1 more seconds" in result.err


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


def _objects(pipeline: Pipeline) -> list[Any]:
    """The object versions of smoke tests in both buckets."""
    pages = [
        pipeline.cloud.client("s3").list_object_versions(Bucket=bucket, Prefix="in/lumendrop-smoke/")
        for bucket in (pipeline.outputs["InputBucketName"], pipeline.outputs["OutputBucketName"])
    ]
    return [one for page in pages for kind in ("Versions", "DeleteMarkers") for one in page.get(kind, [])]


@contextmanager
def _without_events(pipeline: Pipeline) -> Iterator[None]:
    """Blocks the events of the input bucket."""
    events, rule = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def test_the_built_in_photo_is_small_and_valid() -> None:
    photo = built_in_photo()
    assert len(photo) < 10_000
    assert (opened(photo).width, opened(photo).height) == (256, 192)
