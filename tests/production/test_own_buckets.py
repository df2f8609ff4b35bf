"""The owner's own buckets instead of new ones."""

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.production.conftest import INPUT, OUTPUT


def test_no_bucket_is_made(pipeline: Pipeline) -> None:
    buckets = {one["Name"] for one in pipeline.aws("s3api", "list-buckets")["Buckets"]}
    assert buckets == {INPUT, OUTPUT}


def test_an_upload_of_a_bucket_that_keeps_no_versions_is_reported(pipeline: Pipeline, refused: str) -> None:
    assert pipeline.report(refused)["code"] == "bucket_not_versioned"
    assert "their-photos" in pipeline.report(refused)["what_happened"]


def test_the_same_photo_is_enhanced_once_versions_are_kept(versioned: Pipeline, refused: str) -> None:
    upload = versioned.drop(refused, jpeg())
    versioned.wait([upload])
    versioned.enhanced(upload)
