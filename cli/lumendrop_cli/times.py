"""Times that a user gives: `24h`, or a date."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import typer

_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_AGE = re.compile(r"([0-9]{1,6})([mhdw])")


def utc_text(moment: datetime | str | float) -> str:
    """A time (epoch seconds, or ISO 8601) as text, such as 2026-11-28T09:30:00Z. Other text stays as it is."""
    try:
        found = _moment(moment)
    except (ValueError, OverflowError):
        return str(moment)
    return found.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def _moment(moment: datetime | str | float) -> datetime:
    if isinstance(moment, datetime):
        return moment
    return datetime.fromisoformat(moment) if isinstance(moment, str) else datetime.fromtimestamp(moment, UTC)


def parse_since(text: str | None) -> datetime | None:
    """The start of a period (UTC). Accepts 30m, 24h, 7d, 4w, a date, or a date with a time. Raises BadParameter."""
    if text is None:
        return None
    try:
        if match := _AGE.fullmatch(text.strip().lower()):
            return datetime.now(UTC) - timedelta(**{_UNITS[match[2]]: int(match[1])})
        found = datetime.fromisoformat(text.strip())
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        problem = f"{text!r} is not in the years 1 to 9999 (UTC)"
    except ValueError:
        problem = f"{text!r} is neither a period such as 24h nor a date such as 2026-11-01"
    raise typer.BadParameter(f"--since {problem}")
