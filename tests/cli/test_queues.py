"""`lumendrop redrive`, `pause`, and `resume` control the queues."""

import json

import pytest

from lumendrop_cli import event_source, redrive, upload_queue
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline


def test_redrive_moves_messages_back_to_the_upload_queue(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key = "elsewhere/dead.jpg"  # outside InputPrefix, so that S3 sends no event for it
    upload = pipeline.drop(key, jpeg())
    event = {"bucket": {"name": pipeline.outputs["InputBucketName"]}, "object": {"key": key}}
    event["object"] |= {"version-id": upload.version_id, "size": len(jpeg()), "etag": "x", "sequencer": "1"}
    dead_letters = pipeline.outputs["DeadLetterQueueUrl"]
    for _ in range(2):
        pipeline.cloud.client("sqs").send_message(QueueUrl=dead_letters, MessageBody=json.dumps({"detail": event}))
        result = lumendrop("redrive")
        assert (result.code, result.out) == (0, "1 moved back to the upload queue.\n")
    pipeline.wait_for_status(upload, "enhanced")
    assert lumendrop.ok("redrive") == {"moved": 0}


def test_uploads_wait_between_pause_and_resume(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    assert lumendrop.ok("pause")["event_source"] == "Disabled"
    upload = pipeline.drop("in/pause/waits.jpg", jpeg())
    pipeline.wait_until(lambda: lumendrop.ok("pause")["waiting"], "the upload waits in the queue")
    waiting = lumendrop("status", upload.key)
    assert (waiting.code, "the event source is disabled" in waiting.out) == (1, True)
    assert upload not in pipeline.rows()
    assert lumendrop("resume").out == "Resumed. Uploads are submitted. 1 upload in the queue.\n"
    pipeline.wait_for_status(upload, "enhanced")


@pytest.mark.parametrize("command", ["pause", "resume", "redrive"])
def test_ctrl_c_says_what_aws_continues(lumendrop: Lumendrop, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(upload_queue, "count_messages", lambda *_: 1)
        for module in (event_source, redrive):
            patch.setattr(module, "poll_until", interrupt)
        interrupted = lumendrop("--json", command)
    assert (interrupted.code, interrupted.json["exit_code"]) == (130, 130)
    assert "Interrupted. AWS continues to" in interrupted.err
    assert "`lumendrop doctor`" in interrupted.err
    lumendrop.ok("resume")
