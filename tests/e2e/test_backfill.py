"""The backfill enhances photos without events, and never pays for a photo again."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Json, Pipeline, Upload

KEYS = ["plain.jpg", "my photo+1%41.jpg", "ümläut/📷.jpg", "\"quoted' \\back.jpg", "a/b/../c.jpg"]


@contextmanager
def _without_events(pipeline: Pipeline) -> Iterator[None]:
    """Suppresses the events of the input bucket inside the block."""
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
    with _without_events(pipeline):
        lost = pipeline.drop_all({f"{prefix}lost/{key}": jpeg() for key in KEYS})
        notes = pipeline.drop_folder({f"{prefix}notes/{number}.txt": b"Dear diary" for number in range(3)})
        newer = pipeline.drop(f"{prefix}done/0.jpg", jpeg())
        client, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
        for key in ("folder/", *(f"folder/{number}/" for number in range(100))):
            client.put_object(Bucket=bucket, Key=prefix + key, Body=b"")
        pipeline.drop("backfill-of-another-prefix.jpg", jpeg())
    # One event arrives late, so submit receives the upload twice; another object is already deleted.
    late = lost[f"{prefix}lost/plain.jpg"]
    _send(pipeline, late.key, {"version-id": late.version_id, "size": 1, "sequencer": "00617F08299329D189"})
    _send(pipeline, f"{prefix}gone.jpg", {})

    photos = {"prefix": prefix, "sent": len(done) + len(lost) + len(notes), "left_out": 0}
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
    _wait_until_the_queue_is_empty(pipeline)
    assert len(pipeline.executions()) == before
    assert {len(pipeline.tasks(upload)) for upload in [*done.values(), *lost.values(), newer]} == {1}


def test_a_paid_upload_whose_end_left_no_trace_is_ended_without_another_payment(pipeline: Pipeline) -> None:
    prefix = "backfill-late/"
    delivered, undelivered = (
        pipeline.drop(f"{prefix}delivered.jpg", jpeg()),
        pipeline.drop(f"{prefix}stopped.jpg", jpeg()),
    )
    pipeline.wait([delivered, undelivered])
    output = pipeline.rows()[undelivered]["output"]
    pipeline.cloud.client("s3").delete_object(Bucket=output["bucket"], Key=output["key"])
    for upload in (delivered, undelivered):
        _forget_the_end(pipeline, upload)

    pipeline.backfill(prefix)
    pipeline.wait([delivered, undelivered])
    for upload in (delivered, undelivered):
        assert pipeline.rows()[upload]["status"] == "enhanced", pipeline.explain(upload)
        assert pipeline.result(upload.key).metadata["source-version-id"] == upload.version_id
        assert len(pipeline.tasks(upload)) == 1
        assert len(pipeline.executions()[upload]) == 2


def _forget_the_end(pipeline: Pipeline, upload: Upload) -> None:
    """Makes the upload look as if its execution had ended, and the event about that had been lost, two hours ago."""
    row = pipeline.rows()[upload]
    pipeline.cloud.client("dynamodb").update_item(
        TableName=pipeline.outputs["LedgerTableName"],
        Key={name: {"S": row[name]} for name in ("pk", "sk")},
        UpdateExpression="SET #status = :status, deadline = :deadline REMOVE finished_at, #output",
        ExpressionAttributeNames={"#status": "status", "#output": "output"},
        ExpressionAttributeValues={":status": {"S": "submitted"}, ":deadline": {"N": str(int(time.time()) - 7200)}},
    )


def _send(pipeline: Pipeline, key: str, more: Json) -> None:
    """Sends a message about an object: with `more`, like S3's event; without, like the backfill's."""
    detail = {"bucket": {"name": pipeline.outputs["InputBucketName"]}, "object": {"key": key, **more}}
    message = ("--message-body", json.dumps({"detail": detail}))
    pipeline.aws("sqs", "send-message", "--queue-url", pipeline.outputs["UploadQueueUrl"], *message)


def _wait_until_the_queue_is_empty(pipeline: Pipeline) -> None:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    which = {"QueueUrl": pipeline.outputs["UploadQueueUrl"], "AttributeNames": names}
    sqs = pipeline.cloud.client("sqs")
    pipeline.wait_until(
        lambda: set(sqs.get_queue_attributes(**which)["Attributes"].values()) == {"0"}, "the upload queue is empty"
    )


def test_a_prefix_without_objects_is_not_an_error(pipeline: Pipeline) -> None:
    ended = pipeline.backfill("backfill-of-nothing/")
    assert (ended["status"], json.loads(ended["output"])["sent"]) == ("SUCCEEDED", 0)


def test_a_bucket_without_versioning_fails_before_anything_is_sent(pipeline: Pipeline) -> None:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Suspended"})
    try:
        ended = pipeline.backfill("backfill/")
    finally:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert (ended["status"], ended["error"]) == ("FAILED", "not_versioned")
    assert "Enable versioning" in ended["cause"]
