"""`lumendrop smoke` pays for one task and looks at everything on the way."""

from pathlib import Path

from lumendrop_cli.smoke import built_in
from tests.cli.owner import Lumendrop
from tests.e2e.photos import opened
from tests.e2e.pipeline import Pipeline


def test_a_photo_goes_all_the_way_and_is_cleaned_up(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    done = lumendrop.ok("smoke", "--yes", "--clean")
    assert done["key"].startswith("in/lumendrop-smoke/")
    assert done["photo"].startswith(f"s3://{pipeline.outputs['OutputBucketName']}/{done['key']}")
    bucket = pipeline.outputs["InputBucketName"]
    found = pipeline.cloud.client("s3").list_objects_v2(Bucket=bucket, Prefix="in/lumendrop-smoke/")
    assert (found["KeyCount"], pipeline.keys("in/lumendrop-smoke/")) == (0, [])
    (row,) = lumendrop.ok("status", done["key"])["rows"]
    assert (row["status"], row["task_id"]) == ("enhanced", done["task_id"])


def test_it_costs_nothing_unless_the_owner_says_yes(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    before = len(pipeline._all_tasks())
    for answer in ("n\n", ""):
        done = lumendrop("smoke", stdin=answer)
        assert (done.code, "This pays for one task. Go on?" in done.err) == (1, True)
    assert len(pipeline._all_tasks()) == before


def test_a_photo_of_the_owners_that_is_none(lumendrop: Lumendrop, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    note.write_text("Dear diary")
    done = lumendrop("smoke", str(note), "--yes")
    assert done.code == 1
    assert "ended as rejected" in done.err
    assert "Upload the photo in one of these formats." in done.err


def test_it_waits_as_long_as_it_is_told(lumendrop: Lumendrop) -> None:
    lumendrop.ok("pause")
    done = lumendrop("smoke", "--yes", "--timeout", "1")
    lumendrop.ok("resume")
    assert done.code == 1
    assert "has not ended after 1 seconds" in done.err
    assert "lumendrop doctor" in done.err


def test_the_built_in_photo_is_small_and_whole() -> None:
    photo = built_in()
    assert len(photo) < 10_000
    assert (opened(photo).width, opened(photo).height) == (256, 192)
