"""What an outage of 30 minutes does to 500 uploads that arrive meanwhile, before and after this version.

`make bench-outage` measures both with the chaos suite's clock, which skips the waiting times. The earlier version runs
in a copy of the repository that has its code, and the sandbox and the suite of this version.
"""

from __future__ import annotations

import argparse
import json
import logging
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.plots import GREY, LIMIT, OURS, PEER, figure, save_plot, show
from benchmarks.results import REPO, write

Json = dict[str, Any]

BEFORE = "a87c9ff6216de9560d23f6e04dd6999ad36d1d8a"
CODE = ("functions", "layers", "template.yaml", "monitoring.yaml", "statemachines", "cli")
HARNESS = ("sandbox", "tests", "benchmarks", "pyproject.toml")
OUTAGE, MINUTES, UPLOADS = "503 with HTML", 30, 500
PATIENCE = 3600


def main() -> None:
    """Measures both versions, prints a table, and writes docs/benchmarks/outage.json and outage.svg."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.outage", description=__doc__)
    parser.add_argument("--json", action="store_true", help="measure the code in this folder, and print JSON")
    if parser.parse_args().json:
        print(json.dumps(_measured()))
        return
    write_figures(_run_before(BEFORE), _run(REPO))


def write_figures(before: Json, after: Json) -> None:
    """Prints and writes the figures of two versions."""
    found = {"before": before, "after": after}
    columns = ["", "enhanced", "unknown", "submits", "submits during the outage", "last upload ended after (min)"]
    show(f"{OUTAGE} for {MINUTES} minutes, {UPLOADS} uploads", columns, [_row(*one) for one in found.items()])
    write("outage", "make bench-outage", found)
    _plot(found)


def _row(name: str, measured: Json) -> list[Any]:
    statuses = measured["statuses"]
    submits = measured["submits"], measured["submits during the outage"]
    return [name, statuses.get("enhanced", 0), statuses.get("unknown", 0), *submits, measured["final"][-1][0]]


def _measured() -> Json:
    from tests.chaos.outages import one_outage

    logging.getLogger("sandbox").setLevel(logging.CRITICAL)
    return one_outage(OUTAGE, UPLOADS, MINUTES, PATIENCE)


def _run(folder: Path) -> Json:
    command = [sys.executable, "-m", "benchmarks.outage", "--json"]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)
    measured: Json = json.loads(run.stdout)
    return measured


def _run_before(revision: str) -> Json:
    with tempfile.TemporaryDirectory(prefix="lumendrop-before-") as folder:
        archive = subprocess.run(["git", "archive", revision, *CODE], cwd=REPO, capture_output=True, check=True)
        subprocess.run(["tar", "-x"], cwd=folder, input=archive.stdout, check=True)
        for name in HARNESS:
            copy = shutil.copytree if (REPO / name).is_dir() else shutil.copy
            copy(REPO / name, Path(folder) / name)
        return _run(Path(folder))


def _plot(found: dict[str, Json]) -> None:
    made, panels = figure(len(found))
    for axes, (name, measured) in zip(panels, found.items(), strict=True):
        axes.axvspan(0, measured["minutes"], color=LIMIT, alpha=0.15, linewidth=0)
        for status, colour in (("enhanced", OURS), ("unknown", PEER)):
            times = [minute for minute, ended in measured["final"] if ended == status]
            axes.step([0, *times], range(len(times) + 1), where="post", color=colour)
            axes.annotate(f" {len(times)} {status}", (times[-1] if times else 0, len(times)), color=colour, va="bottom")
        axes.set_title(name, color=GREY)
        axes.set_xlabel("minutes since the start of the outage (shaded)")
        axes.set_ylim(0, measured["uploads"] * 1.1)
    panels[0].set_ylabel("uploads")
    save_plot("outage", made)


if __name__ == "__main__":
    main()
