"""`lumendrop smoke` pays for one task and checks the result."""

from pathlib import Path

from lumendrop_cli.smoke import built_in_photo
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


def test_nothing_is_paid_without_confirmation(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    before = len(pipeline._all_tasks())
    for answer in ("n\n", ""):
        result = lumendrop("smoke", stdin=answer)
        assert (result.code, "This pays for one task. Continue?" in result.err) == (1, True)
    assert len(pipeline._all_tasks()) == before


def test_a_file_that_is_not_an_image_fails(lumendrop: Lumendrop, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Dear diary")
    result = lumendrop("smoke", str(note), "--yes")
    assert result.code == 1
    assert "ended as rejected" in result.err
    assert "Upload the photo in one of these formats." in result.err


def test_the_timeout_ends_the_wait(lumendrop: Lumendrop) -> None:
    lumendrop.ok("pause")
    result = lumendrop("smoke", "--yes", "--timeout", "1")
    lumendrop.ok("resume")
    assert result.code == 1
    assert "is not finished after 1 seconds" in result.err
    assert "lumendrop doctor" in result.err


def test_the_built_in_photo_is_small_and_valid() -> None:
    photo = built_in_photo()
    assert len(photo) < 10_000
    assert (opened(photo).width, opened(photo).height) == (256, 192)
