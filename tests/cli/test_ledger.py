"""The commands read rows with the bucket in their key, and rows of earlier versions, whose key is without it."""

import uuid
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from lumendrop_cli import ledger
from tests.cli.command import Lumendrop
from tests.cli.test_backfill import _without_events
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

Put = Callable[..., None]


@pytest.fixture(autouse=True)
def _without_incomplete_rows(pipeline: Pipeline) -> Iterator[None]:
    """Deletes the rows of these tests. Other tests expect complete ones."""
    yield
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    for page in dynamodb.get_paginator("scan").paginate(TableName=table):
        for item in page["Items"]:
            if "in/ledger/" in item["pk"]["S"]:
                dynamodb.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})


@pytest.fixture(params=["object#{bucket}/", "upload#"])
def put(request: pytest.FixtureRequest, pipeline: Pipeline) -> Put:
    """Writes a row of either shape."""

    def write(key: str, version_id: str = "v", bucket: str = "", **attributes: Any) -> None:
        bucket = bucket or pipeline.outputs["InputBucketName"]
        _put(pipeline, request.param.format(bucket=bucket) + key, version_id, bucket=bucket, **attributes)

    return write


def _put(pipeline: Pipeline, pk: str, version_id: str, **attributes: Any) -> None:
    item = {"pk": pk, "sk": version_id, **attributes}
    pipeline.cloud.client("dynamodb").put_item(
        TableName=pipeline.outputs["LedgerTableName"], Item=TypeSerializer().serialize(item)["M"]
    )


def _key() -> str:
    return f"in/ledger/{uuid.uuid4().hex}/ä b#c/\N{CAMERA}.jpg"


def test_a_row_of_either_shape_is_found(lumendrop: Lumendrop, put: Put) -> None:
    key = _key()
    put(key, status="failed", outcome={"code": "deadline_passed", "message": "Late.", "advice": "Wait."})
    (row,) = lumendrop.ok("status", key)["rows"]
    assert (row["key"], row["version_id"], row["status"]) == (key, "v", "failed")


def test_a_row_of_another_input_bucket_is_not_shown(lumendrop: Lumendrop, put: Put) -> None:
    key = _key()
    put(key, bucket="somebody-elses-photos", status="unknown")
    shown = lumendrop("--json", "status", key)
    assert (shown.code, shown.json["rows"]) == (1, [])
    found = lumendrop("--json", "retry", "--unknown", "--dry-run")
    assert key not in [one["key"] for one in found.json["uploads"]]


@pytest.mark.parametrize("status", ["submitted", "failed", "enhanced", "rejected", "unknown"])
def test_a_row_without_its_attributes_is_no_bug(
    lumendrop: Lumendrop, pipeline: Pipeline, put: Put, status: str
) -> None:
    key = _key()
    put(key, status=status)
    (row,) = lumendrop.ok("status", key)["rows"]
    assert (row["key"], row["attempt"]) == (key, 1)
    for command in (("status", key), ("retry", key), ("retry", key, "--pay"), ("fetch", key), ("stop", key)):
        assert lumendrop("--json", *command).json


def test_a_row_without_a_status_is_no_bug(lumendrop: Lumendrop, put: Put) -> None:
    key = _key()
    put(key)
    assert lumendrop("status", key).out.startswith("incomplete")
    assert lumendrop("retry", key).code == 1


@pytest.mark.parametrize("wrong", [None, "x"])
def test_a_row_with_a_wrong_attribute_is_no_bug(lumendrop: Lumendrop, put: Put, wrong: str | None) -> None:
    whole = {"attempt": 1, "size": 9, "sequencer": "01", "options": "{}", "task_id": "t", "submitted_at": 1}
    whole |= {"deadline": 2, "output": {"bucket": "b", "key": "k"}, "outcome": {"code": "c"}, "earlier": []}
    key = _key()
    for name in whole:
        put(key, name, status="failed", **whole | {name: wrong})
    rows = lumendrop.ok("status", key)["rows"]
    assert {row["version_id"] for row in rows} == whole.keys()
    for row in rows:
        is_right = wrong is not None and isinstance(whole[row["version_id"]], str) and row["version_id"] != "options"
        assert row.get("wrong") == (None if is_right else [row["version_id"]])
        assert row["status"] == ("failed" if is_right else "incomplete")
    assert "an attribute is missing or wrong" in lumendrop("status", key).out
    for command in ("retry", "fetch"):
        refused = lumendrop(command, key, "--version-id", "attempt")
        assert (refused.code, "is incomplete" in refused.err) == (1, True)
    for command in (("doctor",), ("list",), ("spend",), ("retry", "--unknown", "--dry-run")):
        assert lumendrop("--json", *command).json


def test_versions_of_both_shapes_are_shown_together(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key, bucket = _key(), pipeline.outputs["InputBucketName"]
    _put(pipeline, f"upload#{key}", "1", bucket=bucket, status="failed", sequencer="01")
    _put(pipeline, f"object#{bucket}/{key}", "2", bucket=bucket, status="failed", sequencer="02")
    _put(pipeline, f"upload#{key}", "2", bucket=bucket, status="submitted", sequencer="02")
    rows = lumendrop.ok("status", key)["rows"]
    assert [(row["version_id"], row["status"]) for row in rows] == [("2", "failed"), ("1", "failed")]


def test_the_dry_run_of_a_backfill_reads_both_shapes(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place, bucket = f"in/ledger/{uuid.uuid4().hex}/", pipeline.outputs["InputBucketName"]
    with _without_events(pipeline):  # submit would meet the incomplete rows
        uploads = [pipeline.drop(f"{place}{number}.jpg", jpeg()) for number in range(3)]
        older, newer, foreign = uploads
        _put(pipeline, f"upload#{older.key}", older.version_id, bucket=bucket, status="failed", finished_at="x")
        _put(pipeline, f"object#{bucket}/{newer.key}", newer.version_id, status="superseded", finished_at="x")
        _put(pipeline, f"upload#{foreign.key}", foreign.version_id, bucket="another", status="failed")
        found = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert (found["ended"], found["under_way"], found["tasks"]) == ({"failed": 1, "superseded": 1}, 0, 1)


def test_the_reason_of_a_row_without_an_outcome_is_empty() -> None:
    assert ledger.reason({}) == ""
    assert ledger.reason({"outcome": None}) == ""
    assert ledger.reason({"outcome": {"message": "Late."}}) == "Late."
