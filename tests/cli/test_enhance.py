"""`lumendrop enhance` uploads folders, and downloads each result once, whole, and to its place."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from lumendrop_cli import transfers
from tests.cli.command import CommandResult, Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline


def _photo(path: Path, body: bytes | None = None) -> Path:
    """A photo that no other test has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body or jpeg() + os.urandom(16))
    return path


def _enhance(lumendrop: Lumendrop, folder: Path, out: Path, *options: str, code: int = 0) -> list[Any]:
    """Runs the command with --json and returns its events."""
    prefix = f"in/enhance/{folder.parent.name}/"
    result = lumendrop("--json", "enhance", str(folder), "-o", str(out), "--prefix", prefix, *options)
    assert result.code == code, result.out + result.err
    return _events(result)


def _events(result: CommandResult) -> list[Any]:
    return [json.loads(line) for line in result.out.splitlines()]


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _tasks(pipeline: Pipeline, folder: Path) -> list[str]:
    """The tasks of all uploads of a folder."""
    rows = pipeline.rows()
    below = {one: row for one, row in rows.items() if one.key.startswith(f"in/enhance/{folder.parent.name}/")}
    found = [row["task_id"] for row in below.values() if row.get("task_id") and not row.get("same_as")]
    return found + [one["task_id"] for row in below.values() for one in row.get("earlier", []) if one.get("task_id")]


def test_a_folder_is_enhanced_once(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    names = ["a.jpg", "day 1/ä+b%20#.jpg", "day 1/deep/[x] 'y'.JPG", "day 1/deep/copy.jpg"]
    for name in names[:3]:
        _photo(folder / name)
    _photo(folder / names[3], (folder / names[0]).read_bytes())
    os.utime(folder / names[0], (1_000_000_000, 1_000_000_000))
    (folder / "note.txt").write_text("Dear diary")
    (folder / ".hidden.jpg").write_bytes(b"x")

    events = _enhance(lumendrop, folder, out)
    plan, summary = events[0], events[-1]
    assert (plan["event"], plan["photos"], plan["upload"], plan["tasks"]) == ("plan", 4, 4, 3)
    assert plan["usd"] == 0.36
    assert {one["name"]: one["reason"] for one in plan["skipped"]} == {
        ".hidden.jpg": "hidden",
        "note.txt": "no photo (JPEG, PNG, WebP, HEIC)",
    }
    assert (summary["event"], summary["enhanced"], summary["failed"]) == ("summary", 4, 0)
    assert set(_tree(out)) == set(names)
    assert (out / names[0]).stat().st_mtime == 1_000_000_000
    assert len(_tasks(pipeline, folder)) == 3
    results = _tree(out)

    (out / names[1]).unlink()
    (out / names[2]).write_bytes(b"half a file")
    again = _enhance(lumendrop, folder, out)
    assert (again[0]["upload"], again[0]["fetch"], again[0]["done"]) == (0, 2, 2)
    assert (again[-1]["enhanced"], again[-1]["done_before"], again[-1]["uploaded"]) == (2, 2, 0)
    assert _tree(out) == results
    assert len(_tasks(pipeline, folder)) == 3
