"""`lumendrop set-key` stores a key that works, and never shows it."""

import http.server
import json
import os
import pty
import select
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.owner import SETTINGS, Lumendrop
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stored(pipeline: Pipeline) -> Any:
    """Asks Secrets Manager what it holds."""
    secrets, secret = pipeline.cloud.client("secretsmanager"), pipeline.outputs["KeySecretArn"]
    return lambda: secrets.get_secret_value(SecretId=secret)["SecretString"]


def test_a_key_from_stdin_is_checked_and_stored(lumendrop: Lumendrop, api_key: str, stored: Any) -> None:
    lumendrop("set-key", "--no-check", stdin="something-else\n")
    assert stored() == "something-else"
    done = lumendrop("set-key", stdin=f"  {api_key}\n")
    assert (done.code, stored()) == (0, api_key)
    assert "may use phota-image-enhance" in done.out
    assert api_key not in done.out + done.err


@pytest.mark.parametrize(
    ("typed", "said"),
    [("wrong-key", "does not take the key (401)"), ("two words", "text without spaces"), ("", "no API key")],
)
def test_a_key_that_does_not_work_is_not_stored(
    lumendrop: Lumendrop, api_key: str, stored: Any, typed: str, said: str
) -> None:
    done = lumendrop("set-key", stdin=f"{typed}\n")
    assert (done.code, stored()) == (1, api_key)
    assert said in done.err
    assert not typed or typed not in done.err


def read_until(terminal: int, words: bytes) -> bytes:
    shown = b""
    while words not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 1024)
    return shown


def test_a_key_that_is_typed_is_not_shown(pipeline: Pipeline, api_key: str, stored: Any) -> None:
    lumendrop_without = {name: value for name, value in SETTINGS.items() if value is not None}
    settings = {
        **lumendrop_without,
        "AWS_ENDPOINT_URL": pipeline.cloud.endpoint,
        "PYTHONPATH": "cli",
        "PATH": os.defpath,
    }
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "lumendrop_cli", "set-key", "--no-check"]
    with subprocess.Popen(command, cwd=ROOT, env=settings, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        try:
            shown = read_until(terminal, b"API key")
            # Switching the echo off forgets what was typed before.
            while termios.tcgetattr(terminal)[3] & termios.ECHO:
                time.sleep(0.01)
            os.write(terminal, b"typed-by-hand\n")
            shown += read_until(terminal, b"stored")
            assert process.wait(60) == 0
        finally:
            process.kill()
    os.close(terminal)
    assert stored() == "typed-by-hand"
    assert b"typed-by-hand" not in shown


class _Answers(http.server.BaseHTTPRequestHandler):
    url, status, body = "", 200, b""
    headers_sent: dict[str, str] = {}  # noqa: RUF012  # replaced by each test
    asked: list[str] = []  # noqa: RUF012  # emptied by the fixture

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).asked.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Nothing."""


@pytest.fixture(scope="module")
def elsewhere(pipeline: Pipeline) -> Iterator[type[_Answers]]:
    """A stack `elsewhere` whose enhancer answers as the class says."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Answers)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _Answers.url = f"http://127.0.0.1:{server.server_port}"
    template = {
        "Parameters": {"ApiBaseUrl": {"Type": "String"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": "not-reached"} for name in ("KeySecretArn", "LedgerTableName")},
    }
    url = {"ParameterKey": "ApiBaseUrl", "ParameterValue": _Answers.url}
    pipeline.cloud.client("cloudformation").create_stack(
        StackName="elsewhere", TemplateBody=json.dumps(template), Parameters=[url]
    )
    yield _Answers
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_is_not_aws(lumendrop: Lumendrop, elsewhere: type[_Answers]) -> None:
    elsewhere.status, elsewhere.body, elsewhere.headers_sent = 404, b"<html>", {}
    done = lumendrop("set-key", "--endpoint-url", elsewhere.url)
    assert (done.code, done.out) == (3, "")
    assert "is not AWS. Check the --endpoint-url." in done.err


@pytest.mark.parametrize(
    ("status", "body", "headers", "said"),
    [
        (500, b"top-secret-key", {}, "answered 500"),
        (302, b"", {"Location": "/elsewhere"}, "answered 302"),
        (200, b"<html>", {}, "not JSON"),
        (200, b"[]", {}, "list of models"),
        (200, b'{"data": [{"id": "another"}]}', {}, "may not use the model phota-image-enhance"),
        (200, b"[", {"Content-Length": "10"}, "does not answer"),
        (200, b"x" * (2 << 20), {}, "does not answer"),
    ],
)
def test_an_enhancer_that_answers_nonsense(
    lumendrop: Lumendrop, elsewhere: type[_Answers], status: int, body: bytes, headers: dict[str, str], said: str
) -> None:
    elsewhere.status, elsewhere.body, elsewhere.headers_sent, elsewhere.asked = status, body, headers, []
    done = lumendrop("--stack", "elsewhere", "set-key", stdin="top-secret-key\n")
    assert done.code == 1
    assert said in done.err
    assert "top-secret-key" not in done.err
    assert elsewhere.asked == ["/v1/models"]
