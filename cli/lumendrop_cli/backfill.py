"""`lumendrop backfill`: sends photos to the upload queue that lay in the input bucket before."""

from __future__ import annotations

import json
import math
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Annotated, Any

import typer
from rich.markup import escape

from lumendrop_cli.stack import Stack, find, output
from lumendrop_cli.trouble import NOT_DONE, Trouble
from lumendrop_cli.waiting import until

# USD a task, without and with profiles; what the vendor's model page says, and no invoice.
_PRICE, _PRICE_WITH_PROFILES = 0.12, 0.15
_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RUN_SECONDS = 86_400  # the backfill's own time-out
_KEYS_AT_ONCE = 100  # the most that DynamoDB takes
_READ_TRIES = 8


@dataclass
class Survey:
    """What lies below a prefix, by what would become of it. `ended` counts the rows' statuses."""

    photos: int = 0
    new: int = 0
    too_big: int = 0
    archived: int = 0
    under_way: int = 0
    ended: Counter[str] = field(default_factory=Counter)


def backfill(
    context: typer.Context,
    prefix: Annotated[str | None, typer.Option(help="Only keys that begin with this.", metavar="PREFIX")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how many photos, and what they would cost.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start it and don't follow it.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't look first, don't ask.")] = False,
) -> None:
    """Send the photos to the upload queue that lie in the input bucket already; those that are done are not paid again.

    They are paced like any upload, and the daily limit holds. Exit code 1 if there is no photo, or not all were sent.
    """
    stack, out = find(context), output(context)
    prefix = _below_input_prefix(stack, prefix)
    data: dict[str, Any] = {"prefix": prefix}
    if dry_run or not yes:
        with out.working(f"Looking at {_place(stack, prefix)} …") as say:
            survey = _look(stack, prefix, say)
        data |= _told(stack, survey)
        if dry_run or not survey.photos:
            out.result(data, _lines(stack, data))
            if not survey.photos:
                raise typer.Exit(NOT_DONE)
            return
        for line in _lines(stack, data):
            typer.echo(line, err=True)
        out.confirm(f"This pays for at most {data['tasks']:,} tasks, about {data['cost_usd']:,.2f} USD. Go on?")
    started = stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.output("BackfillWorkflowArn"), input=json.dumps({"prefix": prefix})
    )
    data["execution"] = started["executionArn"]
    if no_wait:
        out.result(data, [f"Started: {escape(data['execution'])}"])
        return
    with out.working("Sending …") as say:
        data["sent"] = _follow(stack, data["execution"], say)
    sent = f"{data['sent']:,} photos were sent to the upload queue; those that are done already cost a look, no task."
    out.result(data, [sent, "`lumendrop doctor` says how many wait."])


def _below_input_prefix(stack: Stack, prefix: str | None) -> str:
    own = stack.parameters.get("InputPrefix", "")
    if prefix is None:
        return own
    if not prefix.startswith(own):
        raise typer.BadParameter(f"only keys that begin with {own!r} (InputPrefix) are enhanced; {prefix!r} doesn't")
    return prefix


def _place(stack: Stack, prefix: str) -> str:
    return f"s3://{stack.output('InputBucketName')}/{prefix}"


def _look(stack: Stack, prefix: str, say: Callable[[str], None]) -> Survey:
    """Lists versions, not objects: the ledger's rows are versions'."""
    survey = Survey()
    largest = int(stack.parameters["MaxUploadBytes"])
    pages = (
        stack.client("s3")
        .get_paginator("list_object_versions")
        .paginate(Bucket=stack.output("InputBucketName"), Prefix=prefix)
    )
    photos = (
        one
        for page in pages
        for one in page.get("Versions", [])
        if one["IsLatest"] and one["Size"] and not one["Key"].endswith("/")
    )
    while some := list(islice(photos, _KEYS_AT_ONCE)):
        rows = {(row["pk"]["S"], row["sk"]["S"]): row for row in _rows(stack, some)}
        for photo in some:
            _count(survey, photo, rows.get((f"upload#{photo['Key']}", photo["VersionId"])), largest)
        say(f"{survey.photos:,} photos seen, {survey.new:,} of them new …")
    return survey


def _count(survey: Survey, photo: Any, row: Any, largest: int) -> None:
    survey.photos += 1
    if row is not None and "finished_at" in row:
        survey.ended[row["status"]["S"]] += 1
    elif row is not None:
        survey.under_way += 1
    elif photo["Size"] > largest:
        survey.too_big += 1
    elif photo.get("StorageClass") in _ARCHIVES:
        survey.archived += 1
    else:
        survey.new += 1


def _rows(stack: Stack, photos: list[Any]) -> Iterator[Any]:
    """The ledger's rows of these versions, as DynamoDB has them. Raises Trouble when it stays throttled."""
    table = stack.output("LedgerTableName")
    keys = [{"pk": {"S": f"upload#{one['Key']}"}, "sk": {"S": one["VersionId"]}} for one in photos]
    asked: dict[str, Any] = {
        "Keys": keys,
        "ProjectionExpression": "pk, sk, #status, finished_at",
        "ExpressionAttributeNames": {"#status": "status"},
    }
    for attempt in range(_READ_TRIES):
        answer = stack.client("dynamodb").batch_get_item(RequestItems={table: asked})
        yield from answer["Responses"].get(table, [])
        if table not in answer.get("UnprocessedKeys", {}):
            return
        asked = answer["UnprocessedKeys"][table]
        time.sleep(0.1 * 2**attempt)
    raise Trouble("The ledger gives too few rows at a time; DynamoDB throttles. Try again in a few minutes.")


def _told(stack: Stack, survey: Survey) -> dict[str, Any]:
    price = _PRICE_WITH_PROFILES if stack.parameters.get("ProfileIds") else _PRICE
    return {
        "photos": survey.photos,
        "ended": dict(survey.ended),
        "under_way": survey.under_way,
        "too_big": survey.too_big,
        "archived": survey.archived,
        "tasks": survey.new,
        "price_usd": price,
        "cost_usd": round(survey.new * price, 2),
        "days": math.ceil(survey.new / int(stack.parameters["DailyTaskLimit"])),
    }


def _lines(stack: Stack, data: dict[str, Any]) -> list[str]:
    place = escape(_place(stack, data["prefix"]))
    if not data["photos"]:
        return [f"No photo lies below {place}."]
    ended = ", ".join(f"{number:,} {status}" for status, number in sorted(data["ended"].items()))
    named = {
        "ended before": f"{sum(data['ended'].values()):,}{f' ({ended})' if ended else ''}",
        "on their way": f"{data['under_way']:,}",
        "too big": f"{data['too_big']:,}, which are rejected unpaid",
        "archived": f"{data['archived']:,}, which are rejected unpaid",
        "new": f"{data['tasks']:,}; what turns out to be no image is rejected unpaid",
    }
    cost = f"about {data['cost_usd']:,.2f} USD at {data['price_usd']:.2f} USD a task"
    return [
        f"{data['photos']:,} photos lie below {place}:",
        *(f"  {name:<12} {value}" for name, value in named.items() if not value.startswith("0,")),
        f"  {'cost':<12} {cost}; {data['days']:,} days at the daily limit",
    ]


def _follow(stack: Stack, execution: str, say: Callable[[str], None]) -> int:
    """Waits for the end of a run; returns how many photos it sent. Raises Trouble if it sent not all."""
    states = stack.client("stepfunctions")

    def look() -> Any:
        described = states.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        for run in states.list_map_runs(executionArn=execution)["mapRuns"]:
            counts = states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
            say(f"{counts['succeeded']:,} of {counts['total']:,} objects dealt with …")
        return None

    ended = until(look, _RUN_SECONDS)
    if ended is None:
        raise Trouble(f"The backfill has not ended after a day: {execution}")
    if ended["status"] != "SUCCEEDED":
        raise Trouble(
            f"The backfill {ended['status'].lower()}: {ended.get('cause', 'somebody stopped it')} ({execution})"
        )
    return int(json.loads(ended["output"])["sent"])
