"""Uploads from the backfill, through submit and deliver, with and without an event of their own."""

from __future__ import annotations

import io
import json
from types import ModuleType
from typing import Any

import pytest

from tests.unit.conftest import LoadFunction
from tests.unit.world import INPUT, JPEG, OUTPUT, PNG, Answer, Context, World, completed, refusal, sample

SEQUENCER = "00617F08299329D189"


@pytest.fixture
def submit(function: LoadFunction) -> ModuleType:
    return function("submit")


@pytest.fixture
def deliver(function: LoadFunction) -> ModuleType:
    return function("deliver")


def backfill_event(key: str = "a/photo.jpg") -> Any:
    """The event that submit gets for a message of the backfill."""
    event = sample("submit")
    event["Records"][0]["body"] = json.dumps({"detail": {"bucket": {"name": INPUT}, "object": {"key": key}}})
    return event


def finish(world: World) -> None:
    """Gives every upload its final status, like the workflow."""
    for row in world.rows():
        world.dynamodb.update_item(
            TableName="ledger",
            Key={"pk": {"S": row["pk"]}, "sk": {"S": row["sk"]}},
            UpdateExpression="SET finished_at = :now",
            ExpressionAttributeValues={":now": {"S": "2026-01-31T12:00:00.000Z"}},
        )


# ---------------------------------------------------------------- submit


def test_the_current_version_is_submitted(world: World, submit: ModuleType) -> None:
    world.put("a/photo.jpg", PNG)
    version = world.put("a/photo.jpg", JPEG)
    submit.handler(backfill_event(), Context())

    assert len(world.enhancer.submits) == 1
    row = world.row()
    assert (row["status"], row["version_id"], row["size"], row["sequencer"]) == ("submitted", version, len(JPEG), "")
    (execution,) = world.executions()
    assert execution["upload"]["version_id"] == version


@pytest.mark.parametrize("key", ["my photo.jpg", "a+b.jpg", "100%.jpg", "%41.jpg", "ümläut/📷.jpg", "a/b/../c.jpg"])
def test_the_key_is_not_decoded(world: World, submit: ModuleType, key: str) -> None:
    world.put(key)
    submit.handler(backfill_event(key), Context())

    assert world.row()["key"] == key


@pytest.mark.parametrize("order", ["event first", "backfill first"])
def test_an_upload_with_an_event_as_well_is_paid_for_once(world: World, submit: ModuleType, order: str) -> None:
    events = [world.upload("a/photo.jpg"), backfill_event("a/photo.jpg")]
    for event in events if order == "event first" else reversed(events):
        submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 1
    assert world.tasks_today() == 1


@pytest.mark.parametrize("status", ["enhanced", "failed", "rejected", "superseded", "unknown"])
def test_an_upload_that_has_ended_costs_few_reads(
    world: World, submit: ModuleType, logs: io.StringIO, status: str
) -> None:
    submit.handler(world.upload("a/photo.jpg"), Context())
    world.set_status(status)
    finish(world)
    world.calls.clear()
    submit.handler(backfill_event("a/photo.jpg"), Context())

    reads = ["GetItem"] if status in ("enhanced", "superseded") else ["GetItem", "GetItem"]  # is there a copy?
    assert [call.operation for call in world.calls] == ["HeadObject", *reads]
    assert world.row()["status"] == status
    assert len(world.enhancer.submits) == 1
    assert "already ended" in logs.getvalue()


def test_an_upload_that_has_ended_does_not_wait_for_the_balance(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("done.jpg"), Context())
    finish(world)
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(world.upload("deferred.jpg"), Context())
    assert len(world.messages()) == 1
    submit.handler(backfill_event("done.jpg"), Context())

    assert len(world.messages()) == 1


def test_a_run_that_died_before_it_started_the_workflow_is_completed(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if its message was lost, because the sweep finds it."""

    def die(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(submit.workflow, "start", die)
        with pytest.raises(RuntimeError):
            submit.handler(world.upload("a/photo.jpg"), Context())
    submit.handler(backfill_event("a/photo.jpg"), Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 1


def test_an_object_deleted_meanwhile_leaves_no_trace(world: World, submit: ModuleType) -> None:
    world.put("a b.jpg")  # the key if it were encoded
    submit.handler(backfill_event("a+b.jpg"), Context())
    world.put("deleted.jpg")
    world.s3.delete_object(Bucket=INPUT, Key="deleted.jpg")
    submit.handler(backfill_event("deleted.jpg"), Context())

    assert world.rows() == []
    assert world.messages() == []


def test_an_object_older_than_its_buckets_versioning_is_submitted(world: World, submit: ModuleType) -> None:
    """Its version is null."""
    world.s3.create_bucket(Bucket="older")
    world.s3.put_object(Bucket="older", Key="a.jpg", Body=JPEG)
    world.s3.put_bucket_versioning(Bucket="older", VersioningConfiguration={"Status": "Enabled"})
    event = backfill_event("a.jpg")
    event["Records"][0]["body"] = event["Records"][0]["body"].replace(INPUT, "older")
    submit.handler(event, Context())

    assert (world.row()["status"], world.row()["version_id"]) == ("submitted", "null")
    assert "versionId=null" in world.enhancer.submits[0]["image_url"]


def test_a_file_that_is_not_a_photo_is_rejected_under_its_version(world: World, submit: ModuleType) -> None:
    version = world.put("notes.txt", b"hello")
    submit.handler(backfill_event("notes.txt"), Context())

    row = world.row()
    assert (row["status"], row["version_id"], row["outcome"]["code"]) == ("rejected", version, "not_an_image")


def test_an_archived_photo_is_rejected(world: World, submit: ModuleType) -> None:
    world.s3.put_object(Bucket=INPUT, Key="old.jpg", Body=JPEG, StorageClass="GLACIER")
    submit.handler(backfill_event("old.jpg"), Context())

    assert world.row()["outcome"]["code"] == "archived"
    assert world.enhancer.submits == []


# ---------------------------------------------------------------- which upload is newer


def run_delivery(world: World, deliver: ModuleType, version: str, sequencer: str, task: str) -> str:
    """One delivery of a version of a/photo.jpg; returns its state."""
    event = sample("deliver")
    upload = {"bucket": INPUT, "key": "a/photo.jpg", "version_id": version, "sequencer": sequencer}
    event["upload"] |= upload
    event["task"]["id"] = task
    world.enhancer.on_status.append(completed())
    world.enhancer.on_result.append(Answer(200, JPEG))
    state: str = deliver.handler(event, Context())["state"]
    return state


def delivered(world: World) -> str:
    task: str = world.s3.head_object(Bucket=OUTPUT, Key="a/photo.jpg")["Metadata"]["task-id"]
    return task


@pytest.mark.parametrize("sequencers", [("", SEQUENCER), (SEQUENCER, ""), ("", "")])
@pytest.mark.parametrize("first", ["older", "newer"])
def test_the_order_of_versions_decides_without_sequencers(
    world: World, deliver: ModuleType, sequencers: tuple[str, str], first: str
) -> None:
    world.put("a/photo.jpg.bak")  # has the same prefix
    older = (world.put("a/photo.jpg"), sequencers[0], "older")
    newer = (world.put("a/photo.jpg"), sequencers[1], "newer")
    two = [older, newer] if first == "older" else [newer, older]
    states = [run_delivery(world, deliver, *one) for one in two]

    assert delivered(world) == "newer"
    assert states == (["enhanced", "enhanced"] if first == "older" else ["enhanced", "superseded"])


def test_the_result_of_a_deleted_version_is_overwritten(world: World, deliver: ModuleType) -> None:
    kept, deleted = world.put("a/photo.jpg"), world.put("a/photo.jpg")
    assert run_delivery(world, deliver, deleted, "", "deleted") == "enhanced"
    world.s3.delete_object(Bucket=INPUT, Key="a/photo.jpg", VersionId=deleted)
    assert run_delivery(world, deliver, kept, "", "kept") == "enhanced"

    assert delivered(world) == "kept"


def test_sequencers_decide_without_listing_versions(world: World, deliver: ModuleType) -> None:
    one, other = world.put("a/photo.jpg"), world.put("a/photo.jpg")
    run_delivery(world, deliver, one, SEQUENCER, "one")
    run_delivery(world, deliver, other, SEQUENCER + "1", "other")

    assert delivered(world) == "other"
    assert "ListObjectVersions" not in [call.operation for call in world.calls]
