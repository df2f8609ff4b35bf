"""An enhancer process, its client, and a server of photos, all on loopback."""

import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pyvips  # type: ignore[import-untyped]  # it ships no types
import requests

from sandbox.enhancer import API_KEY

ROOT = Path(__file__).parents[2]
KEY = "sandbox-key"
WAIT_SECONDS = 60.0


class Photos:
    """Serves bytes at exact request targets. `requested` has the targets of all requests."""

    def __init__(self) -> None:
        self.requested: list[str] = []
        self._answers: dict[str, tuple[int, bytes, dict[str, str]]] = {}
        photos = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                photos.requested.append(self.path)
                status, body, headers = photos._answers.get(self.path.partition("?")[0], (404, b"", {}))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
                """Log nothing, because presigned URLs are secrets."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.authority = f"127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def put(self, path: str, body: bytes, status: int = 200, **headers: str) -> str:
        """Serve `body` at a path, with headers whose names have underscores here. Returns the URL."""
        self._answers[path] = status, body, {name.replace("_", "-"): value for name, value in headers.items()}
        return f"http://{self.authority}{path}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class Enhancer:
    """A server process and a client for it."""

    def __init__(self, *options: str) -> None:
        command = [sys.executable, "-m", "sandbox.enhancer", "--port", "0", *options]
        variables = os.environ | {API_KEY: KEY}
        self.process = subprocess.Popen(command, cwd=ROOT, env=variables, stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.url = self.process.stdout.readline().strip()
        self.session = requests.Session()
        self.session.headers["Authorization"] = f"Bearer {KEY}"

    def submit(self, image_url: str, **fields: Any) -> requests.Response:
        body = {"model": "phota-image-enhance", "image_url": image_url, "resolution": "1K"} | fields
        return self.session.post(f"{self.url}/v1/images/generations", json=body, timeout=WAIT_SECONDS)

    def poll(self, task_id: str, sync_upstream: str = "true") -> requests.Response:
        query = {"sync_upstream": sync_upstream}
        return self.session.get(f"{self.url}/v1/tasks/{task_id}", params=query, timeout=WAIT_SECONDS)

    def finished(self, task_id: str) -> dict[str, Any]:
        """Wait for the end of a task. Returns the task."""
        deadline = time.monotonic() + WAIT_SECONDS
        while time.monotonic() < deadline:
            task: dict[str, Any] = self.poll(task_id).json()
            if task["status"] not in {"pending", "processing"}:
                return task
            time.sleep(0.05)
        raise AssertionError(f"task {task_id} has not ended")

    def enhanced(self, image_url: str, **fields: Any) -> pyvips.Image:
        """Submit a task and wait for it. Returns the result as an image."""
        task = self.finished(self.submit(image_url, **fields).json()["id"])
        assert task["status"] == "completed", task
        answer = requests.get(task["results"][0]["url"], timeout=WAIT_SECONDS)
        assert answer.headers["Content-Type"] == task["results"][0]["content_type"]
        return pyvips.Image.new_from_buffer(answer.content, "")

    def plan(self, **routes: Any) -> requests.Response:
        """Set a fault plan."""
        return self.session.put(f"{self.url}/_sandbox/faults", json=routes, timeout=WAIT_SECONDS)

    def account(self, **change: Any) -> dict[str, Any]:
        """Change the account. Returns the account."""
        answer = self.session.put(f"{self.url}/_sandbox/account", json=change, timeout=WAIT_SECONDS)
        body: dict[str, Any] = answer.json()
        return body

    def tasks(self) -> list[dict[str, Any]]:
        """The tasks that were created and charged."""
        listed: list[dict[str, Any]] = self.session.get(f"{self.url}/_sandbox/tasks", timeout=WAIT_SECONDS).json()
        return listed

    def close(self) -> int:
        """Stop the server. Returns its exit code."""
        self.session.close()
        self.process.terminate()
        try:
            return self.process.wait(WAIT_SECONDS)
        finally:
            assert self.process.stdout is not None
            self.process.stdout.close()


def gradient(width: int, height: int) -> pyvips.Image:
    """A gradient with more red to the right and more green to the bottom, which shows the orientation."""
    across = pyvips.Image.xyz(width, height)
    red, green = across[0] * (255 / width), across[1] * (255 / height)
    return red.bandjoin([green, 64]).cast("uchar").copy(interpretation="srgb")
