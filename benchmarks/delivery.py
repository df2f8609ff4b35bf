"""Delivery of results over loopback, including S3, compared with alternatives and with the minimum.

The contenders alternate, in a different order each round, so that load on the machine affects all of them alike. Each
delivery runs in its own process, to measure its peak memory. The vendor and S3 (moto) run in another process, both with
TLS and a certificate of an authority that is created for the run.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import ssl
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
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from rich.progress import track
from werkzeug.serving import make_server
from werkzeug.test import run_wsgi_app

from benchmarks import authority, plots, results
from benchmarks.delivery_contenders import BLOCK_BYTES, BUCKET, CONTENDERS, UPLOADS
from tests.metadata.files import exif_segment, packet, xmp_segment
from tests.metadata.makers import block

OURS, PLAIN, FLOOR = "deliver", "deliver, without metadata", "floor: raw to disk, raw from disk"
STYLES = dict(zip(CONTENDERS, ("-", ":", "--", (0, (8, 2, 1, 2, 1, 2)), ":", "-", "-."), strict=True))
FIGURES = {
    "seconds": "seconds",
    "of_floor": "of floor",
    "cpu_seconds": "CPU",
    "servers_cpu_seconds": "servers' CPU",
    "peak_megabytes": "peak MB",
}
SEED = 1
# A whole JPEG up to its compressed data.
_JPEG_START = bytes.fromhex("ffd8 ffc0000b080008000801011100 ffda0008010100003f00")
WARM_BYTES = 1 << 16
READ_BYTES = 1 << 17
RUN_SECONDS = 120


class Storage(MotoRequestHandler):
    """moto on persistent connections, as S3 has them; werkzeug closes a connection after each request."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def run_wsgi(self) -> None:
        body, status, headers = run_wsgi_app(self.server.app, self.make_environ(), buffered=True)
        code, _, reason = status.partition(" ")
        self.send_response(int(code), reason)
        for name, value in headers:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(b"".join(body))

    def log_message(self, *_: object) -> None:
        """Logs nothing."""


def vendor(folder: Path, tls: ssl.SSLContext) -> ThreadingHTTPServer:
    """Serves a result of n bytes at /results/n.jpg, and returns the task n as completed with this link."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            name = self.path.partition("?")[0].rpartition("/")[2]
            if self.path.startswith("/v1/tasks/"):
                host, port = self.server.server_address[:2]
                link = f"https://{host!s}:{port}/results/{name}.jpg"
                body = {"id": name, "status": "completed", "progress": 100, "results": [{"url": link}]}
                self._send_body(json.dumps(body).encode())
                return
            with (folder / name).open("rb") as file:
                self._send_head(file.seek(0, os.SEEK_END))
                file.seek(0)
                shutil.copyfileobj(file, self.wfile, BLOCK_BYTES)

        def _send_head(self, size: int) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(size))
            self.end_headers()

        def _send_body(self, body: bytes) -> None:
            self._send_head(len(body))
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Logs nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.socket = tls.wrap_socket(server.socket, server_side=True)
    return server


def put_uploads(s3: Any, number: int) -> None:
    """The uploads of a round, with EXIF and XMP, which only deliver reads.

    They end where deliver stops reading: moto reads a whole object for each range, which S3 doesn't.
    """
    metadata = exif_segment(block("canon")) + xmp_segment(packet())
    body = _jpeg(READ_BYTES - len(metadata))
    for key in (f"{number}.jpg", f"warm-{number}.jpg"):
        s3.put_object(Bucket=UPLOADS, Key=key, Body=body[:2] + metadata + body[2:])


def photo(folder: Path, size: int) -> None:
    """Writes a file with the start and the end of a JPEG; nothing decodes the rest."""
    (folder / f"{size}.jpg").write_bytes(_jpeg(size))


def _jpeg(size: int) -> bytes:
    data = os.urandom(size - len(_JPEG_START) - 2).replace(b"\xff", b"\0")
    return _JPEG_START + data + b"\xff\xd9"


@contextmanager
def servers(sizes: list[int]) -> Iterator[dict[str, str]]:
    """Runs the vendor and S3 inside the block; gives the contenders' environment."""
    with tempfile.TemporaryDirectory() as folder:
        for size in (WARM_BYTES, *sizes):
            photo(Path(folder), size)
        command = [sys.executable, "-m", "benchmarks.delivery", "--serve", folder]
        process = subprocess.Popen(
            command, cwd=results.REPO, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )
        try:
            assert process.stdout is not None  # because of stdout=PIPE
            yield {**json.loads(process.stdout.readline()), "PATH": os.environ["PATH"], "HOME": folder}
        finally:
            process.terminate()
            process.wait()


def serve(folder: Path) -> None:
    """Serves until it is stopped; prints the contenders' environment."""
    bundle, tls = authority.make(folder)
    server = vendor(folder, tls)
    storage = make_server(
        "127.0.0.1",
        0,
        DomainDispatcherApplication(create_backend_app),
        threaded=True,
        request_handler=Storage,
        ssl_context=tls,
    )
    for one in (server, storage):
        threading.Thread(target=one.serve_forever, daemon=True).start()
    base, endpoint = (f"https://127.0.0.1:{one.server_address[1]}" for one in (server, storage))
    environment = {
        **dict.fromkeys(("AWS_CA_BUNDLE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"), str(bundle)),
        "AWS_ENDPOINT_URL": endpoint,
        # boto3 sends its own checksums in trailers, which moto parses much more slowly than S3.
        "AWS_REQUEST_CHECKSUM_CALCULATION": "when_required",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "API_BASE_URL": base,
        "OUTPUT_BUCKET": BUCKET,
        "BUCKET_OWNER": "123456789012",
        "LUMENDROP_ALLOW_LOOPBACK": "true",
        "POWERTOOLS_LOG_LEVEL": "CRITICAL",
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_METRICS_NAMESPACE": "Lumendrop",
        "POWERTOOLS_SERVICE_NAME": "deliver",
    }
    os.environ.update(environment)
    for bucket in (BUCKET, UPLOADS):
        boto3.client("s3").create_bucket(Bucket=bucket)
    secret = boto3.client("secretsmanager").create_secret(Name="key", SecretString="none")
    print(json.dumps(environment | {"KEY_SECRET_ARN": secret["ARN"], "SERVERS_PID": str(os.getpid())}), flush=True)
    threading.Event().wait()


def run(contender: str, size: int, key: str, environment: dict[str, str]) -> dict[str, float]:
    """Runs one delivery; returns the figures that the contender's process prints."""
    base = environment["API_BASE_URL"]
    job = {
        "url": f"{base}/results/{size}.jpg",
        "task": str(size),
        "warm_url": f"{base}/results/{WARM_BYTES}.jpg",
        "warm_task": str(WARM_BYTES),
        "key": key,
    }
    command = [sys.executable, "-m", "benchmarks.delivery_contenders", contender, json.dumps(job)]
    done = subprocess.run(
        command, cwd=results.REPO, env=environment, capture_output=True, text=True, timeout=RUN_SECONDS, check=False
    )
    if done.returncode:
        raise SystemExit(f"{contender} failed:\n{done.stderr}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def access(environment: dict[str, str]) -> dict[str, str]:
    """The arguments of boto3's clients."""
    return {
        "endpoint_url": environment["AWS_ENDPOINT_URL"],
        "verify": environment["AWS_CA_BUNDLE"],
        "aws_access_key_id": environment["AWS_ACCESS_KEY_ID"],
        "aws_secret_access_key": environment["AWS_SECRET_ACCESS_KEY"],
        "region_name": environment["AWS_DEFAULT_REGION"],
    }


def measure(megabytes: list[int], rounds: int) -> dict[str, Any]:
    """By size and contender: seconds relative to the floor in the same round, seconds, CPU time, peak memory."""
    figures: dict[str, Any] = {}
    order = random.Random(SEED)  # noqa: S311  # only for the order of the contenders
    for size in megabytes:
        found: dict[str, list[dict[str, float]]] = {name: [] for name in CONTENDERS}
        with servers([size << 20]) as environment:
            s3 = boto3.client("s3", **access(environment))
            for number in track(range(rounds), f"{size} MB", transient=True):
                put_uploads(s3, number)
                for name in order.sample(list(CONTENDERS), len(CONTENDERS)):
                    found[name].append(run(name, size << 20, f"{number}.jpg", environment))
                    s3.delete_object(Bucket=BUCKET, Key=f"{number}.jpg")  # so that no contender overwrites an object
        floors = [one["seconds"] for one in found[FLOOR]]
        figures[f"{size} MB"] = {
            name: {
                "of_floor": results.spread([one["seconds"] / floor for one, floor in zip(runs, floors, strict=True)]),
                **{key: results.spread([one[key] for one in runs]) for key in runs[0]},
            }
            for name, runs in found.items()
        }
        pairs = zip(found[OURS], found[PLAIN], strict=True)
        figures[f"{size} MB"][OURS]["of_plain"] = results.spread(
            [one["seconds"] / plain["seconds"] for one, plain in pairs]
        )
    return figures


def plot(figures: dict[str, Any]) -> None:
    """Seconds and peak memory by size, a line for each contender."""
    made, (seconds, memory) = plots.figure(2)
    sizes = [int(size.split()[0]) for size in figures]
    colours = {OURS: plots.OURS, PLAIN: plots.OURS, FLOOR: plots.LIMIT}
    for name in CONTENDERS:
        style = {"color": colours.get(name, plots.PEER), "marker": "o", "linestyle": STYLES[name], "label": name}
        seconds.plot(sizes, [one[name]["seconds"]["median"] for one in figures.values()], **style)
        memory.plot(sizes, [one[name]["peak_megabytes"]["median"] for one in figures.values()], **style)
    for axes, label in ((seconds, "seconds"), (memory, "peak memory, MB")):
        axes.set_xlabel("result, MB")
        axes.set_ylabel(label)
    seconds.set_yscale("log")
    seconds.legend(fontsize=7)
    plots.save_plot("delivery", made)


def main() -> None:
    """Prints the table; writes the JSON and the plot."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delivery", description=__doc__)
    parser.add_argument("--megabytes", type=int, nargs="+", default=[1, 10, 50, 100])
    parser.add_argument("--rounds", type=int, default=15, help="deliveries per size and contender (default 15)")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        serve(arguments.serve)
    figures = measure(arguments.megabytes, arguments.rounds)
    rows = [
        [f"{size}: {name}", *(one[key]["median"] for key in FIGURES)]
        for size, contenders in figures.items()
        for name, one in contenders.items()
    ]
    plots.show("Delivery", ["", *FIGURES.values()], rows)
    plot(figures)
    results.write("delivery", "make bench-delivery", {"seed": SEED, "sizes": figures})


if __name__ == "__main__":
    main()
