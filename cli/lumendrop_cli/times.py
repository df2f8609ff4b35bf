"""Times that a user gives: `24h`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")


def parse_since(text: str | None) -> datetime | None:
    """The start of a period (UTC). Accepts 30m, 24h, 7d, 4w, a date, or a date with a time. Raises BadParameter."""
    if text is None:
        return None
    if match := _AGE.fullmatch(text.strip().lower()):
        return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
    try:
        found = datetime.fromisoformat(text.strip())
    except ValueError:
        problem = f"{text!r} is neither a period such as 24h nor a date such as 2026-11-01"
        raise typer.BadParameter(f"--since {problem}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
