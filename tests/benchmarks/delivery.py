"""Delivery of results over loopback, S3 included, against other ways to do it and against the limit.

The contenders take turns, each delivery in a process of its own, so that a busy machine slows all of them alike, and
each has its own peak memory. The vendor and S3 (moto) run in two more processes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import boto3
from moto.server import ThreadedMotoServer
from rich.progress import track

from tests.benchmarks import plots, results
from tests.benchmarks.delivery_contenders import BUCKET, CONTENDERS

OURS, FLOOR = "deliver", "floor: raw to disk, raw from disk"
STYLES = dict(zip(CONTENDERS, ("-", "--", ":", "-", "-."), strict=True))
WARM_BYTES = 1 << 16
RUN_SECONDS = 120


def vendor(folder: Path) -> ThreadingHTTPServer:
    """Serves a result of n bytes at /results/n.jpg, and tells a task named n that it is completed with that link."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            if self.path.startswith("/v1/tasks/"):
                host, port = self.server.server_address[:2]
                link = f"http://{host!s}:{port}/results/{name}.jpg"
                body = {"id": name, "status": "completed", "progress": 100, "results": [{"url": link}]}
                self._answer(json.dumps(body).encode())
                return
            with (folder / name).open("rb") as file:
                self._head(file.seek(0, os.SEEK_END))
                file.seek(0)
                self.connection.sendfile(file)

        def _head(self, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()
            self.wfile.flush()

        def _answer(self, body: bytes) -> None:
            self._head(len(body))
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Says nothing."""

    return ThreadingHTTPServer(("127.0.0.1", 0), Handler)


def photo(folder: Path, size: int) -> None:
    """A file that begins and ends as a JPEG does; what is between is never decoded."""
    (folder / f"{size}.jpg").write_bytes(b"\xff\xd8\xff\xe0" + os.urandom(size - 6) + b"\xff\xd9")


@contextmanager
def servers(sizes: list[int]) -> Iterator[dict[str, str]]:
    """The environment for contenders, with the vendor and S3 up."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (WARM_BYTES, *sizes):
            photo(Path(folder), size)
        command = [sys.executable, "-m", "tests.benchmarks.delivery", "--serve", folder]
        process = subprocess.Popen(
            command, cwd=results.REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None  # it was asked for as a pipe
            yield {**json.loads(process.stdout.readline()), "PATH": os.environ["PATH"], "HOME": folder}
        finally:
            process.terminate()
            process.wait()


def serve(folder: Path) -> None:
    """Serves until it is ended; prints the environment for contenders."""
    server = vendor(folder)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    moto = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    moto.start()
    host, port = moto.get_host_and_port()
    vendor_host, vendor_port = server.server_address[:2]
    environment = {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "API_BASE_URL": f"http://{vendor_host!s}:{vendor_port}",
        "OUTPUT_BUCKET": BUCKET,
        "LUMENDROP_ALLOW_LOOPBACK": "true",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_METRICS_NAMESPACE": "Lumendrop",
        "POWERTOOLS_SERVICE_NAME": "deliver",
    }
    os.environ.update(environment)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    secret = boto3.client("secretsmanager").create_secret(Name="key", SecretString="none")
    print(json.dumps(environment | {"KEY_SECRET_ARN": secret["ARN"]}), flush=True)
    threading.Event().wait()


def run(contender: str, size: int, key: str, environment: dict[str, str]) -> dict[str, float]:
    """One delivery: its seconds and peak memory."""
    base = environment["API_BASE_URL"]
    job = {
        "url": f"{base}/results/{size}.jpg",
        "task": str(size),
        "warm_url": f"{base}/results/{WARM_BYTES}.jpg",
        "warm_task": str(WARM_BYTES),
        "key": key,
    }
    command = [sys.executable, "-m", "tests.benchmarks.delivery_contenders", contender, json.dumps(job)]
    done = subprocess.run(
        command, cwd=results.REPO, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def measure(megabytes: list[int], rounds: int) -> dict[str, Any]:
    """By size and contender: seconds, share of the floor's seconds in the same round, peak memory."""
    figures: dict[str, Any] = {}
    for size in megabytes:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        # Anew for each size, so that no more than a few results fill moto's memory.
        with servers([size << 20]) as environment:
            for turn in track(range(rounds), f"{size} MB", transient=True):
                for name in CONTENDERS:
                    found[name].append(run(name, size << 20, f"{turn}.jpg", environment))
        floors = [one["seconds"] for one in found[FLOOR]]
        figures[f"{size} MB"] = {
            name: {
                "seconds": results.spread([one["seconds"] for one in runs]),
                "of_floor": results.spread([one["seconds"] / least for one, least in zip(runs, floors, strict=True)]),
                "peak_megabytes": results.spread([one["peak_megabytes"] for one in runs]),
            }
            for name, runs in found.items()
        }
    return figures


def plot(figures: dict[str, Any]) -> None:
    """Seconds and peak memory by size, a line for each contender."""
    made, (seconds, memory) = plots.figure(2)
    sizes = [int(size.split()[0]) for size in figures]
    colours = {OURS: plots.OURS, FLOOR: plots.LIMIT}
    for name in CONTENDERS:
        style = {"color": colours.get(name, plots.PEER), "marker": "o", "linestyle": STYLES[name], "label": name}
        seconds.plot(sizes, [one[name]["seconds"]["median"] for one in figures.values()], **style)
        memory.plot(sizes, [one[name]["peak_megabytes"]["median"] for one in figures.values()], **style)
    for axes, what in ((seconds, "seconds"), (memory, "peak memory, MB")):
        axes.set_xlabel("result, MB")
        axes.set_ylabel(what)
    seconds.set_yscale("log")
    seconds.legend(fontsize=7)
    plots.save_plot("delivery", made)


def main() -> None:
    """Prints the table; writes the JSON and the plot."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.delivery", description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 10, 50, 100])
    parser.add_argument("--rounds", type=int, default=7, help="deliveries of each size by each contender (default 7)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    figures = measure(arguments.megabytes, arguments.rounds)
    rows = [
        [f"{size}: {name}", *(one[key]["median"] for key in ("seconds", "of_floor", "peak_megabytes"))]
        for size, contenders in figures.items()
        for name, one in contenders.items()
    ]
    plots.show("Delivery", ["", "seconds", "times the floor's", "peak MB"], rows)
    plot(figures)
    results.write("delivery", "make bench-delivery", {"sizes": figures})


if __name__ == "__main__":
    main()
