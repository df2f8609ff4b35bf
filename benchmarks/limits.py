"""How far it scales: time and money for many photos, by the template's bounds, AWS's prices and a few assumptions."""

from __future__ import annotations

import argparse
import math

from samtranslator.yaml_helper import yaml_parse

from benchmarks.prices import PRICES
from benchmarks.results import REPO

PARAMETERS = yaml_parse((REPO / "template.yaml").read_text())["Parameters"]
DAY = 86_400
ROW_BYTES, PAGE_BYTES = 1024, 1024**2


def scale(photos: int, concurrency: int, daily_limit: int, submit_seconds: float) -> str:
    """A row of the table in docs/limits.md."""
    at_once, in_turn = concurrency / submit_seconds, daily_limit / DAY
    seconds = photos / (at_once if photos <= daily_limit else min(at_once, in_turn))
    vendor = photos * PRICES["vendor"]["photo"]
    return f"| {photos:,} | {daily_limit:,} | {concurrency} | {spoken(seconds)} | {vendor:,.0f} USD |"


def spoken(seconds: float) -> str:
    for name, length in (("days", DAY), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:,.0f} {name}"
    return f"{seconds:,.0f} seconds"


def waiting_usd_per_day(concurrency: int, look_seconds: float) -> tuple[float, float]:
    """(looks a day, their price): what a queue full of uploads costs that wait for the daily limit."""
    looks = concurrency / look_seconds * DAY
    invocation = PRICES["lambda"]["request"] + look_seconds * 0.5 * PRICES["lambda"]["gb_second"]
    return looks, looks * (3 * PRICES["sqs"]["request"] + invocation + PRICES["s3"]["get"])


def ledger_reading(rows: int, page_seconds: float) -> tuple[int, float, float]:
    """(calls, seconds, USD) of reading a whole ledger, whose rows are at most 1 KB (cost.json's write units)."""
    calls = math.ceil(rows * ROW_BYTES / PAGE_BYTES)
    # Half a unit for each 4 KB, since the read need not be strongly consistent.
    return calls, calls * page_seconds, rows * ROW_BYTES / 4096 / 2 * PRICES["dynamodb"]["read_unit"]


def main() -> None:
    """Prints the tables of docs/limits.md."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.limits", description=__doc__)
    parser.add_argument("--submit-seconds", type=float, default=1.0, help="what a submit takes")
    parser.add_argument("--look-seconds", type=float, default=0.05, help="what a look takes that ends in waiting")
    parser.add_argument("--photo-seconds", type=float, default=60.0, help="from the submit to the delivery")
    parser.add_argument("--page-seconds", type=float, default=0.2, help="what reading 1 MB of the ledger takes")
    arguments = parser.parse_args()
    most = int(PARAMETERS["DailyTaskLimit"]["MaxValue"])
    usual, pace = int(PARAMETERS["DailyTaskLimit"]["Default"]), int(PARAMETERS["MaxConcurrentSubmits"]["Default"])
    print("| photos | `DailyTaskLimit` | `MaxConcurrentSubmits` | time | vendor |\n|---|---|---|---|---|")
    for photos, limit, concurrency in (
        (10_000, usual, pace),
        (10_000, 10_000, pace),
        (1_000_000, most, pace),
        (1_000_000, most, 50),
        (100_000_000, most, 50),
    ):
        print(scale(photos, concurrency, limit, arguments.submit_seconds))
    rate = most / DAY
    print(f"\nAt {most:,} tasks a day: {rate:.1f} claims, starts and deliveries a second;")
    print(f"{rate * arguments.photo_seconds:,.0f} executions open, and as many watched by check_status at the most.")
    looks, usd = waiting_usd_per_day(pace, arguments.look_seconds)
    print(f"A full queue that waits: {looks:,.0f} looks a day with {pace} at a time, {usd:,.2f} USD.")
    calls, seconds, usd = ledger_reading(most, arguments.page_seconds)
    print(f"Reading a ledger of {most:,} rows: {calls:,} calls, {spoken(seconds)}, {usd:,.3f} USD.")


if __name__ == "__main__":
    main()
