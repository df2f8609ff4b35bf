"""How long a newcomer waits: set-up, demo, and sandbox in a fresh clone of the last commit.

With `--full`, also the checks and the tests. The download cache of pip or uv stays as it is.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.progress import track

from benchmarks.plots import rounded, show
from benchmarks.results import REPO, spread, write

# The label and the goal of each figure.
FIGURES = {
    "environment_mb": ("environment of make demo, MB", 250),
    "first_demo_seconds": ("first make demo, with set-up, s", 60),
    "second_demo_seconds": ("second make demo, s", 15),
    "sandbox_start_seconds": ("make sandbox until it prints its address, s", 5),
    "check_seconds": ("make check, without set-up, s", 90),
    "test_seconds": ("make test, without set-up, s", 300),
}
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
# Variables that would make `make` in the clone part of the `make` that runs this benchmark.
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}


def main() -> None:
    """Measures, prints a table, and writes docs/benchmarks/first-run.json."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.first_run", description=__doc__)
    parser.add_argument("--runs", type=int, default=3, help="the number of clones (default: %(default)s)")
    parser.add_argument("--full", action="store_true", help="also measure make check and make test")
    arguments = parser.parse_args()
    runs = [measure(arguments.full) for _ in track(range(arguments.runs), "Measuring")]
    figures = {name: spread([run[name] for run in runs]) for name in runs[0]}
    installer = "uv" if shutil.which("uv") else "pip"
    write("first-run", "make bench-first-run FULL=1", rounded({"installer": installer, **figures}))
    rows = [[*FIGURES[name], *(run[name] for run in runs), figures[name]["median"]] for name in figures]
    show(
        f"First run, installed with {installer}",
        ["", "goal", *(f"run {n + 1}" for n in range(len(runs))), "median"],
        rows,
    )


def measure(full: bool) -> dict[str, float]:
    """Measures each figure once, in a new clone."""
    with tempfile.TemporaryDirectory(prefix="first-run-") as folder:
        clone = Path(folder) / "lumendrop"
        subprocess.run(["git", "clone", "--quiet", REPO, clone], check=True)
        figures = {
            "first_demo_seconds": make(clone, "demo"),
            "environment_mb": megabytes(clone / ".venv"),
            "second_demo_seconds": make(clone, "demo"),
            "sandbox_start_seconds": sandbox_start(clone),
        }
        if full:
            make(clone, ".venv/.tests", ".venv-checkov/.ready", ".venv-parliament/.ready")
            figures |= {"check_seconds": make(clone, "check"), "test_seconds": make(clone, "test")}
        return {name: figures[name] for name in FIGURES if name in figures}


def make(clone: Path, *targets: str) -> float:
    """Runs `make` and returns how long it took, in seconds."""
    started = time.monotonic()
    done = subprocess.run(
        command(*targets),
        cwd=clone,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"make {' '.join(targets)} failed:\n{done.stdout}")
    return time.monotonic() - started


def sandbox_start(clone: Path) -> float:
    """How long `make sandbox` takes until it prints its address, in seconds."""
    started = time.monotonic()
    with subprocess.Popen(
        command("sandbox", "PORT=0"),
        cwd=clone,
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        printed = next((line for line in process.stdout if ADDRESS.search(line)), None)
        seconds = time.monotonic() - started
        os.killpg(process.pid, signal.SIGTERM)
    if printed is None:
        raise SystemExit("make sandbox stopped before it printed its address.")
    return seconds


def command(*arguments: str) -> list[str]:
    """The command line of `make` with the Python that runs this benchmark."""
    return ["make", f"PYTHON={sys.base_prefix}/bin/python3", *arguments]


def megabytes(folder: Path) -> float:
    """The size of a folder on disk, as `du -sm` computes it."""
    return float(subprocess.run(["du", "-sm", folder], capture_output=True, text=True, check=True).stdout.split()[0])


if __name__ == "__main__":
    main()
