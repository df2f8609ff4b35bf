"""An upload as the page shows it: plain JSON, made from its ledger row and its execution."""

from __future__ import annotations

import json
import re
from typing import Any

from lumendrop_cli import ledger, statuses
from lumendrop_cli.board.execution import Progress
from lumendrop_cli.ledger import Row
from lumendrop_cli.text import clean, clean_value
from lumendrop_cli.workflow import correlation_id

Card = dict[str, Any]

_PIXELS = re.compile("[0-9]{1,9}x[0-9]{1,9}")


def is_active(row: Row) -> bool:
    """Whether the upload still changes by itself."""
    return row["status"] in statuses.IN_PROGRESS


def card(row: Row, progress: Progress | None = None) -> Card:
    """The card of a row. `name` is safe to show; `key` is exact. Times are epoch seconds or ISO 8601 in UTC."""
    outcome, photo = row.get("outcome") or {}, row.get("output") or {}
    return {
        "id": correlation_id(row),
        "key": row["key"],
        "name": clean(row["key"]),
        "version": row["version_id"],
        "status": row["status"],
        "stage": stage(row, progress),
        "changed": row.get("changed_at") or row.get("finished_at") or "",
        "size": row["size"],
        "pixels": _shown_pixels(row),
        "attempt": row["attempt"],
        "options": _options(row),
        "task": clean_value(row.get("task_id")),
        "credits": row.get("credits"),
        "submitted": row.get("submitted_at"),
        "deadline": row.get("deadline"),
        "estimate": row.get("estimated_seconds"),
        "percent": progress.percent if progress else None,
        "polls": progress.polls if progress else None,
        "finished": row.get("finished_at"),
        "code": clean_value(outcome.get("code")),
        "message": clean_value(outcome.get("message")),
        "advice": clean_value(outcome.get("advice")),
        "may_have_cost": outcome.get("may_have_cost"),
        "report": clean_value(row.get("report_key")),
        "reused": bool(row.get("same_as")),
        "output": {"name": clean(photo["key"]), "bytes": photo.get("bytes"), "pixels": _pixels(photo.get("pixels"))}
        if photo.get("key")
        else None,
        "actions": actions(row),
    }


def _shown_pixels(row: Row) -> str | None:
    """Width and height of a row's photo as it is shown, as far as its result tells.

    The ledger has them as the file states them, before its orientation is applied. A result is upright, and has the
    ratio of the photo as it is shown unless a warning says otherwise.
    """
    output = row.get("output") or {}
    stated, result = _pixels(row.get("pixels")), _pixels(output.get("pixels"))
    if not stated or not result or "aspect_ratio_changed" in str(output.get("warnings")):
        return stated
    width, height = stated.split("x")
    is_turned = _wider_by(stated) * _wider_by(result) < 0
    return f"{height}x{width}" if is_turned else stated


def _pixels(value: Any) -> str | None:
    """A width and a height as in `4032x3024`; None for anything else that a row may have."""
    return value if isinstance(value, str) and _PIXELS.fullmatch(value) else None


def _wider_by(pixels: str) -> int:
    """How many pixels a picture is wider than high."""
    width, height = map(int, pixels.split("x"))
    return width - height


def stage(row: Row, progress: Progress | None) -> str:
    """The step that the page shows: the row's status, and for a paid task what its execution does now."""
    status = str(row["status"])
    if status != statuses.SUBMITTED:
        return status
    return progress.stage if progress else "waiting"


def actions(row: Row) -> list[str]:
    """What the owner can do with an upload now. The commands check it again."""
    status, code = row["status"], (row.get("outcome") or {}).get("code")
    found = []
    if status in statuses.RESENDABLE and code not in statuses.REJECTED_AGAIN:
        found.append("retry")
    if status == "failed" and ledger.may_have_result(row):
        found.append("fetch")
    if status == statuses.SUBMITTED:
        found.append("stop")
    return found


def _options(row: Row) -> dict[str, Any]:
    try:
        options = json.loads(row.get("options") or "{}")
    except (ValueError, RecursionError):
        return {}
    return {clean(str(name)): clean(str(value)) for name, value in options.items()} if isinstance(options, dict) else {}
