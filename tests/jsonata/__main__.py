"""Compares the results of both engines: see `make check-asl`."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path

from tests.jsonata.comparison import KNOWN, problems
from tests.jsonata.recording import Evaluation, Result, record_everything

SCRIPT = Path(__file__).with_name("official.cjs")


def evaluate_officially(evaluations: Iterable[Evaluation], modules: Path) -> list[Result]:
    """The results of the official engine, which is one of these Node modules."""
    lines = [
        json.dumps({"expression": one.expression, "variables": json.loads(one.variables), "now": one.now})
        for one in evaluations
    ]
    done = subprocess.run(
        ["node", SCRIPT],
        input="\n".join(lines),
        env={**os.environ, "NODE_PATH": str(modules)},
        stdout=subprocess.PIPE,
        encoding="utf-8",
        timeout=300,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def main(modules: Path) -> str | None:
    """Prints figures. Returns what is wrong, if anything is."""
    logging.disable()  # moto logs each execution that fails, as many of the scenarios do
    recorder = record_everything()
    results = evaluate_officially(recorder.evaluations, modules)
    found = list(problems(recorder, dict(zip(recorder.evaluations, results, strict=True))))
    for expression, reason in KNOWN.items():
        print(f"Known difference: {expression}\n  {reason}")
    engine = json.loads((modules / "jsonata/package.json").read_text())["version"]
    print(
        f"{len(recorder.expressions)} expressions with {len(recorder.evaluations):,} different inputs "
        f"({recorder.count:,} evaluations) in jsonata {engine} and jsonata-python {version('jsonata-python')}: "
        f"{len(found)} problems, {len(KNOWN)} known differences."
    )
    return "\n".join(found) or None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
