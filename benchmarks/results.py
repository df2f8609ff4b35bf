"""Writes the results of the benchmarks: one JSON file and one plot each, in docs/benchmarks/."""

from __future__ import annotations

import json
import os
import platform
import statistics
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

REPO = Path(__file__).resolve().parents[1]
FOLDER = REPO / "docs" / "benchmarks"


def spread(values: Sequence[float]) -> dict[str, float]:
    """The median and the quartiles of some measurements."""
    low, middle, high = statistics.quantiles(values, n=4) if len(values) > 1 else (values[0],) * 3
    return {"median": middle, "low": low, "high": high, "runs": len(values)}


def write(name: str, command: str, figures: dict[str, Any]) -> Path:
    """Writes the figures of a benchmark with its command, date, and machine; returns the file."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    about = {
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
        "python": platform.python_version(),
    }
    path.write_text(json.dumps(about | figures, indent=2) + "\n", encoding="utf-8")
    return path


def peak_megabytes(process: int | str) -> float:
    """The peak memory of a process ("self" or its ID) since its exec. Linux only.

    getrusage is not suitable, because its figure includes the parent's memory at the fork.
    """
    for line in Path(f"/proc/{process}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise SystemExit("This system does not report the peak memory of a process.")


def load(name: str) -> Any:
    """The latest figures of a benchmark, or None."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None
