"""`lumendrop status KEY` shows what happened to a photo."""

import re

from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload


def test_status_shows_the_enhanced_photo_and_its_execution(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key = "in/status/a b+1%.jpg"
    upload = pipeline.drop(key, jpeg())
    pipeline.wait([upload])
    (row,) = lumendrop.ok("status", key)["rows"]
    assert (row["status"], row["version_id"]) == ("enhanced", upload.version_id)
    execution = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=row["execution"])
    assert execution["status"] == "SUCCEEDED"
    shown = lumendrop("status", key)
    assert shown.code == 0
    assert shown.out.startswith("enhanced: in the output bucket\n")
    assert f"s3://{pipeline.outputs['OutputBucketName']}/{key}\n" in shown.out
    times = re.findall(r"(?:submitted|ended) +(.+)", shown.out)
    assert (len(times), {re.sub(r"\d", "0", time) for time in times}) == (2, {"0000-00-00T00:00:00Z"})


def test_status_shows_every_version_newest_first_with_its_report(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key = "in/status/[note].jpg"
    uploads = [pipeline.drop(key, body) for body in (b"Dear diary", b"Dear me")]
    pipeline.wait(uploads)
    assert [row["version_id"] for row in lumendrop.ok("status", key)["rows"]] == [
        upload.version_id for upload in reversed(uploads)
    ]
    shown = lumendrop("status", key).out
    assert shown.count("rejected: can't be enhanced; nothing was paid") == 2
    assert "Upload the photo in one of these formats." in shown
    assert f"errors/{key}.json" in shown


def test_status_explains_why_a_key_has_no_row(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.drop("in/folder/", b"")
    with pipeline.event_source_disabled():
        pipeline.drop("in/folder/empty.jpg", b"")
        pipeline.drop("in/folder/photo/", jpeg())
        keys = ("elsewhere/a.jpg", "in/nobody.jpg", "in/folder/", "in/folder/empty.jpg", "in/folder/photo/")
        results = {key: lumendrop("status", key) for key in keys}
    assert {result.code for result in results.values()} == {1}
    assert "InputPrefix" in results["elsewhere/a.jpg"].out
    assert "Neither the ledger nor the input bucket" in results["in/nobody.jpg"].out
    assert "folder marker" in results["in/folder/"].out
    for key in ("in/folder/empty.jpg", "in/folder/photo/"):
        assert "waits in the upload queue" in results[key].out


def test_status_of_a_copied_result_and_of_one_that_was_edited(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    enhanced = pipeline.drop("in/status/original.jpg", jpeg(96, 71))
    pipeline.wait([enhanced])
    place = pipeline.rows()[enhanced]["output"]
    source = {"Bucket": place["bucket"], "Key": place["key"]}
    s3.copy_object(Bucket=bucket, Key="in/status/copied.jpg", CopySource=source)
    metadata = s3.head_object(**source)["Metadata"]
    edited = s3.put_object(Bucket=bucket, Key="in/status/edited.jpg", Body=jpeg(96, 73), Metadata=metadata)
    pipeline.wait([Upload("in/status/edited.jpg", edited["VersionId"])])

    assert "it is an enhanced photo" in lumendrop("status", "in/status/copied.jpg").out
    assert lumendrop.ok("status", "in/status/edited.jpg")["rows"][0]["status"] == "enhanced"


def test_status_of_a_deleted_photo_says_so(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    enhanced = pipeline.drop("in/status/deleted.jpg", jpeg())
    pipeline.wait([enhanced])
    size = s3.head_object(Bucket=bucket, Key=enhanced.key)["ContentLength"]
    s3.delete_object(Bucket=bucket, Key=enhanced.key)
    result = lumendrop.ok("status", enhanced.key)
    assert (bool(result["deleted_at"]), result["rows"][0]["deleted"]) == (True, False)
    assert "The photo was deleted from the input bucket at 2" in lumendrop("status", enhanced.key).out
    s3.delete_object(Bucket=bucket, Key=enhanced.key, VersionId=enhanced.version_id)
    assert f"{enhanced.version_id}, {size} bytes, deleted" in lumendrop("status", enhanced.key).out


def test_status_of_a_photo_that_was_deleted_before_it_was_enhanced(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    s3, bucket, key = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"], "in/status/gone.jpg"
    events, rule = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=rule)
    pipeline.drop(key, jpeg())
    s3.delete_object(Bucket=bucket, Key=key)
    events.enable_rule(Name=rule)
    result = lumendrop("status", key)
    assert (result.code, f"'{key}' was deleted from the input bucket at 2" in result.out) == (1, True)
    assert "Earlier versions of it still exist." in result.out
