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


def listed(key: str = "a/photo.jpg") -> Any:
    """The event that brings to submit what the backfill sends."""
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
    submit.handler(listed(), Context())

    assert len(world.enhancer.submits) == 1
    row = world.row()
    assert (row["status"], row["version_id"], row["size"], row["sequencer"]) == ("submitted", version, len(JPEG), "")
    (execution,) = world.executions()
    assert execution["upload"]["version_id"] == version


@pytest.mark.parametrize("key", ["my photo.jpg", "a+b.jpg", "100%.jpg", "%41.jpg", "ümläut/📷.jpg", "a/b/../c.jpg"])
def test_the_key_is_taken_raw(world: World, submit: ModuleType, key: str) -> None:
    world.put(key)
    submit.handler(listed(key), Context())

    assert world.row()["key"] == key


@pytest.mark.parametrize("order", ["event first", "backfill first"])
def test_an_upload_that_an_event_tells_of_too_is_paid_for_once(world: World, submit: ModuleType, order: str) -> None:
    events = [world.upload("a/photo.jpg"), listed("a/photo.jpg")]
    for event in events if order == "event first" else reversed(events):
        submit.handler(event, Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 1
    assert world.tasks_today() == 1


@pytest.mark.parametrize("status", ["enhanced", "failed", "rejected", "superseded", "unknown"])
def test_an_upload_that_has_ended_costs_one_read(
    world: World, submit: ModuleType, logs: io.StringIO, status: str
) -> None:
    submit.handler(world.upload("a/photo.jpg"), Context())
    world.set_status(status)
    finish(world)
    world.calls.clear()
    submit.handler(listed("a/photo.jpg"), Context())

    assert [call.operation for call in world.calls] == ["HeadObject", "GetItem"]
    assert world.row()["status"] == status
    assert len(world.enhancer.submits) == 1
    assert "already ended" in logs.getvalue()


def test_an_upload_that_has_ended_does_not_wait_for_the_balance(world: World, submit: ModuleType) -> None:
    submit.handler(world.upload("done.jpg"), Context())
    finish(world)
    world.enhancer.on_submit.append(refusal(402, "insufficient_quota"))
    submit.handler(world.upload("waits.jpg"), Context())
    assert len(world.messages()) == 1
    submit.handler(listed("done.jpg"), Context())

    assert len(world.messages()) == 1


def test_a_run_that_died_before_it_started_the_workflow_is_made_good(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even when its message was lost: that is what the sweep is for."""

    def die(*_: object) -> None:
        raise RuntimeError

    with monkeypatch.context() as patch:
        patch.setattr(submit.workflow, "start", die)
        with pytest.raises(RuntimeError):
            submit.handler(world.upload("a/photo.jpg"), Context())
    submit.handler(listed("a/photo.jpg"), Context())

    assert len(world.enhancer.submits) == 1
    assert len(world.executions()) == 1


def test_what_is_gone_meanwhile_leaves_no_trace(world: World, submit: ModuleType) -> None:
    world.put("a b.jpg")  # what the key would be, were it encoded
    submit.handler(listed("a+b.jpg"), Context())
    world.put("deleted.jpg")
    world.s3.delete_object(Bucket=INPUT, Key="deleted.jpg")
    submit.handler(listed("deleted.jpg"), Context())

    assert world.rows() == []
    assert world.messages() == []


def test_an_object_from_before_its_bucket_had_versions_is_submitted(world: World, submit: ModuleType) -> None:
    """Its version is called null, and stays."""
    world.s3.create_bucket(Bucket="older")
    world.s3.put_object(Bucket="older", Key="a.jpg", Body=JPEG)
    world.s3.put_bucket_versioning(Bucket="older", VersioningConfiguration={"Status": "Enabled"})
    event = listed("a.jpg")
    event["Records"][0]["body"] = event["Records"][0]["body"].replace(INPUT, "older")
    submit.handler(event, Context())

    assert (world.row()["status"], world.row()["version_id"]) == ("submitted", "null")
    assert "versionId=null" in world.enhancer.submits[0]["image_url"]


def test_what_is_no_photo_is_rejected_under_its_version(world: World, submit: ModuleType) -> None:
    version = world.put("notes.txt", b"hello")
    submit.handler(listed("notes.txt"), Context())

    row = world.row()
    assert (row["status"], row["version_id"], row["outcome"]["code"]) == ("rejected", version, "not_an_image")


def test_an_archived_photo_is_rejected(world: World, submit: ModuleType) -> None:
    world.s3.put_object(Bucket=INPUT, Key="old.jpg", Body=JPEG, StorageClass="GLACIER")
    submit.handler(listed("old.jpg"), Context())

    assert world.row()["outcome"]["code"] == "archived"
    assert world.enhancer.submits == []


# ---------------------------------------------------------------- which upload is newer


def bring(world: World, deliver: ModuleType, version: str, sequencer: str, task: str) -> str:
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
def test_s3_tells_which_is_newer_where_the_events_do_not(
    world: World, deliver: ModuleType, sequencers: tuple[str, str], first: str
) -> None:
    world.put("a/photo.jpg.bak")  # lies below the same prefix
    older = (world.put("a/photo.jpg"), sequencers[0], "older")
    newer = (world.put("a/photo.jpg"), sequencers[1], "newer")
    two = [older, newer] if first == "older" else [newer, older]
    states = [bring(world, deliver, *one) for one in two]

    assert delivered(world) == "newer"
    assert states == (["enhanced", "enhanced"] if first == "older" else ["enhanced", "superseded"])


def test_a_version_that_is_deleted_gives_way(world: World, deliver: ModuleType) -> None:
    kept, deleted = world.put("a/photo.jpg"), world.put("a/photo.jpg")
    assert bring(world, deliver, deleted, "", "deleted") == "enhanced"
    world.s3.delete_object(Bucket=INPUT, Key="a/photo.jpg", VersionId=deleted)
    assert bring(world, deliver, kept, "", "kept") == "enhanced"

    assert delivered(world) == "kept"


def test_two_events_are_disambiguate_without_asking_s3(world: World, deliver: ModuleType) -> None:
    one, other = world.put("a/photo.jpg"), world.put("a/photo.jpg")
    bring(world, deliver, one, SEQUENCER, "one")
    bring(world, deliver, other, SEQUENCER + "1", "other")

    assert delivered(world) == "other"
    assert "ListObjectVersions" not in [call.operation for call in world.calls]
