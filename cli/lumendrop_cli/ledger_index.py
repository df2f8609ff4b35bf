"""Reads the ledger's index `by_day`: the uploads of the stack's input bucket, the last change first.

The index has the rows that this version of the stack has written or changed. Reads are eventually consistent.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from botocore.exceptions import ClientError

from lumendrop_cli import ledger
from lumendrop_cli.errors import AWS_ERROR, CliError, error_code
from lumendrop_cli.ledger import Row
from lumendrop_cli.stack import Stack

_INDEX = "by_day"
_FIRST_VERSION = datetime(2026, 11, 27, tzinfo=UTC)  # earlier versions have no index
_CLOCK_SKEW = timedelta(minutes=5)
_FEW_DAYS = timedelta(days=1)
_PAGE = 1000  # rows, so that progress is shown and Ctrl-C ends within a second


@dataclass(frozen=True)
class Filter:
    """Which uploads to read. An empty value selects all.

    `since` is the earliest time of the last change, and `last_day` the last day of it (UTC).
    """

    statuses: Sequence[str] = ()
    since: datetime | None = None
    prefix: str = ""
    contains: str = ""
    last_day: date | None = None


def pages(stack: Stack, wanted: Filter, limit: int = _PAGE) -> Iterator[list[Row]]:
    """Pages of rows, the last change first. A page has at most `limit` rows, and can be empty.

    Reads one day after the other, so memory is constant. Raises CliError if the ledger has no index.
    """
    day = (datetime.now(UTC) + _CLOCK_SKEW).date()
    day = min(day, wanted.last_day or day)
    first = _first_day(stack, wanted, day)
    while day >= first:
        yield from _pages_of(stack, day, wanted, min(limit, _PAGE))
        day -= timedelta(days=1)


def _first_day(stack: Stack, wanted: Filter, last: date) -> date:
    """The first day to read. The table is asked for its age only if that can save queries."""
    first = wanted.since.astimezone(UTC).date() if wanted.since else date.min
    if last - first <= _FEW_DAYS:
        return first
    return max(first, created(stack).astimezone(UTC).date())


def rows(stack: Stack, wanted: Filter) -> Iterator[Row]:
    """The rows, the last change first."""
    return (row for page in pages(stack, wanted) for row in page)


def _pages_of(stack: Stack, day: date, wanted: Filter, limit: int) -> Iterator[list[Row]]:
    query = _query(stack, day, wanted)
    paginator = stack.client("dynamodb").get_paginator("query")
    try:
        for page in paginator.paginate(**query, PaginationConfig={"PageSize": limit}):
            yield list(ledger.rows_from(stack, page["Items"]))
    except ClientError as error:
        if error_code(error) not in ("ValidationException", "ResourceNotFoundException") or "index" not in str(error):
            raise
        raise CliError(_no_index(stack, error), AWS_ERROR) from None


def _query(stack: Stack, day: date, wanted: Filter) -> dict[str, Any]:
    names = {"#bucket": "bucket", "#status": "status", "#key": "key"}
    values = {":day": day.isoformat(), ":bucket": stack.output("InputBucketName"), ":contains": wanted.contains}
    values |= {":prefix": wanted.prefix, ":since": _text(wanted.since) if wanted.since else ""}
    values |= {f":status{place}": status for place, status in enumerate(wanted.statuses)}
    conditions = ["#bucket = :bucket"]
    if wanted.statuses:
        conditions.append(f"#status IN ({', '.join(f':status{place}' for place in range(len(wanted.statuses)))})")
    if wanted.prefix:
        conditions.append("begins_with(#key, :prefix)")
    if wanted.contains:
        conditions.append("contains(#key, :contains)")
    key = "changed_day = :day" + (" AND changed_at >= :since" if wanted.since else "")
    used = " ".join([key, *conditions])
    return {
        "TableName": stack.output("LedgerTableName"),
        "IndexName": _INDEX,
        "ScanIndexForward": False,
        "KeyConditionExpression": key,
        "FilterExpression": " AND ".join(conditions),
        "ExpressionAttributeNames": {name: value for name, value in names.items() if name in used},
        "ExpressionAttributeValues": {name: {"S": value} for name, value in values.items() if name in used},
    }


def _text(time: datetime) -> str:
    """As the ledger writes `changed_at`."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def created(stack: Stack) -> datetime:
    """The earliest time of a row in the index: no row is older than its table, unless the table was restored."""
    table = stack.client("dynamodb").describe_table(TableName=stack.output("LedgerTableName"))["Table"]
    found: datetime = table["CreationDateTime"]
    return _FIRST_VERSION if "RestoreSummary" in table else found


def _no_index(stack: Stack, error: ClientError) -> str:
    table = stack.output("LedgerTableName")
    if "backfilling" in str(error).lower():
        return f"The index of the ledger {table} is being created. Try again in a few minutes."
    return (
        f"The ledger {table} has no index {_INDEX}: the stack, or the one that created the ledger, is of an earlier "
        "version. Deploy this version. If the ledger comes from another stack (ExistingLedgerTable), create the index "
        "as docs/operations.md#list-uploads shows."
    )
