"""Reads the ledger: one row per upload version, as plain dictionaries. docs/architecture.md describes the fields."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator
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
_HOLDER = "holder"
_PREFIX, _OLDER_PREFIX = "object#", "upload#"
_DEFAULTS = {"status": statuses.INCOMPLETE, "attempt": 1, "size": 0, "etag": "", "sequencer": ""}
_NUMBER = (int, float)
_TYPES: dict[str, type | tuple[type, ...]] = {
    **dict.fromkeys(("status", "version_id", "bucket", "key", "sequencer", "etag", "time", "options"), str),
    **dict.fromkeys(("task_id", "same_as", "finished_at", "changed_at"), str),
    **dict.fromkeys(("attempt", "size", "submitted_at", "deadline"), int),
    **dict.fromkeys(("credits", "estimated_seconds"), _NUMBER),
    **dict.fromkeys(("outcome", "output"), dict),
    "earlier": list,
}

Row = dict[str, Any]


def rows_of(stack: Stack, key: str) -> list[Row]:
    """The rows of all versions of a key in the stack's input bucket, newest first."""
    found = {row["version_id"]: row for pk in reversed(_partition_keys(stack, key)) for row in _query(stack, pk)}
    rows = list(found.values())
    if all(row["sequencer"] for row in rows):
        return sorted(rows, key=lambda row: str(row["sequencer"]).ljust(64, "0"), reverse=True)
    return _in_order_of_s3(stack, key, rows)


def _query(stack: Stack, pk: str) -> Iterator[Row]:
    query = {
        "TableName": stack.output("LedgerTableName"),
        "KeyConditionExpression": "pk = :pk",
        "ExpressionAttributeValues": {":pk": {"S": pk}},
        "ConsistentRead": True,
    }
    pages = stack.client("dynamodb").get_paginator("query").paginate(**query)
    return (row for page in pages for row in rows_from(stack, page["Items"]))


def _in_order_of_s3(stack: Stack, key: str, rows: list[Row]) -> list[Row]:
    """Newest first. S3's list needs no sequencer, which backfilled uploads lack. Rows of deleted versions come last."""
    pages = stack.client("s3").get_paginator("list_object_versions")
    listed = pages.paginate(Bucket=stack.output("InputBucketName"), Prefix=key)
    versions = takewhile(lambda one: one["Key"] == key, (one for page in listed for one in page.get("Versions", [])))
    position = {one["VersionId"]: number for number, one in enumerate(versions)}
    return sorted(rows, key=lambda row: position.get(row["version_id"], len(position)))


def row_of(stack: Stack, key: str, version_id: str) -> Row | None:
    """The row of one version of a key in the stack's input bucket, if it exists."""
    table = stack.output("LedgerTableName")
    for pk in _partition_keys(stack, key):
        answer = stack.client("dynamodb").get_item(TableName=table, Key=_item_key(pk, version_id), ConsistentRead=True)
        for row in rows_from(stack, [answer["Item"]] if "Item" in answer else []):
            return row
    return None


def newest_row(stack: Stack, key: str, version_id: str | None) -> Row:
    """The row of the newest version of a key, or of the given version. Raises CliError if there is none."""
    rows = [row for row in rows_of(stack, key) if version_id in (None, row["version_id"])]
    if not rows:
        raise CliError(f"The ledger has no such upload of {key!r}. `lumendrop status` shows the uploads of a key.")
    return rows[0]


def batch_get(stack: Stack, uploads: list[tuple[str, str]], *, whole: bool = False) -> dict[tuple[str, str], Row]:
    """The rows of at most BATCH_SIZE uploads, by key and version ID. Uploads without a row are missing.

    Unless they are read as a whole, they have only the fields that name the upload, `status`, `options`, and
    `finished_at`. Raises CliError if DynamoDB keeps throttling.
    """
    found: dict[tuple[str, str], Row] = {}
    for shape in (0, 1):
        missing = [upload for upload in uploads if upload not in found]
        keys = [_item_key(_partition_keys(stack, key)[shape], version_id) for key, version_id in missing]
        found |= {(row["key"], row["version_id"]): row for row in rows_from(stack, _batch_get(stack, keys, whole))}
    return found


def holders(stack: Stack, photo_keys: list[str]) -> dict[str, tuple[str, str]]:
    """Where the rows are of the uploads that pay or have paid for photos. At most BATCH_SIZE photos."""
    items = _batch_get(stack, [_item_key(key, _HOLDER) for key in photo_keys], True)
    return {item["pk"]["S"]: (item["holder_pk"]["S"], item["holder_sk"]["S"]) for item in items}


def rows_at(stack: Stack, places: list[tuple[str, str]]) -> dict[tuple[str, str], Row]:
    """The rows at these places (see `holders`), at most BATCH_SIZE."""
    items = _batch_get(stack, [_item_key(pk, sk) for pk, sk in places], True)
    return {(str(row["pk"]), str(row["sk"])): row for row in rows_from(stack, items)}


def _batch_get(stack: Stack, keys: list[Any], whole: bool) -> Iterator[Any]:
    table = stack.output("LedgerTableName")
    request: dict[str, Any] = {"Keys": keys}
    if not whole:
        request["ProjectionExpression"] = "pk, sk, #bucket, #status, #options, finished_at"
        request["ExpressionAttributeNames"] = {"#bucket": "bucket", "#status": "status", "#options": "options"}
    for attempt in range(_BATCH_ATTEMPTS if keys else 0):
        answer = stack.client("dynamodb").batch_get_item(RequestItems={table: request})
        yield from answer["Responses"].get(table, [])
        if table not in answer.get("UnprocessedKeys", {}):
            return
        request = answer["UnprocessedKeys"][table]
        time.sleep(0.1 * 2**attempt)
    if keys:
        raise CliError("DynamoDB throttles reads of the ledger. Try again in a few minutes.")


def scan(stack: Stack, field: str, value: str, progress: Progress) -> list[Row]:
    """The input bucket's rows where a field (`status` or `outcome.code`) has this value. Reads the whole ledger.

    The index by day has no rows of earlier versions. docs/limits.md states the cost.
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
        rows += rows_from(stack, page["Items"])
        scanned += page["ScannedCount"]
        progress(f"read {scanned:,} rows of the ledger, found {len(rows):,} …")
    return rows


def list_overdue(stack: Stack, before: int) -> list[Row]:
    """The rows whose task's deadline, or whose claim, ended before a time (epoch seconds). Reads the whole ledger.

    Includes rows of other input buckets, because they name paid tasks too.
    """
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
    return [_row(stack, item) for page in pages for item in page["Items"]]


def count_tasks(stack: Stack, day: date) -> int:
    """The number of tasks that count toward a day's limit (UTC)."""
    answer = stack.client("dynamodb").get_item(
        TableName=stack.output("LedgerTableName"), Key={"pk": {"S": f"day#{day.isoformat()}"}, "sk": {"S": "tasks"}}
    )
    return int(answer.get("Item", {}).get("tasks", {}).get("N", 0))


def is_finished(row: Row) -> bool:
    """Whether an upload has its final status."""
    return "finished_at" in row


def is_paid_or_in_progress(row: Row) -> bool:
    """Whether another upload of the same photo reuses this one's result. Those of earlier versions are not reused."""
    return str(row["pk"]).startswith(_PREFIX) and (row["status"] == statuses.ENHANCED or not is_finished(row))


def may_have_result(row: Row) -> bool:
    """Whether the enhancer may have a result of the upload's task. It has none of a task that it ended as failed."""
    if row["status"] not in statuses.FETCHABLE or not row.get("task_id"):
        return False
    code = (row.get("outcome") or {}).get("code")
    return row["status"] == statuses.SUBMITTED or code is None or code in statuses.RESULT_MAY_EXIST


def reason(row: Row) -> str:
    """Why an upload has no enhanced photo, and what to do; empty if its row has no outcome."""
    outcome = row.get("outcome") or {}
    return " ".join(str(outcome[name]) for name in ("message", "advice") if name in outcome)


def _partition_keys(stack: Stack, key: str) -> tuple[str, str]:
    """Where an upload's row can be. Rows of earlier versions, which come last, name the bucket only in an attribute."""
    return f"{_PREFIX}{stack.output('InputBucketName')}/{key}", f"{_OLDER_PREFIX}{key}"


def _item_key(pk: str, version_id: str) -> dict[str, Any]:
    return {"pk": {"S": pk}, "sk": {"S": version_id}}


def rows_from(stack: Stack, items: Iterable[Any]) -> Iterator[Row]:
    """The rows of uploads to the stack's input bucket. Several stacks can share a ledger."""
    rows = (_row(stack, item) for item in items)
    return (row for row in rows if row["bucket"] == stack.output("InputBucketName"))


def _row(stack: Stack, item: Any) -> Row:
    """An item as a row. An attribute that is wrong is left out, and one that every command needs gets a value."""
    row = _without_wrong(_without_decimals(TypeDeserializer().deserialize({"M": item})))
    pk = str(row["pk"])
    if pk.startswith(_PREFIX):
        bucket, _, key = pk.removeprefix(_PREFIX).partition("/")
    else:
        bucket, key = row.get("bucket", stack.output("InputBucketName")), pk.removeprefix(_OLDER_PREFIX)
    return _DEFAULTS | {"bucket": bucket, "key": key, "version_id": row["sk"]} | row


def _without_wrong(row: Row) -> Row:
    """The row without attributes of a wrong type, which somebody must have written. submit can't read such a row."""
    wrong = [name for name, kind in _TYPES.items() if name in row and not _is_right(name, row[name], kind)]
    right = {name: value for name, value in row.items() if name not in wrong}
    return right | {"status": statuses.INCOMPLETE, "wrong": sorted(wrong)} if wrong else right


def _is_right(name: str, value: Any, kind: type | tuple[type, ...]) -> bool:
    if not isinstance(value, kind) or isinstance(value, bool):
        return False
    found: Any = value  # as `kind` says
    match name:
        case "options":
            return _is_object(found)
        case "earlier":
            return all(isinstance(one, dict) and isinstance(one.get("credits") or 0, _NUMBER) for one in found)
        case "outcome":
            return all(isinstance(found.get(part, ""), str) for part in ("code", "message", "advice"))
        case "output":
            return all(isinstance(found.get(part), str) for part in ("bucket", "key"))
    return True


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except (ValueError, RecursionError):
        return False


def _without_decimals(value: Any) -> Any:
    """JSON has no Decimal."""
    if isinstance(value, dict):
        return {name: _without_decimals(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_decimals(one) for one in value]
    if isinstance(value, Decimal):
        return int(value) if value % 1 == 0 else float(value)
    return value
