"""Photos whose events never came: the backfill finds them, and pays for nothing that was paid for before."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Json, Pipeline

KEYS = ["plain.jpg", "my photo+1%41.jpg", "ümläut/📷.jpg", "\"quoted' \\back.jpg", "a/b/../c.jpg"]


@contextmanager
def _deaf(pipeline: Pipeline) -> Iterator[None]:
    """No event of the input bucket comes through for a while."""
    name = ("--name", pipeline.cloud.resources["UploadRule"])
    pipeline.aws("events", "disable-rule", *name)
    try:
        yield
    finally:
        pipeline.aws("events", "enable-rule", *name)


def test_what_no_event_told_of_is_enhanced_once_and_what_is_done_left_alone(pipeline: Pipeline) -> None:
    prefix = "backfill/"
    done = pipeline.drop_folder({f"{prefix}done/{number}.jpg": jpeg() for number in range(3)})
    pipeline.wait(done.values())
    with _deaf(pipeline):
        lost = pipeline.drop_all({f"{prefix}lost/{key}": jpeg() for key in KEYS})
        notes = pipeline.drop_folder({f"{prefix}notes/{number}.txt": b"Dear diary" for number in range(3)})
        newer = pipeline.drop(f"{prefix}done/0.jpg", jpeg())
        client, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
        for key in ("folder/", "folder/within/", *(f"empty/{number}.jpg" for number in range(100))):
            client.put_object(Bucket=bucket, Key=prefix + key, Body=b"")
        pipeline.drop("backfill-of-another-prefix.jpg", jpeg())
    # The late event of one of them, while the backfill finds it too; and one that is gone again when its turn comes.
    late = lost[f"{prefix}lost/plain.jpg"]
    _send(pipeline, late.key, {"version-id": late.version_id, "size": 1, "sequencer": "00617F08299329D189"})
    _send(pipeline, f"{prefix}gone.jpg", {})

    photos = {"prefix": prefix, "sent": len(done) + len(lost) + len(notes)}
    ended = pipeline.backfill(prefix)
    assert (ended["status"], json.loads(ended["output"])) == ("SUCCEEDED", photos)
    pipeline.wait([*lost.values(), *notes.values(), newer])
    for upload in [*list(done.values())[1:], *lost.values(), newer]:
        pipeline.enhanced(upload)
    assert len(pipeline.tasks(done[f"{prefix}done/0.jpg"])) == 1
    assert {pipeline.rows()[note]["outcome"]["code"] for note in notes.values()} == {"not_an_image"}
    assert {upload.key for upload in pipeline.rows() if upload.key.startswith("backfill")} == {
        upload.key for upload in [*done.values(), *lost.values(), *notes.values()]
    }

    before = len(pipeline.executions())
    assert json.loads(pipeline.backfill(prefix)["output"]) == photos
    _wait_until_all_is_read(pipeline)
    assert len(pipeline.executions()) == before
    assert {len(pipeline.tasks(upload)) for upload in [*done.values(), *lost.values(), newer]} == {1}


def _send(pipeline: Pipeline, key: str, more: Json) -> None:
    """A message about an object: `more` as S3's event has it, nothing more as the backfill has it."""
    detail = {"bucket": {"name": pipeline.outputs["InputBucketName"]}, "object": {"key": key, **more}}
    message = ("--message-body", json.dumps({"detail": detail}))
    pipeline.aws("sqs", "send-message", "--queue-url", pipeline.outputs["UploadQueueUrl"], *message)


def _wait_until_all_is_read(pipeline: Pipeline) -> None:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    which = {"QueueUrl": pipeline.outputs["UploadQueueUrl"], "AttributeNames": names}
    sqs = pipeline.cloud.client("sqs")
    pipeline.until(
        lambda: set(sqs.get_queue_attributes(**which)["Attributes"].values()) == {"0"}, "the upload queue is empty"
    )


def test_nothing_below_the_prefix_is_no_failure(pipeline: Pipeline) -> None:
    ended = pipeline.backfill("backfill-of-nothing/")
    assert (ended["status"], json.loads(ended["output"])["sent"]) == ("SUCCEEDED", 0)


def test_a_bucket_without_versions_is_refused_before_anything_is_sent(pipeline: Pipeline) -> None:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    try:
        ended = pipeline.backfill("backfill/")
    finally:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert (ended["status"], ended["error"]) == ("FAILED", "not_versioned")
    assert "Enable versioning" in ended["cause"]
