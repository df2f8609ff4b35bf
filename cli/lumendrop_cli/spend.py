"""`lumendrop spend`: shows what uploads cost, and what they saved."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, Any

import typer

from lumendrop_cli import cost, ledger_index, statuses, tables
from lumendrop_cli.ledger import Row
from lumendrop_cli.printer import Progress, printer
from lumendrop_cli.selection import PrefixOption, parse_filter
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.text import count


class By(StrEnum):
    """What the cost is grouped by."""

    day = "day"
    folder = "folder"
    options = "options"
    outcome = "outcome"


@dataclass
class Spend:
    """The cost of some uploads.

    `tasks` were certainly created; `unknown` may have been, so they are not part of `usd`. `enhanced` counts photos,
    `reused` those of them that another upload paid for, and `without_photo` tasks that delivered none.
    """

    tasks: int = 0
    unknown: int = 0
    credits: float = 0
    usd: float = 0
    enhanced: int = 0
    reused: int = 0
    without_photo: int = 0
    usd_without_photo: float = 0
    usd_saved: float = 0

    def add(self, row: Row, since: datetime | None, prices: tuple[float, float]) -> None:
        """Adds an upload that changed since then. Attempts that are certainly older are left out."""
        attempts = [*_earlier(row, since), *_last(row, since)]
        created = [one for one in attempts if one.get("task_id")]
        price = prices["profile_ids" in (row.get("options") or "")]
        is_enhanced = row["status"] == statuses.ENHANCED
        is_reused = is_enhanced and bool(row.get("same_as"))
        is_running = row["status"] in (statuses.SUBMITTED, statuses.CLAIMED)
        without_photo = max(0, len(created) - bool(created and (is_running or (is_enhanced and not is_reused))))
        self.tasks += len(created)
        self.unknown += len(attempts) - len(created)
        self.credits += sum(float(one.get("credits") or 0) for one in created)
        self.usd += price * len(created)
        self.enhanced += is_enhanced
        self.reused += is_reused
        self.without_photo += without_photo
        self.usd_without_photo += price * without_photo
        self.usd_saved += price * is_reused

    def rounded(self) -> dict[str, Any]:
        return {name: round(value, 2) if isinstance(value, float) else value for name, value in asdict(self).items()}


_COLUMNS = tuple(one.name for one in fields(Spend))


def spend(
    context: typer.Context,
    by: Annotated[By, typer.Option(metavar="day|folder|options|outcome", help="Group the cost.")] = By.day,
    since: Annotated[
        str, typer.Option("--since", metavar="TIME", help="The start of the period: 24h, 7d, or 2026-11-01.")
    ] = "30d",
    prefix: PrefixOption = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")] = False,
) -> None:
    """Show what uploads cost: tasks, credits, USD, photos, tasks without a photo, and savings from reuse.

    USD is the number of tasks times TaskPriceUsd, not the vendor's bill. Failed tasks count, because it is not known
    whether the vendor refunds them. The day (UTC) is that of an upload's last task. Rows that an earlier version of the
    stack wrote, and that have not changed since, are not counted.
    """
    stack, out = load_stack(context), printer(context)
    if as_csv and out.as_json:
        raise typer.BadParameter("give only one of --csv and --json")
    wanted = parse_filter(None, since, prefix)
    with out.progress("Reading the ledger …") as progress:
        groups, total = _spend(stack, wanted, _GROUPS[by], progress)
    records = {group: found.rounded() for group, found in sorted(groups.items())}
    if as_csv:
        out.stream(tables.csv_lines((str(by), *_COLUMNS), ((group, *one.values()) for group, one in records.items())))
        return
    data = {
        "by": str(by),
        "since": wanted.since and wanted.since.isoformat(),
        "price_usd": cost.price_usd(stack),
        "groups": [{str(by): group, **found} for group, found in records.items()],
        "total": total.rounded(),
    }
    shown = [(group, *_cells(found)) for group, found in [*records.items(), ("total", total.rounded())]]
    header = (str(by), *(name.replace("_", " ") for name in _COLUMNS))
    out.result(data, tables.columns(header, shown) if groups else ["No upload changed in this period."])


def _spend(
    stack: Stack, wanted: ledger_index.Filter, group_of: Callable[[Row], str], progress: Progress
) -> tuple[dict[str, Spend], Spend]:
    """The cost by group, and in total. Keeps only the groups in memory."""
    prices = cost.price_usd(stack, profiles=False), cost.price_usd(stack, profiles=True)
    groups: dict[str, Spend] = {}
    total, read = Spend(), 0
    for page in ledger_index.pages(stack, wanted):
        for row in page:
            groups.setdefault(group_of(row), Spend()).add(row, wanted.since, prices)
            total.add(row, wanted.since, prices)
        read += len(page)
        progress(f"{count(read, 'upload')} read, {count(total.tasks, 'task')} …")
    return groups, total


def _earlier(row: Row, since: datetime | None) -> list[dict[str, Any]]:
    """The earlier attempts, if the upload arrived in the period. Their own times are not recorded."""
    arrived = row.get("time") or ""
    return list(row.get("earlier") or ()) if since is None or _is_since(arrived, since) else []


def _last(row: Row, since: datetime | None) -> Iterator[Row]:
    """The last attempt, if it may have created a task in the period."""
    if row["status"] in ("rejected", statuses.CLAIMED) or row.get("same_as"):
        return
    submitted = row.get("submitted_at")
    if submitted is None or since is None or submitted >= since.timestamp():
        yield row


def _is_since(text: str, since: datetime) -> bool:
    try:
        return datetime.fromisoformat(text) >= since
    except ValueError:  # the backfill's uploads have no time
        return False


def _day(row: Row) -> str:
    submitted = row.get("submitted_at")
    return datetime.fromtimestamp(submitted, UTC).date().isoformat() if submitted else str(row["changed_at"])[:10]


def _folder(row: Row) -> str:
    return str(row["key"]).rpartition("/")[0] + "/"


def _options(row: Row) -> str:
    """Such as `resolution=4K creativity=0.5`."""
    options = json.loads(row.get("options") or "{}")
    return " ".join(f"{name}={value}" for name, value in options.items()) or "none"


def _outcome(row: Row) -> str:
    code = (row.get("outcome") or {}).get("code")
    return f"{row['status']} {code}" if code else str(row["status"])


def _cells(found: dict[str, Any]) -> Iterator[str]:
    for name, value in found.items():
        yield f"{value:,.2f}" if name.startswith("usd") else f"{value:,g}" if name == "credits" else f"{value:,}"


_GROUPS: dict[By, Callable[[Row], str]] = {
    By.day: _day,
    By.folder: _folder,
    By.options: _options,
    By.outcome: _outcome,
}
