"""`lumendrop list`: shows uploads, the last change first."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Annotated, Any, NoReturn

import typer

from lumendrop_cli import ledger_index, polling, statuses, tables
from lumendrop_cli.errors import on_interrupt
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.printer import Line, Printer, printer
from lumendrop_cli.selection import MOST, PrefixOption, SinceOption, StatusOption, parse_filter
from lumendrop_cli.stack import Stack, load_stack
from lumendrop_cli.statuses import COLORS

_COLUMNS = ("changed_at", "status", "key", "version_id", "attempt", "size", "task_id", "credits", "options", "same_as")
# The index is eventually consistent, and the clocks of functions differ by seconds.
_LATE = timedelta(seconds=15)
_FOLLOW_INTERVALS = 2
_KEPT = 10_000  # changes of the last seconds; a burst has fewer


def list_(
    context: typer.Context,
    status: StatusOption = None,
    since: SinceOption = None,
    prefix: PrefixOption = None,
    key_contains: Annotated[str | None, typer.Option(metavar="TEXT", help="Only keys that contain TEXT.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=MOST, help="The maximum number of uploads.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Show changes as they happen, until Ctrl-C.")] = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV to stdout.")] = False,
) -> None:
    """List uploads and what happened to them, the last change first.

    Reads the ledger's index. Rows that an earlier version of the stack wrote, and that have not changed since, are not
    listed. With --follow and --json, each line is one JSON document.
    """
    stack, out = load_stack(context), printer(context)
    if as_csv and (out.as_json or follow):
        raise typer.BadParameter("give only one of --csv, --json, and --follow")
    wanted = replace(parse_filter(status, since, prefix), contains=key_contains or "")
    if follow:
        with on_interrupt(""):
            _follow(stack, wanted, limit, out)
    found = islice(ledger_index.rows(stack, wanted), limit)
    if as_csv:
        out.stream(tables.csv_lines(_CSV_COLUMNS, (_record(row) for row in found)))
        return
    with out.progress("Reading the ledger …"):
        rows = list(found)
    more = [f"The first {limit:,}. --limit shows more."] if len(rows) == limit else []
    lines = [*map(_line, rows), *more] if rows else ["No upload matches."]
    out.result({"rows": rows}, lines)


def _line(row: Row) -> Line:
    status = str(row["status"])
    return (f"{_time(row)}  ", ""), (f"{status:<10}", COLORS.get(status, "")), (f"  {row['key']}{_remark(row)}", "")


def _time(row: Row) -> str:
    """In the user's time zone."""
    return f"{datetime.fromisoformat(row['changed_at']).astimezone():%Y-%m-%d %H:%M:%S}"


def _remark(row: Row) -> str:
    if code := (row.get("outcome") or {}).get("code"):
        return f"  {code}"
    return "  same photo" if row.get("same_as") and row["status"] == statuses.ENHANCED else ""


_CSV_COLUMNS = (*_COLUMNS, "output", "code", "message", "advice")


def _record(row: Row) -> Iterator[Any]:
    yield from (row.get(name) for name in _COLUMNS)
    photo, outcome = row.get("output"), row.get("outcome") or {}
    yield photo and f"s3://{photo['bucket']}/{photo['key']}"
    yield from (outcome.get(name) for name in ("code", "message", "advice"))


def _follow(stack: Stack, wanted: Filter, limit: int, out: Printer) -> NoReturn:
    """Shows the newest rows, and each change from now on: as a table that changes, or as lines."""
    rows = list(islice(ledger_index.rows(stack, wanted), limit))
    shown: dict[tuple[str, str], Row] = {}
    with out.live() as show:
        while True:
            read_again_from = datetime.now(UTC) - _LATE
            changed = [row for row in reversed(rows) if row["changed_at"] != _changed_at(shown.get(_upload(row)))]
            shown |= {_upload(row): row for row in changed}
            newest = sorted(shown.values(), key=_changed_at, reverse=True)[: max(limit, _KEPT)]
            shown = {_upload(row): row for row in newest}
            show([_line(row) for row in newest[:limit]], [(row, _line(row)) for row in changed])
            time.sleep(_FOLLOW_INTERVALS * polling.INTERVAL_SECONDS)
            since = max(read_again_from, wanted.since or read_again_from)
            rows = list(ledger_index.rows(stack, replace(wanted, since=since)))


def _upload(row: Row) -> tuple[str, str]:
    return row["key"], row["version_id"]


def _changed_at(row: Row | None) -> str:
    return str(row["changed_at"]) if row else ""
