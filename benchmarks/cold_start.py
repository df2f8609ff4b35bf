"""Cold starts: from the start of a process to its first `next`, with AWS's runtime client.

Compares each function with the minimum of imports (boto3 with one client, requests) and with the same function written
the usual way. The contenders alternate, so that load on the machine affects all of them alike; the ratios matter.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

from benchmarks import plots, results

PEERS = Path(__file__).with_name("cold_start_peers")
FUNCTIONS = ("submit", "check_status", "deliver")
START_SECONDS = 60
GOAL = 1.15


@dataclass(frozen=True)
class Contender:
    """A handler, the folders it is imported from, and its environment."""

    name: str
    handler: str
    folders: tuple[Path, ...]
    environment: dict[str, str]


def contenders(scratch: Path) -> list[Contender]:
    """The functions, the floor, the usual way, and submit with a layer that was built without bytecode."""
    layer = results.REPO / "layers"
    found = [Contender("floor", "floor.handler", (PEERS,), {})]
    uncompiled = {**_environment("submit"), "PYTHONDONTWRITEBYTECODE": "1"}
    folders = (results.REPO / "functions" / "submit", _sources(scratch / "layer"))
    found.append(Contender("submit, its layer without bytecode", "app.handler", folders, uncompiled))
    for name in FUNCTIONS:
        folder = results.REPO / "functions" / name
        found.append(Contender(name, "app.handler", (folder, layer), _environment(name)))
        found.append(Contender(f"{name}, the usual way", f"usual_{name}.handler", (PEERS,), {}))
    return found


def _sources(folder: Path) -> Path:
    """The layer without bytecode; Lambda can't store bytecode, so each cold start compiles the sources again."""
    leave_out = shutil.ignore_patterns("__pycache__")
    shutil.copytree(results.REPO / "layers" / "lumendrop", folder / "lumendrop", ignore=leave_out)
    locked = (results.REPO / "layers" / "requirements.txt").read_text(encoding="utf-8")
    for package in re.findall(r"^([a-z][\w.-]*)==", locked, re.MULTILINE):
        for file in importlib.metadata.files(package) or []:
            if file.suffix != ".pyc" and ".." not in file.parts:
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), folder / file)
    return folder


def _environment(function: str) -> dict[str, str]:
    """The variables of the template, with default parameters; resource names do not affect imports."""
    template = yaml_parse((results.REPO / "template.yaml").read_text(encoding="utf-8"))
    defaults = {name: str(one.get("Default", "none")) for name, one in template["Parameters"].items()}
    properties = next(
        one["Properties"]
        for one in template["Resources"].values()
        if one["Properties"].get("CodeUri") == f"functions/{function}/"
    )
    variables = template["Globals"]["Function"]["Environment"]["Variables"] | properties["Environment"]["Variables"]
    return {
        name: defaults.get(value.get("Ref", ""), "none") if isinstance(value, dict) else str(value)
        for name, value in variables.items()
    }


@dataclass(frozen=True)
class Start:
    """One cold start: milliseconds to the first `next`, milliseconds of CPU time, peak memory in MB."""

    milliseconds: float
    cpu_milliseconds: float
    peak_megabytes: float


def start(contender: Contender, home: str) -> Start:
    """Starts one environment, and stops it at its first `next`."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(START_SECONDS)
        port = listener.getsockname()[1]
        begun = time.perf_counter()
        process = subprocess.Popen(
            [sys.executable, "-s", "-P", "-m", "awslambdaric", contender.handler],
            cwd=contender.folders[0],
            env={
                **contender.environment,
                "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{port}",
                "AWS_LAMBDA_FUNCTION_NAME": "function",
                "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "512",
                "AWS_REGION": "us-east-1",
                "AWS_DEFAULT_REGION": "us-east-1",
                "AWS_ACCESS_KEY_ID": "none",
                "AWS_SECRET_ACCESS_KEY": "none",
                "LAMBDA_TASK_ROOT": str(contender.folders[0]),
                "POWERTOOLS_TRACE_DISABLED": "false",
                "PYTHONPATH": os.pathsep.join(map(str, contender.folders)),
                "HOME": home,
                "PATH": os.defpath,
            },
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        try:
            connection, _ = listener.accept()
            with connection:
                request = connection.recv(4096)
                milliseconds = (time.perf_counter() - begun) * 1000
            if b"/invocation/next" not in request.partition(b"\r\n")[0]:
                raise SystemExit(f"{contender.name} did not start:\n{request.decode(errors='replace')}")
            peak = results.peak_megabytes(process.pid)
        finally:
            process.kill()
            _, _, used = os.wait4(process.pid, 0)
            process.returncode = -9  # so that Popen does not wait for it again
    return Start(milliseconds, (used.ru_utime + used.ru_stime) * 1000, peak)


def measure(rounds: int) -> dict[str, dict[str, Any]]:
    """Starts every contender `rounds` times, alternating, after one start each that fills the caches."""
    starts: dict[str, list[Start]] = {}
    with tempfile.TemporaryDirectory() as home:
        all_contenders = contenders(Path(home))
        for contender in all_contenders:
            start(contender, home)
        for _ in range(rounds):
            for contender in all_contenders:
                starts.setdefault(contender.name, []).append(start(contender, home))
    floors = starts["floor"]
    return {
        name: {
            "milliseconds": results.spread([one.milliseconds for one in found]),
            "cpu_milliseconds": results.spread([one.cpu_milliseconds for one in found]),
            "of_floor": results.spread(
                [one.cpu_milliseconds / floor.cpu_milliseconds for one, floor in zip(found, floors, strict=True)]
            ),
            "peak_megabytes": results.spread([one.peak_megabytes for one in found]),
        }
        for name, found in starts.items()
    }


def plot(figures: dict[str, dict[str, Any]]) -> None:
    """CPU time of each contender relative to the floor."""
    made, (axes,) = plots.figure(1, height=3.2)
    names = list(reversed(figures))
    shares = [figures[name]["of_floor"] for name in names]
    errors = [[one["median"] - one["low"] for one in shares], [one["high"] - one["median"] for one in shares]]
    colours = [plots.LIMIT if name == "floor" else plots.OURS if name in FUNCTIONS else plots.PEER for name in names]
    axes.barh(names, [one["median"] for one in shares], xerr=errors, color=colours, ecolor=plots.GREY)
    axes.axvline(GOAL, color=plots.GREY, linestyle=":")
    axes.set_xlabel(f"CPU time of a cold start / the floor's (dotted: the goal, {GOAL})")
    plots.save_plot("cold-start", made)


def main() -> None:
    """Prints the table; writes the JSON and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.cold_start", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15, help="starts per contender (default 15)")
    rounds = parser.parse_args().rounds
    figures = measure(rounds)
    columns = ["", "ms to the first next", "ms of CPU", "CPU / the floor's", "peak MB"]
    keys = ("milliseconds", "cpu_milliseconds", "of_floor", "peak_megabytes")
    plots.show("Cold start", columns, [[name, *(one[key]["median"] for key in keys)] for name, one in figures.items()])
    plot(figures)
    results.write("cold-start", "make bench-cold-start", {"contenders": figures})


if __name__ == "__main__":
    main()
