"""Reads the ledger: one row per upload version, as plain dictionaries. docs/architecture.md describes the fields."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import date
from decimal import Decimal
from itertools import takewhile
from typing import Any

from boto3.dynamodb.types import TypeDeserializer

from lumendrop_cli import statuses
from lumendrop_cli.errors import CliError
from lumendrop_cli.printer import Progress
from lumendrop_cli.stack import Stack

BATCH_SIZE = 100  # the most that DynamoDB accepts in one BatchGetItem

_BATCH_ATTEMPTS = 8

Row = dict[str, Any]


def rows_of(stack: Stack, key: str) -> list[Row]:
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
    return _in_order_of_s3(stack, key, rows)


def _in_order_of_s3(stack: Stack, key: str, rows: list[Row]) -> list[Row]:
    """Newest first. S3's list needs no sequencer, which backfilled uploads lack. Rows of deleted versions come last."""
    pages = stack.client("s3").get_paginator("list_object_versions")
    listed = pages.paginate(Bucket=stack.output("InputBucketName"), Prefix=key)
    versions = takewhile(lambda one: one["Key"] == key, (one for page in listed for one in page.get("Versions", [])))
    position = {one["VersionId"]: number for number, one in enumerate(versions)}
    return sorted(rows, key=lambda row: position.get(row["version_id"], len(position)))


def row_of(stack: Stack, key: str, version_id: str) -> Row | None:
    """The row of one version of a key, if it exists."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.output("LedgerTableName"), Key=_upload_key(key, version_id), ConsistentRead=True
    )
    return _row(answer["Item"]) if "Item" in answer else None


def newest_row(stack: Stack, key: str, version_id: str | None) -> Row:
    """The row of the newest version of a key, or of the given version. Raises CliError if there is none."""
    rows = [row for row in rows_of(stack, key) if version_id in (None, row["version_id"])]
    if not rows:
        raise CliError(f"The ledger has no such upload of {key!r}. `lumendrop status` shows the uploads of a key.")
    return rows[0]


def batch_get(stack: Stack, uploads: list[tuple[str, str]]) -> Iterator[Row]:
    """The status of each of at most BATCH_SIZE uploads (key and version ID) that has a row.

    Each row has only the fields `pk`, `sk`, `status`, and `finished_at`. Raises CliError if DynamoDB keeps throttling.
    """
    table = stack.output("LedgerTableName")
    request: dict[str, Any] = {
        "Keys": [_upload_key(*upload) for upload in uploads],
        "ProjectionExpression": "pk, sk, #status, finished_at",
        "ExpressionAttributeNames": {"#status": "status"},
    }
    for attempt in range(_BATCH_ATTEMPTS):
        answer = stack.client("dynamodb").batch_get_item(RequestItems={table: request})
        yield from map(_row, answer["Responses"].get(table, []))
        if table not in answer.get("UnprocessedKeys", {}):
            return
        request = answer["UnprocessedKeys"][table]
        time.sleep(0.1 * 2**attempt)
    raise CliError("DynamoDB throttles reads of the ledger. Try again in a few minutes.")


def scan(stack: Stack, field: str, value: str, progress: Progress) -> list[Row]:
    """All rows where a field (such as `status` or `outcome.code`) has this value. Reads the whole ledger.

    An index would add a write to every photo, and this query is rare. docs/limits.md states its cost.
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
    rows: list[Row] = []
    scanned = 0
    for page in pages:
        rows += [_row(item) for item in page["Items"]]
        scanned += page["ScannedCount"]
        progress(f"{scanned:,} rows read, {len(rows):,} found …")
    return rows


def list_overdue(stack: Stack, before: int) -> list[Row]:
    """The rows whose task's deadline, or whose claim, ended before a time (epoch seconds). Reads the whole ledger."""
    pages = (
        stack.client("dynamodb")
        .get_paginator("scan")
        .paginate(
            TableName=stack.output("LedgerTableName"),
            FilterExpression=(
                "(#status = :submitted AND deadline < :before) OR (#status = :claimed AND claim_expires < :before)"
            ),
            ExpressionAttributeNames={"#status": "status"},
            ExpressionAttributeValues={
                ":submitted": {"S": statuses.SUBMITTED},
                ":claimed": {"S": statuses.CLAIMED},
                ":before": {"N": str(before)},
            },
        )
    )
    return [_row(item) for page in pages for item in page["Items"]]


def count_tasks(stack: Stack, day: date) -> int:
    """The number of tasks that count toward a day's limit (UTC)."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.output("LedgerTableName"), Key={"pk": {"S": f"day#{day.isoformat()}"}, "sk": {"S": "tasks"}}
    )
    return int(answer.get("Item", {}).get("tasks", {}).get("N", 0))


def is_finished(row: Row) -> bool:
    """Whether an upload has its final status."""
    return "finished_at" in row


def _upload_key(key: str, version_id: str) -> dict[str, Any]:
    return {"pk": {"S": f"upload#{key}"}, "sk": {"S": version_id}}


def _row(item: Any) -> Row:
    row: Row = _without_decimals(TypeDeserializer().deserialize({"M": item}))
    return row


def _without_decimals(value: Any) -> Any:
    """JSON has no Decimal."""
    if isinstance(value, dict):
        return {name: _without_decimals(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_decimals(one) for one in value]
    if isinstance(value, Decimal):
        return int(value) if value % 1 == 0 else float(value)
    return value
