"""The stack uses the owner's existing buckets."""

from typing import Any

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.production.conftest import INPUT, OUTPUT


def test_the_stack_creates_no_bucket(pipeline: Pipeline) -> None:
    buckets = {one["Name"] for one in pipeline.cloud.client("s3").list_buckets()["Buckets"]}
    assert buckets == {INPUT, OUTPUT}


def test_an_upload_to_a_bucket_without_versioning_is_reported(pipeline: Pipeline, refused: str) -> None:
    assert pipeline.report(refused)["code"] == "bucket_not_versioned"
    assert "their-photos" in pipeline.report(refused)["what_happened"]


def test_the_same_photo_is_enhanced_after_versioning_is_enabled(versioned: Pipeline, refused: str) -> None:
    upload = versioned.drop(refused, jpeg())
    versioned.wait([upload])
    versioned.enhanced(upload)


def test_each_upload_to_a_suspended_bucket_is_reported(versioned: Pipeline) -> None:
    """S3 replaces the object, so a second photo would look like the first one."""
    s3, key = versioned.cloud.client("s3"), "a/suspended.jpg"
    status: Any = {"Status": "Suspended"}
    s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration=status)
    for photo in (jpeg(), jpeg() + b"another"):
        s3.put_object(Bucket=INPUT, Key=key, Body=photo)
    status["Status"] = "Enabled"
    versioned.wait_until(lambda: len(versioned.keys(f"errors/{key}")) == 2, "both uploads are reported")
    s3.put_bucket_versioning(Bucket=INPUT, VersioningConfiguration=status)
    reports = [versioned.report_at(one) for one in versioned.keys(f"errors/{key}")]
    assert [one["code"] for one in reports] == ["bucket_not_versioned"] * 2
