"""A photo that is copied onto itself, and to another key, is paid for once."""

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import EventRecorder, Pipeline, Upload

KEY, COPY = "same/photo.jpg", "same/renamed.jpg"


def copied(pipeline: Pipeline, key: str, **metadata: str) -> Upload:
    """Copies the photo, as tools do that change metadata or rename an object."""
    bucket = pipeline.outputs["InputBucketName"]
    answer = pipeline.cloud.client("s3").copy_object(
        Bucket=bucket,
        Key=key,
        CopySource={"Bucket": bucket, "Key": KEY},
        MetadataDirective="REPLACE",
        Metadata=metadata,
    )
    return Upload(key, answer["VersionId"])


def test_touched_and_renamed_photos_are_paid_for_once(pipeline: Pipeline, events: EventRecorder) -> None:
    wrong = pipeline.drop(COPY, b"Dear diary")
    pipeline.wait([wrong])
    assert pipeline.report(COPY)["code"] == "not_an_image"
    first = pipeline.drop_same(KEY, jpeg(80, 60), Tagging="team=photo")  # copies keep the tags
    touched = [copied(pipeline, KEY, number=number) for number in "12"]
    renamed = copied(pipeline, COPY)
    pipeline.wait([first, *touched, renamed])

    uploads = [first, *touched, renamed]
    rows = pipeline.rows()
    (payer,) = [one for one in uploads if pipeline.tasks(one)]
    (task,) = pipeline.tasks(payer)
    for upload in [one for one in uploads if one != payer]:
        row = rows[upload]
        assert row["status"] in ("enhanced", "superseded"), pipeline.explain(upload)
        assert len(row["same_as"]) == 32
        (event,) = events.about(upload, "Photo Enhanced" if row["status"] == "enhanced" else "Photo Not Enhanced")
        if row["status"] == "enhanced":
            assert (event["detail"]["same_as"], event["detail"]["task_id"]) == (row["same_as"], task["id"])
    assert rows[renamed]["status"] == rows[touched[-1]]["status"] == "enhanced", pipeline.explain(renamed)
    for key, newest in ((KEY, touched[-1]), (COPY, renamed)):
        result = pipeline.result(key)
        assert result.metadata["source-version-id"] == newest.version_id
        assert result.metadata["task-id"] == task["id"]
        assert result.image.width == 1024
        tagged = pipeline.cloud.client("s3").get_object_tagging(Bucket=pipeline.outputs["OutputBucketName"], Key=key)
        assert tagged["TagSet"] == [{"Key": "team", "Value": "photo"}]
    assert pipeline.keys("errors/same/") == []


def test_a_photo_whose_result_was_deleted_is_paid_for_again(pipeline: Pipeline) -> None:
    body = jpeg(90, 60)
    first = pipeline.drop_same("same/deleted.jpg", body)
    pipeline.wait([first])
    output = pipeline.rows()[first]["output"]
    pipeline.cloud.client("s3").delete_object(Bucket=output["bucket"], Key=output["key"])
    second = pipeline.drop_same("same/again.jpg", body)
    pipeline.wait([second])

    assert pipeline.rows()[second]["status"] == "enhanced", pipeline.explain(second)
    assert [len(pipeline.tasks(one)) for one in (first, second)] == [1, 1]
