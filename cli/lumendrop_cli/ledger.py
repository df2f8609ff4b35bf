"""Reading the ledger: one row per upload version, as plain dictionaries. docs/architecture.md says what is in them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from itertools import takewhile
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from lumendrop_cli.stack import Stack

Row = dict[str, Any]


def of_key(stack: Stack, key: str) -> list[Row]:
    """The rows of all versions of a key, newest first."""
    query = {
        "TableName": stack.output("LedgerTableName"),
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": f"upload#{key}"}},
        "ConsistentRead": True,
    }
    pages = stack.client("dynamodb").get_paginator("query").paginate(**query)
    rows = [_row(item) for page in pages for item in page["Items"]]
    if all(row["sequencer"] for row in rows):
        return sorted(rows, key=lambda row: str(row["sequencer"]).ljust(64, "0"), reverse=True)
    return _as_stored(stack, key, rows)


def _as_stored(stack: Stack, key: str, rows: list[Row]) -> list[Row]:
    """Newest first as S3 lists them, which no event has to tell; rows of deleted versions last."""
    pages = stack.client("s3").get_paginator("list_object_versions")
    listed = pages.paginate(Bucket=stack.output("InputBucketName"), Prefix=key)
    versions = takewhile(lambda one: one["Key"] == key, (one for page in listed for one in page.get("Versions", [])))
    place = {one["VersionId"]: number for number, one in enumerate(versions)}
    return sorted(rows, key=lambda row: place.get(row["version_id"], len(place)))


def of_version(stack: Stack, key: str, version_id: str) -> Row | None:
    """The row of one version of a key, if there is one."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.output("LedgerTableName"),
        Key={"pk": {"S": f"upload#{key}"}, "sk": {"S": version_id}},
        ConsistentRead=True,
    )
    return _row(answer["Item"]) if "Item" in answer else None


def where(stack: Stack, field: str, value: str, say: Callable[[str], None]) -> list[Row]:
    """All rows whose field (such as `status` or `outcome.code`) has this value. Reads the whole ledger; says how far.

    An index would be written, and paid for, with every photo; this is asked for seldom. Its cost is in docs/limits.md.
    """
    path = field.split(".")
    names = {f"#{place}": name for place, name in enumerate(path)}
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.output("LedgerTableName"),
            FilterExpression=f"{'.'.join(names)} = :value",
            ExpressionAttributeNames=names,
            ExpressionAttributeValues={":value": {"S": value}},
        )
    )
    found: list[Row] = []
    read = 0
    for page in pages:
        found += [_row(item) for item in page["Items"]]
        read += page["ScannedCount"]
        say(f"{read:,} rows read, {len(found):,} found …")
    return found


def tasks_of(stack: Stack, day: date) -> int:
    """How many tasks count against the limit of a day (UTC)."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.output("LedgerTableName"), Key={"pk": {"S": f"day#{day.isoformat()}"}, "sk": {"S": "tasks"}}
    )
    return int(answer.get("Item", {}).get("tasks", {}).get("N", 0))


def _row(item: Any) -> Row:
    row: Row = _plain(TypeDeserializer().deserialize({"M": item}))
    return row


def _plain(value: Any) -> Any:
    """JSON knows no Decimal."""
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, Decimal):
        return int(value) if value % 1 == 0 else float(value)
    return value
