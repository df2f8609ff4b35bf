"""The options that select uploads: by status, time of the last change, and prefix."""

from __future__ import annotations

from typing import Annotated

import typer

from lumendrop_cli import ledger_index, statuses
from lumendrop_cli.ledger import Row
from lumendrop_cli.ledger_index import Filter
from lumendrop_cli.printer import Progress
from lumendrop_cli.stack import Stack
from lumendrop_cli.text import count
from lumendrop_cli.times import parse_since

StatusOption = Annotated[
    list[str] | None,
    typer.Option(
        "--status",
        metavar="STATUS",
        help="Only uploads with this status. Can be repeated.",
        autocompletion=lambda: sorted(statuses.DESCRIPTIONS),
    ),
]
SinceOption = Annotated[
    str | None,
    typer.Option("--since", metavar="TIME", help="Only uploads that changed since then: 24h, 7d, or 2026-11-01."),
]
PrefixOption = Annotated[
    str | None, typer.Option("--prefix", metavar="PREFIX", help="Only keys that begin with PREFIX.")
]


MOST = 1_000_000_000
TimeoutOption = Annotated[int, typer.Option("--timeout", min=1, max=MOST, help="Seconds to wait for the result.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Show what would happen, and do nothing.")]
HOW_TO_SELECT = "--status, --since, or --prefix"


def parse_filter(status: list[str] | None, since: str | None, prefix: str | None) -> Filter:
    """The filter of these options. Raises BadParameter."""
    for one in status or ():
        if one not in statuses.DESCRIPTIONS:
            raise typer.BadParameter(f"{one!r} is no status; choose from {', '.join(statuses.DESCRIPTIONS)}")
    return Filter(tuple(status or ()), parse_since(since), prefix or "")


def is_given(status: list[str] | None, since: str | None, prefix: str | None) -> bool:
    """Whether at least one of these options is given."""
    return bool(status or since or prefix)


def select(stack: Stack, wanted: Filter, progress: Progress) -> list[Row]:
    """The uploads that the filter selects, the last change first. An upload is one version of a key."""
    found: list[Row] = []
    for page in ledger_index.pages(stack, wanted):
        found += page
        progress(f"{count(len(found), 'upload')} found …")
    return found
