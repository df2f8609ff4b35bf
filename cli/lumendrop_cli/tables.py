"""CSV, and the columns of a table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from lumendrop_cli.text import clean

# A spreadsheet takes a cell that begins with one of these as a formula.
_FORMULA = ("=", "+", "-", "@")


def csv_lines(header: Sequence[str], records: Iterable[Iterable[Any]]) -> Iterator[str]:
    """The lines of a CSV file. A text that a spreadsheet would run as a formula gets an apostrophe in front."""
    yield _csv_line(header)
    for record in records:
        yield _csv_line(record)


def _csv_line(record: Iterable[Any]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow([_cell(value) for value in record])
    return text.getvalue()


def _cell(value: Any) -> str:
    if not isinstance(value, str):
        return "" if value is None else str(value)
    text = clean(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


def columns(header: Sequence[str], records: Sequence[Sequence[str]]) -> Iterator[str]:
    """The lines of a table: the first column is aligned left, the others right."""
    widths = [max(len(record[place]) for record in (header, *records)) for place in range(len(header))]
    for record in (header, *records):
        first, *others = (
            text.rjust(width) if place else text.ljust(width)
            for place, (text, width) in enumerate(zip(record, widths, strict=True))
        )
        yield "  ".join([first, *others])
