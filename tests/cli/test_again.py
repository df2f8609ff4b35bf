"""`lumendrop retry`, `stop`, `fetch`, `redrive`, `pause` and `resume`: what an owner does about an upload."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.cli.owner import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload

Drop = Callable[[str, bytes], Upload]
FAILS = {"end": "failed", "code": "unknown_error", "seconds": 0}


def _ended_badly(pipeline: Pipeline, drop: Drop, key: str, **trouble: list[Any]) -> Upload:
    """An upload that met what is planned and has its report."""
    pipeline.plan(**trouble)
    upload = drop(key, jpeg())
    pipeline.wait([upload])
    return upload


def test_unknown_uploads_are_sent_again_at_the_owners_word_only(
    lumendrop: Lumendrop, pipeline: Pipeline, drop: Drop
) -> None:
    upload = _ended_badly(pipeline, drop, "in/retry/unknown.jpg", submit=[{"kind": "reset"}])
    dry = lumendrop.ok("retry", "--unknown", "--dry-run")
    assert (dry["sent"], [one["key"] for one in dry["uploads"]]) == (0, [upload.key])
    refused = lumendrop("retry", "--unknown", stdin="n\n")
    assert (refused.code, "This pays for 1 new task. Go on?" in refused.err) == (1, True)
    assert " rows read, 1 found …" in refused.err
    assert pipeline.rows()[upload]["attempt"] == 1
    assert lumendrop.ok("retry", "--unknown", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert (pipeline.rows()[upload]["attempt"], len(pipeline.tasks(upload))) == (2, 1)
    none = lumendrop("retry", "--unknown", "--yes")
    assert (none.code, "No upload of this kind" in none.out) == (1, True)


def test_uploads_are_sent_again_by_key_and_by_code(lumendrop: Lumendrop, pipeline: Pipeline, drop: Drop) -> None:
    upload = _ended_badly(pipeline, drop, "in/retry/failed.jpg", task=[FAILS, FAILS])
    assert lumendrop.ok("retry", upload.key, "--version-id", upload.version_id, "--yes")["sent"] == 1
    pipeline.until(lambda: pipeline.rows()[upload]["attempt"] == 2, "a second attempt", [upload])
    pipeline.wait([upload])
    assert lumendrop.ok("retry", "--code", "unknown_error", "--yes")["sent"] == 1
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 3
    again = lumendrop("retry", upload.key, "--yes")
    assert (again.code, "The upload is enhanced" in again.err) == (1, True)


@pytest.mark.parametrize(
    "which", [(), ("a", "--unknown"), ("--unknown", "--code", "x"), ("--unknown", "--version-id", "x")]
)
def test_it_has_to_be_said_what_is_sent_again(lumendrop: Lumendrop, which: tuple[str, ...]) -> None:
    assert lumendrop("retry", *which).code == 2


@pytest.mark.parametrize("command", ["retry", "fetch"])
def test_an_upload_that_nobody_knows(lumendrop: Lumendrop, command: str) -> None:
    done = lumendrop(command, "in/nobody.jpg")
    assert (done.code, "has no such upload" in done.err) == (1, True)


def test_a_stopped_upload_is_reported_and_fetched_without_paying_again(
    lumendrop: Lumendrop, pipeline: Pipeline, drop: Drop
) -> None:
    uploads = {}
    pipeline.plan(status=[{"kind": "http", "status": 503}] * 1000)  # nobody learns that the tasks end
    for key in ("in/stop/one.jpg", "in/stop/other.jpg"):
        uploads[key] = drop(key, jpeg())
        pipeline.wait_for_status(uploads[key], "submitted")
    one, other = uploads.values()
    early = lumendrop("fetch", one.key)
    assert (early.code, "Its workflow still runs" in early.err) == (1, True)
    refused = lumendrop("stop", one.key, stdin="n\n")
    assert (refused.code, "not refunded" in refused.err) == (1, True)
    assert len(lumendrop.ok("stop", one.key, "--yes")["stopped"]) == 1
    assert any("-other-jpg-" in execution for execution in lumendrop.ok("stop", "--all", "--yes")["stopped"])
    for upload in (one, other):
        pipeline.wait_for_status(upload, "failed")
        assert pipeline.report(upload.key)["code"] == "execution_aborted"
    pipeline.until(lambda: lumendrop("stop", "--all", "--yes").code == 1, "nothing runs")
    assert lumendrop("stop").code == 2

    waits = lumendrop("fetch", one.key, "--timeout", "1")
    assert (waits.code, "It still runs after 1 seconds" in waits.err) == (1, True)
    twice = lumendrop("fetch", one.key, "--timeout", "1")
    assert (twice.code, "Its workflow still runs" in twice.err) == (1, True)
    assert lumendrop("stop", other.key, "--yes").code == 1
    assert len(lumendrop.ok("stop", one.key, "--yes")["stopped"]) == 1

    pipeline.plan()
    fetched = lumendrop.ok("fetch", one.key)
    assert fetched["photo"] == f"s3://{pipeline.outputs['OutputBucketName']}/{one.key}"
    assert (pipeline.rows()[one]["status"], len(pipeline.tasks(one))) == ("enhanced", 1)


def test_dead_letters_go_back_to_the_upload_queue(lumendrop: Lumendrop, pipeline: Pipeline, drop: Drop) -> None:
    key = "elsewhere/dead.jpg"  # outside InputPrefix, so that only this message announces it
    upload = drop(key, jpeg())
    announced = {"bucket": {"name": pipeline.outputs["InputBucketName"]}, "object": {"key": key}}
    announced["object"] |= {"version-id": upload.version_id, "size": len(jpeg()), "etag": "x", "sequencer": "1"}
    dead = pipeline.outputs["DeadLetterQueueUrl"]
    for _ in range(2):
        pipeline.cloud.client("sqs").send_message(QueueUrl=dead, MessageBody=json.dumps({"detail": announced}))
        done = lumendrop("redrive")
        assert (done.code, done.out) == (0, "1 in the upload queue again.\n")
    pipeline.wait_for_status(upload, "enhanced")
    assert lumendrop.ok("redrive") == {"moved": 0}


def test_paused_uploads_wait_until_it_goes_on(lumendrop: Lumendrop, pipeline: Pipeline, drop: Drop) -> None:
    assert lumendrop.ok("pause")["event_source"] == "Disabled"
    upload = drop("in/pause/waits.jpg", jpeg())
    pipeline.until(lambda: lumendrop.ok("pause")["waiting"], "it waits")
    waits = lumendrop("status", upload.key)
    assert (waits.code, "the event source is disabled" in waits.out) == (1, True)
    assert upload not in pipeline.rows()
    assert lumendrop("resume").out == "Uploads are submitted. 1 are in the queue.\n"
    pipeline.wait_for_status(upload, "enhanced")
