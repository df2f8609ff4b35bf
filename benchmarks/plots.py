"""Plots for docs/benchmarks, readable on dark and light pages."""

from __future__ import annotations

from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table

from benchmarks.results import FOLDER

GREY, OURS, PEER, LIMIT = "#8a8a8a", "#2a9d5c", "#d9822b", "#5b8def"


def rounded(value: Any) -> Any:
    """Rounds all floats to four significant digits."""
    if isinstance(value, float):
        return float(f"{value:.4g}")
    if isinstance(value, dict):
        return {name: rounded(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [rounded(one) for one in value]
    return value


def show(title: str, columns: list[str], rows: list[list[Any]]) -> None:
    """Prints a table; the first column is text."""
    table = Table(title=title, title_justify="left")
    for index, column in enumerate(columns):
        table.add_column(column, justify="right" if index else "left", no_wrap=not index)
    for row in rows:
        table.add_row(*(f"{cell:,.4g}" if isinstance(cell, float) else str(cell) for cell in row))
    console = Console()
    console.width = max(console.width, 140)  # so that no row is cut off
    console.print(table)


def figure(panels: int, width: float = 9.0, height: float = 4.2) -> tuple[Figure, list[Any]]:
    """A figure that is readable on dark and light pages, and identical in each run."""
    mpl.rcParams.update(
        {
            "svg.hashsalt": "lumendrop",
            "svg.fonttype": "none",
            "font.size": 9,
            "text.color": GREY,
            "axes.labelcolor": GREY,
            "axes.edgecolor": GREY,
            "xtick.color": GREY,
            "ytick.color": GREY,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "legend.frameon": False,
        }
    )
    made = Figure(figsize=(width, height), layout="constrained")
    axes = made.subplots(1, panels, squeeze=False)[0]
    return made, list(axes)


def save_plot(name: str, made: Figure) -> None:
    """Writes docs/benchmarks/<name>.svg."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    made.savefig(FOLDER / f"{name}.svg", transparent=True, metadata={"Date": None, "Creator": None})
