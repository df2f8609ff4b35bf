"""The owner's own buckets instead of new ones."""

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.production.conftest import INPUT, OUTPUT


def test_no_bucket_is_made(pipeline: Pipeline) -> None:
    buckets = {one["Name"] for one in pipeline.aws("s3api", "list-buckets")["Buckets"]}
    assert buckets == {INPUT, OUTPUT}


def test_an_input_bucket_has_to_keep_versions(pipeline: Pipeline) -> None:
    """Until it does, its uploads are reported and none is paid for; docs/deploy.md says how to switch that on."""
    bucket, key = ("--bucket", INPUT), "a/photo.jpg"
    body = str(pipeline.file(jpeg()))
    pipeline.aws("s3api", "put-object", *bucket, "--key", key, "--body", body)
    pipeline.until(lambda: pipeline.keys("errors/") == [f"errors/{key}.json"], "the upload is reported")
    assert pipeline.report(key)["code"] == "bucket_not_versioned"
    assert [row["status"] for row in pipeline.rows().values()] == ["rejected"]

    pipeline.aws("s3api", "put-bucket-versioning", *bucket, "--versioning-configuration", "Status=Enabled")
    upload = pipeline.drop(key, jpeg())
    pipeline.wait([upload])
    pipeline.enhanced(upload)
