"""submit and rows with attributes that are missing or wrong: nothing is paid, and the error names the row."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import msgspec
import pytest
from boto3.dynamodb.types import TypeSerializer

from lumendrop.ledger import UnreadableRow
from lumendrop.uploads import parse_event
from tests.unit.conftest import LoadFunction
from tests.unit.world import INPUT, JPEG, OUTPUT, Context, World, for_object, redelivered, sample

OUTCOME = {"status": "failed", "code": "c", "message": "m", "advice": "a", "may_have_cost": True}
EARLIER = [{"attempt": 1, "task_id": "task-1", "credits": 1}]
TASK = {"task_id": "task-2", "submitted_at": 1_900_000_000, "deadline": 1_900_007_200, "estimated_seconds": 45}
PHOTO = {"bucket": OUTPUT, "key": "a/photo.jpg", "version_id": "v", "bytes": 9, "format": "jpeg"}

ROWS: dict[str, dict[str, Any]] = {
    "claimed": {"claim_expires": 1, "day": "2026-01-31"},
    "submitted": TASK,
    "recovered": {"status": "submitted", "recovered": True, **TASK},
    "retrying": {"outcome": OUTCOME, **TASK},
    "enhanced": {"output": PHOTO, "finished_at": "2026-01-31T12:00:00Z", **TASK},
    "reused": {"status": "enhanced", "output": PHOTO, "same_as": "0" * 32},
    "failed": {"outcome": OUTCOME, **TASK},
    "rejected": {"outcome": OUTCOME | {"status": "rejected"}},
    "superseded": {"outcome": OUTCOME | {"status": "superseded"}, "same_as": "0" * 32},
    "unknown": {"outcome": OUTCOME | {"status": "unknown"}, "claim_expires": 1},
}
WRONG = [{"L": []}, {"NULL": True}]


@pytest.fixture
def submit(function: LoadFunction) -> ModuleType:
    return function("submit")


def row(name: str, version_id: str) -> dict[str, Any]:
    """A row of the second attempt, as the ledger stores it."""
    key = "a/photo.jpg"
    upload = {"bucket": INPUT, "key": key, "version_id": version_id, "sequencer": "01", "size": 9, "etag": "e"}
    flat = {"pk": f"object#{INPUT}/{key}", "sk": version_id, "status": name, "attempt": 2, "earlier": EARLIER}
    item: dict[str, Any] = TypeSerializer().serialize(flat | {"options": "{}"} | upload | ROWS[name])["M"]
    return item


def faulty(item: dict[str, Any]) -> list[dict[str, Any]]:
    """The row without each of its attributes, and with each of them wrong, and its maps without each of theirs."""
    found: list[dict[str, Any]] = []
    for name in item.keys() - {"pk", "sk"}:
        found.append({other: value for other, value in item.items() if other != name})
        found += [item | {name: value} for value in WRONG]
        for inner in item[name].get("M", {}):
            found.append(item | {name: {"M": {one: value for one, value in item[name]["M"].items() if one != inner}}})
    return found


@pytest.mark.parametrize("name", ROWS)
def test_no_faulty_row_is_paid_for_or_watched_in_vain(
    world: World, submit: ModuleType, function: LoadFunction, name: str
) -> None:
    check_status, deliver = function("check_status"), function("deliver")
    assert world.output_bucket
    # A retry of a photo that exists is rightly paid for.
    version_id = world.put("a/photo.jpg") if name != "retrying" else "deleted"
    event = for_object(sample("submit"), **{"key": "a/photo.jpg", "version-id": version_id})
    whole = row(name, version_id)
    upload = parse_event(event["Records"][0]["body"])
    refused = []
    for item in [whole, *faulty(whole)]:
        world.dynamodb.put_item(TableName="ledger", Item=item)
        try:
            submit.LEDGER.read(upload)
            submit.handler(event, Context())
        except UnreadableRow as error:
            refused.append(item)
            assert (whole["pk"]["S"] in str(error), version_id in str(error)) == (True, True)
            assert "lumendrop redrive" in str(error)
    assert refused
    assert whole not in refused
    world.dynamodb.put_item(TableName="ledger", Item=refused[0])
    with pytest.raises(UnreadableRow):
        submit.handler(event, Context())
    assert world.dynamodb.get_item(TableName="ledger", Key={"pk": whole["pk"], "sk": whole["sk"]})["Item"] == refused[0]
    assert world.enhancer.submits == []
    for started in world.executions():
        given = {one: started.get(one) for one in ("correlation_id", "task", "poll")}
        if started["task"] and not started["outcome"]:
            assert msgspec.convert(given, check_status.Request)
            assert msgspec.convert(started, deliver.Request)
        else:
            assert started["outcome"] or started["delivery"]["output"]["bucket"]


def test_a_row_that_names_another_upload_than_its_key_is_refused(world: World, submit: ModuleType) -> None:
    event = world.upload()
    submit.handler(event, Context())
    spoil(world, "key", {"S": "b/photo.jpg"})
    with pytest.raises(UnreadableRow, match="names another upload"):
        submit.handler(event, Context())
    assert len(world.enhancer.submits) == 1


def test_the_row_of_the_same_photo_is_named_and_nothing_is_paid(world: World, function: LoadFunction) -> None:
    submit = function("submit", SAME_PHOTO="reuse")
    submit.handler(world.upload("first.jpg", JPEG), Context())
    first = world.row()
    spoil(world, "attempt", {"S": "x"})
    with pytest.raises(UnreadableRow, match="first"):
        submit.handler(world.upload("second.jpg", JPEG), Context())
    repair(world, first)
    for item in world.dynamodb.scan(TableName="ledger")["Items"]:
        if item["pk"]["S"].startswith("photo#"):
            world.dynamodb.put_item(TableName="ledger", Item=item | {"attempt": {"S": "x"}})
    with pytest.raises(UnreadableRow, match="photo#"):
        submit.handler(world.upload("second.jpg", JPEG), Context())
    assert len(world.enhancer.submits) == 1


def test_a_paid_task_whose_row_is_spoiled_before_it_is_recorded_is_recorded_after_the_repair(
    world: World, submit: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    send = world.enhancer.send

    def spoiling(*arguments: Any, **more: Any) -> Any:
        answer = send(*arguments, **more)
        claims.append(world.row())
        spoil(world, "attempt", {"S": "x"})
        return answer

    claims: list[dict[str, Any]] = []
    monkeypatch.setattr(world.enhancer, "send", spoiling)
    submit.handler(world.upload(), Context())
    (message,) = world.messages()
    with pytest.raises(UnreadableRow):
        submit.handler(redelivered(message), Context())
    repair(world, claims[0])
    submit.handler(redelivered(message), Context())
    assert (world.row()["status"], world.row()["task_id"], len(world.enhancer.submits)) == ("submitted", "task-1", 1)


def spoil(world: World, name: str, value: dict[str, Any]) -> None:
    """Changes an attribute of the only row."""
    item = TypeSerializer().serialize(world.row())["M"]
    world.dynamodb.put_item(TableName="ledger", Item=item | {name: value})


def repair(world: World, row: dict[str, Any]) -> None:
    world.dynamodb.put_item(TableName="ledger", Item=TypeSerializer().serialize(row)["M"])
