"""Shows the progress of photos: one bar for each active photo, and one for all."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from lumendrop_cli.text import clean

_OTHER_ROWS = 5  # rows of the terminal that the bars leave free


@dataclass(frozen=True)
class Bar:
    """One photo's progress, from 0 to 1, and what happens to it."""

    name: str
    share: float
    label: str


class ShowBars(Protocol):
    """Shows the active photos, and how many of all have ended."""

    def __call__(self, bars: list[Bar], ended: int, total: int, label: str) -> None: ...


@contextmanager
def progress_bars(console: Console) -> Iterator[ShowBars]:
    """Bars on a terminal; nothing elsewhere, where a line for each photo that ends says enough."""
    if not console.is_terminal:
        yield lambda bars, ended, total, label: None  # noqa: ARG005  # the protocol's names
        return
    columns = (
        TextColumn("{task.description}", markup=False, table_column=Column(ratio=2, no_wrap=True)),
        BarColumn(bar_width=None, table_column=Column(ratio=2)),
        TextColumn("{task.fields[label]}", markup=False, table_column=Column(min_width=16, no_wrap=True)),
    )
    # If stdout is not the terminal, what is printed there must not go through the bars.
    with Progress(
        *columns, console=console, transient=True, redirect_stdout=sys.stdout.isatty(), refresh_per_second=5
    ) as progress:
        yield _Bars(progress, max(1, console.height - _OTHER_ROWS))


class _Bars:
    def __init__(self, progress: Progress, rows: int) -> None:
        self._progress, self._rows = progress, rows
        self._all = progress.add_task("all", total=None, label="")
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, bars: list[Bar], ended: int, total: int, label: str) -> None:
        self._progress.update(self._all, completed=ended, total=total, label=label)
        shown = {bar.name: bar for bar in bars[: self._rows]}
        for name in self._tasks.keys() - shown.keys():
            self._progress.remove_task(self._tasks.pop(name))
        for name, bar in shown.items():
            if name not in self._tasks:
                self._tasks[name] = self._progress.add_task(clean(name), total=1.0, label="")
            self._progress.update(self._tasks[name], completed=bar.share, label=bar.label)
