"""How far the stack scales, from the template's limits, AWS prices, and a few assumptions."""

from __future__ import annotations

import math

from samtranslator.yaml_helper import yaml_parse

from benchmarks.prices import PRICES
from benchmarks.results import REPO

PARAMETERS = yaml_parse((REPO / "template.yaml").read_text(encoding="utf-8"))["Parameters"]
DAY = 86_400
ROW_BYTES, PAGE_BYTES = 1024, 1024**2


SUBMIT_SECONDS = 1.0  # of one submit, mostly the vendor's; the vendor publishes no figure
REQUEUE_SECONDS = 0.05  # of a submit that sends the upload back to the queue
PHOTO_SECONDS = 60.0  # from the submit to the delivery
PAGE_SECONDS = 0.2  # to read 1 MB of the ledger


def scale_table() -> str:
    """The figures of docs/limits.md."""
    most = int(PARAMETERS["DailyTaskLimit"]["MaxValue"])
    usual, submits = int(PARAMETERS["DailyTaskLimit"]["Default"]), int(PARAMETERS["MaxConcurrentSubmits"]["Default"])
    runs = (
        (10_000, usual, submits),
        (10_000, 10_000, submits),
        (1_000_000, most, submits),
        (1_000_000, most, 50),
        (100_000_000, most, 50),
    )
    rate = most / DAY
    requeues, requeue_usd = requeues_per_day(submits)
    calls, seconds, usd = ledger_reading(most)
    lines = [
        "| photos | `DailyTaskLimit` | `MaxConcurrentSubmits` | time | vendor |",
        "|---|---|---|---|---|",
        *(scale(*run) for run in runs),
        "",
        f"- {most:,} tasks a day: {rate:.0f} claims a second, {rate * PHOTO_SECONDS:,.0f} open executions.",
        f"- A full queue at the daily limit: {requeues / 1e6:.1f} million requeues a day, {requeue_usd:,.0f} USD.",
        f"- Reading a ledger of {most:,} rows: {calls:,} calls, {duration(seconds)}, {usd:,.3f} USD.",
    ]
    return "\n".join(lines)


def scale(photos: int, daily_limit: int, concurrency: int) -> str:
    """One row of the table."""
    at_once, in_turn = concurrency / SUBMIT_SECONDS, daily_limit / DAY
    seconds = photos / (at_once if photos <= daily_limit else min(at_once, in_turn))
    vendor = photos * PRICES["vendor"]["photo"]
    return f"| {photos:,} | {daily_limit:,} | {concurrency} | {duration(seconds)} | {vendor:,.0f} USD |"


def duration(seconds: float) -> str:
    for name, length in (("days", DAY), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds:,.0f} seconds"


def requeues_per_day(concurrency: int) -> tuple[float, float]:
    """(requeues, USD) of a day in which a full queue waits for the daily limit."""
    requeues = concurrency / REQUEUE_SECONDS * DAY
    invocation = PRICES["lambda"]["request"] + REQUEUE_SECONDS * 0.5 * PRICES["lambda"]["gb_second"]
    return requeues, requeues * (3 * PRICES["sqs"]["request"] + invocation + PRICES["s3"]["get"])


def ledger_reading(rows: int) -> tuple[int, float, float]:
    """(calls, seconds, USD) of reading a whole ledger, whose rows are at most 1 KB (cost.json's write units)."""
    calls = math.ceil(rows * ROW_BYTES / PAGE_BYTES)
    # Half a unit for each 4 KB, since the read need not be strongly consistent.
    return calls, calls * PAGE_SECONDS, rows * ROW_BYTES / 4096 / 2 * PRICES["dynamodb"]["read_unit"]
