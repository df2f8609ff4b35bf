"""`lumendrop status KEY` says what became of a photo, in words."""

from collections.abc import Callable

from tests.cli.owner import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload


def test_it_says_where_an_enhanced_photo_is_and_what_ran(
    lumendrop: Lumendrop, pipeline: Pipeline, drop: Callable[[str, bytes], Upload]
) -> None:
    key = "in/status/a b+1%.jpg"
    upload = drop(key, jpeg())
    pipeline.wait([upload])
    (row,) = lumendrop.ok("status", key)["rows"]
    assert (row["status"], row["version_id"]) == ("enhanced", upload.version_id)
    execution = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=row["execution"])
    assert execution["status"] == "SUCCEEDED"
    told = lumendrop("status", key)
    assert told.code == 0
    assert told.out.startswith("enhanced: in the output bucket\n")
    assert f"s3://{pipeline.outputs['OutputBucketName']}/{key}\n" in told.out


def test_it_tells_every_version_newest_first_with_the_reports_words(
    lumendrop: Lumendrop, pipeline: Pipeline, drop: Callable[[str, bytes], Upload]
) -> None:
    key = "in/status/[note].jpg"
    uploads = [drop(key, body) for body in (b"Dear diary", b"Dear me")]
    pipeline.wait(uploads)
    assert [row["version_id"] for row in lumendrop.ok("status", key)["rows"]] == [
        upload.version_id for upload in reversed(uploads)
    ]
    told = lumendrop("status", key).out
    assert told.count("rejected: can't be enhanced; nothing was paid") == 2
    assert "Upload the photo in one of these formats." in told
    assert f"errors/{key}.json" in told


def test_what_the_ledger_does_not_know(lumendrop: Lumendrop, drop: Callable[[str, bytes], Upload]) -> None:
    drop("in/folder/", b"")
    why = {key: lumendrop("status", key) for key in ("elsewhere/a.jpg", "in/nobody.jpg", "in/folder/")}
    assert {done.code for done in why.values()} == {1}
    assert "InputPrefix" in why["elsewhere/a.jpg"].out
    assert "Neither the ledger nor the input bucket" in why["in/nobody.jpg"].out
    assert "folder marker" in why["in/folder/"].out
