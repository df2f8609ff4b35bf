"""`lumendrop backfill`: sends existing objects of the input bucket to the upload queue."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Annotated, Any

import typer

from lumendrop_cli import cost, event_source, ledger, photo_options, upload_queue
from lumendrop_cli.batches import batches
from lumendrop_cli.errors import FAILURE, CliError, on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.polling import poll_until
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count
from lumendrop_cli.workflow import running_backfills

_ARCHIVES = frozenset({"GLACIER", "DEEP_ARCHIVE"})
_RUN_SECONDS = 86_400  # the timeout of the backfill's state machine


@dataclass
class Survey:
    """The number of objects below a prefix, by what the backfill would do with them. `ended` counts by status.

    `paid` and `unpaid` identify the photos that are enhanced or in progress with `options`, and the new ones.
    """

    options: dict[str, Any]
    photos: int = 0
    new: int = 0
    too_big: int = 0
    archived: int = 0
    under_way: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    paid: set[int] = field(default_factory=set)
    unpaid: set[int] = field(default_factory=set)

    @property
    def same_photo(self) -> int:
        """The estimated number of new photos that reuse the result of another one."""
        return self.new - len(self.unpaid - self.paid)


def backfill(
    context: typer.Context,
    prefix: Annotated[str | None, typer.Option(help="Only keys that begin with PREFIX.", metavar="PREFIX")] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show the number of photos and their cost without sending them.")
    ] = False,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Start the backfill without waiting for its end.")] = False,
    yes: Annotated[
        bool, typer.Option("--yes", "-y", help="Don't count first, and don't ask for confirmation.")
    ] = False,
) -> None:
    """Send existing photos of the input bucket to the upload queue. Photos that are already enhanced cost nothing.

    The rate limit and the daily limit apply as for any upload. Exit code 1 if there are no photos, or if some could not
    be sent.
    """
    stack, out = load_stack(context), printer(context)
    prefix = _effective_prefix(stack, prefix)
    data: dict[str, Any] = {"prefix": prefix}
    if dry_run or not yes:
        with out.progress(f"Counting photos in {_uri(stack, prefix)} …") as progress:
            survey = _survey(stack, prefix, progress)
        data |= _summary(stack, survey)
        if dry_run or not survey.photos:
            out.result(data, _lines(stack, data))
            if not survey.photos:
                raise typer.Exit(FAILURE)
            return
        for line in _lines(stack, data):
            out.note(line)
        bound = "about" if data["same_photo"] else "at most"
        out.confirm(
            f"This pays for {bound} {count(data['tasks'], 'task')}, about {data['cost_usd']:,.2f} USD. Continue?"
        )
    started = stack.client("stepfunctions").start_execution(
        stateMachineArn=stack.output("BackfillWorkflowArn"), input=json.dumps({"prefix": prefix})
    )
    data["execution"] = started["executionArn"]
    if no_wait:
        out.result(data, [f"Started: {data['execution']}"])
        return
    continues = f"The backfill continues: {data['execution']}. `lumendrop stop --backfill` stops it."
    with on_interrupt(continues, data), out.progress("Sending …") as progress:
        output = _wait_for_end(stack, data["execution"], progress)
    # A run that an earlier version of the stack started counts nothing that was left out.
    data |= {"sent": int(output["sent"]), "left_out": int(output.get("left_out", 0))}
    left_out = f"{data['left_out']:,} objects were left out: their keys contain U+FFFE or U+FFFF, which SQS refuses."
    also = [left_out] if data["left_out"] else []
    if not data["sent"]:
        out.result(data, [f"There are no photos in {_uri(stack, prefix)}.", *also])
        raise typer.Exit(FAILURE)
    sent = f"{count(data['sent'], 'photo')} sent to the upload queue. Photos that are already enhanced create no task."
    out.result(data, [sent, *also, "`lumendrop doctor` shows how many are waiting."])


def _effective_prefix(stack: Stack, prefix: str | None) -> str:
    input_prefix = stack.parameters.get("InputPrefix", "")
    if prefix is None:
        return input_prefix
    if not prefix.startswith(input_prefix):
        raise typer.BadParameter(
            f"only keys that begin with {input_prefix!r} (InputPrefix) are enhanced, not {prefix!r}"
        )
    return prefix


def _uri(stack: Stack, prefix: str) -> str:
    return f"s3://{stack.output('InputBucketName')}/{prefix}"


def _survey(stack: Stack, prefix: str, progress: Progress) -> Survey:
    """Lists versions rather than objects, because the ledger has one row per version."""
    survey = Survey(json.loads(photo_options.as_text(stack, {})))
    largest = stack.whole_number("MaxUploadBytes")
    for batch in batches(_photos(stack, prefix), ledger.BATCH_SIZE):
        uploads = [(photo["Key"], photo["VersionId"]) for photo in batch]
        rows = ledger.batch_get(stack, uploads)
        for photo, upload in zip(batch, uploads, strict=True):
            _count(survey, photo, rows.get(upload), largest)
        progress(f"{count(survey.photos, 'photo')} counted, {survey.new:,} of them new …")
    return survey


def _photos(stack: Stack, prefix: str) -> Iterator[Any]:
    """The latest versions below a prefix, without folder markers."""
    pages = stack.client("s3").get_paginator("list_object_versions")
    for page in pages.paginate(Bucket=stack.output("InputBucketName"), Prefix=prefix):
        for one in page.get("Versions", []):
            if one["IsLatest"] and (one["Size"] or not one["Key"].endswith("/")):
                yield one


def _count(survey: Survey, photo: Any, row: Row | None, largest: int) -> None:
    survey.photos += 1
    if (
        row is not None
        and ledger.is_paid_or_in_progress(row)
        and json.loads(row.get("options", "{}")) == survey.options
    ):
        survey.paid.add(_content(photo))
    if row is not None and ledger.is_finished(row):
        survey.ended[row["status"]] += 1
    elif row is not None:
        survey.under_way += 1
    elif photo["Size"] > largest:
        survey.too_big += 1
    elif photo.get("StorageClass") in _ARCHIVES:
        survey.archived += 1
    else:
        survey.new += 1
        survey.unpaid.add(_content(photo))


def _content(photo: Any) -> int:
    """Identifies a photo's bytes in little memory. The ETag of a multipart upload says nothing about them."""
    etag = photo["ETag"].strip('"')
    return hash((photo["Key"], photo["VersionId"]) if "-" in etag else (photo["Size"], etag))


def _count_same(stack: Stack, survey: Survey) -> int:
    """The estimated number of new photos that aren't paid for. Stacks of earlier versions pay for each."""
    return survey.same_photo if stack.parameters.get("SamePhoto") == "reuse" else 0


def _summary(stack: Stack, survey: Survey) -> dict[str, Any]:
    same_photo = _count_same(stack, survey)
    tasks = survey.new - same_photo
    waiting = upload_queue.count_messages(stack, stack.output("UploadQueueUrl"))
    return {
        "photos": survey.photos,
        "ended": dict(survey.ended),
        "under_way": survey.under_way,
        "too_big": survey.too_big,
        "archived": survey.archived,
        "same_photo": same_photo,
        "tasks": tasks,
        "price_usd": cost.price_usd(stack),
        "cost_usd": cost.cost_usd(stack, tasks),
        "waiting": waiting,
        "days": math.ceil((tasks + waiting) / stack.whole_number("DailyTaskLimit")),
        "event_source": event_source.state(stack),
        "running": running_backfills(stack),
    }


def _lines(stack: Stack, data: dict[str, Any]) -> list[str]:
    place = _uri(stack, data["prefix"])
    if not data["photos"]:
        return [f"There are no photos in {place}."]
    ended = ", ".join(f"{number:,} {status}" for status, number in sorted(data["ended"].items()))
    counts = {
        "finished": f"{sum(data['ended'].values()):,}{f' ({ended})' if ended else ''}",
        "in progress": f"{data['under_way']:,}",
        "too big": f"{data['too_big']:,}, which are rejected without payment",
        "archived": f"{data['archived']:,}, which are rejected without payment",
        "same photo": f"{data['same_photo']:,}, not paid for again (estimate by size, ETag, and the stack's options)",
        "new": f"{data['tasks']:,}; files that are not images are rejected without payment",
    }
    price = f"about {data['cost_usd']:,.2f} USD at {data['price_usd']:.2f} USD per task"
    return [
        f"{count(data['photos'], 'photo')} in {place}:",
        *(f"  {name:<12} {value}" for name, value in counts.items() if not value.startswith("0,")),
        f"  {'cost':<12} {price}; {data['days']:,} days at the daily limit",
        *_circumstances(data),
    ]


def _circumstances(data: dict[str, Any]) -> Iterator[str]:
    """What delays the photos, or sends them too."""
    if data["waiting"]:
        yield f"  {'queue':<12} {count(data['waiting'], 'upload')} waiting already; photos among them are paid for once"
    if data["event_source"] != event_source.ENABLED:
        state = data["event_source"].lower()
        yield f"  {'paused':<12} the event source is {state}: photos wait until `lumendrop resume`"
    for execution in data["running"]:
        yield f"  {'running':<12} another backfill, {execution}; photos of both are paid for once"


def _wait_for_end(stack: Stack, execution: str, progress: Progress) -> dict[str, Any]:
    """Waits for the end of an execution and returns its output. Raises CliError if it failed."""
    states = stack.client("stepfunctions")

    def ended() -> Any:
        described = states.describe_execution(executionArn=execution)
        if described["status"] != "RUNNING":
            return described
        for run in states.list_map_runs(executionArn=execution)["mapRuns"]:
            counts = states.describe_map_run(mapRunArn=run["mapRunArn"])["itemCounts"]
            progress(f"{counts['succeeded']:,} of {counts['total']:,} objects processed …")
        return None

    end = poll_until(ended, _RUN_SECONDS)
    if end is None:
        raise CliError(f"The backfill is not finished after a day: {execution}")
    if end["status"] != "SUCCEEDED":
        raise CliError(f"The backfill {end['status'].lower()}: {end.get('cause', 'it was stopped')} ({execution})")
    output: dict[str, Any] = json.loads(end["output"])
    return output
