"""The stack uses the owner's existing buckets."""

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
