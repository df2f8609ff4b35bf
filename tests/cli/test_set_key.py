"""`lumendrop set-key` stores a key that works, and never prints it."""

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

from lumendrop_cli import enhancer
from tests.cli.command import ENVIRONMENT, Lumendrop
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]


@pytest.fixture
def stored(pipeline: Pipeline) -> Any:
    """A function that reads the key from Secrets Manager."""
    secrets, secret = pipeline.cloud.client("secretsmanager"), pipeline.outputs["KeySecretArn"]
    return lambda: secrets.get_secret_value(SecretId=secret)["SecretString"]


def test_a_key_from_stdin_is_checked_and_stored(lumendrop: Lumendrop, api_key: str, stored: Any) -> None:
    lumendrop("set-key", "--no-check", stdin="something-else\n")
    assert stored() == "something-else"
    result = lumendrop("set-key", stdin=f"  {api_key}\n")
    assert (result.code, stored()) == (0, api_key)
    assert "can use phota-image-enhance" in result.out
    assert api_key not in result.out + result.err


@pytest.mark.parametrize(
    ("typed", "message"),
    [("wrong-key", "rejected the key (401)"), ("two words", "text without spaces"), ("", "not an API key")],
)
def test_a_key_that_does_not_work_is_not_stored(
    lumendrop: Lumendrop, api_key: str, stored: Any, typed: str, message: str
) -> None:
    result = lumendrop("set-key", stdin=f"{typed}\n")
    assert (result.code, stored()) == (1, api_key)
    assert message in result.err
    assert not typed or typed not in result.err


def read_until(terminal: int, text: bytes) -> bytes:
    shown = b""
    while text not in shown:
        assert select.select([terminal], [], [], 60)[0], shown
        shown += os.read(terminal, 1024)
    return shown


def test_a_typed_key_is_not_shown(pipeline: Pipeline, api_key: str, stored: Any) -> None:
    environment = {
        **{name: value for name, value in ENVIRONMENT.items() if value is not None},
        "AWS_ENDPOINT_URL": pipeline.cloud.endpoint,
        "PYTHONPATH": "cli",
        "PATH": os.defpath,
    }
    terminal, end = pty.openpty()
    command = [sys.executable, "-m", "lumendrop_cli", "set-key", "--no-check"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=end, stdout=end, stderr=end) as process:
        os.close(end)
        try:
            shown = read_until(terminal, b"API key")
            # Disabling the echo discards earlier input.
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


class _FakeEnhancer(http.server.BaseHTTPRequestHandler):
    url, status, body = "", 200, b""
    headers_sent: dict[str, str] = {}  # noqa: RUF012  # replaced by each test
    requested: list[str] = []  # noqa: RUF012  # emptied by the fixture

    def do_POST(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        type(self).requested.append(self.path)
        self.send_response(self.status)
        for name, value in self.headers_sent.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(self.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class's name
        """Logs nothing."""


@pytest.fixture(scope="module")
def elsewhere(pipeline: Pipeline) -> Iterator[type[_FakeEnhancer]]:
    """A stack `elsewhere` whose enhancer responds as the attributes of this class say."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _FakeEnhancer)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    _FakeEnhancer.url = f"http://127.0.0.1:{server.server_port}"
    template = {
        "Parameters": {"ApiBaseUrl": {"Type": "String"}},
        "Resources": {"Topic": {"Type": "AWS::SNS::Topic"}},
        "Outputs": {name: {"Value": "not-reached"} for name in ("KeySecretArn", "LedgerTableName")},
    }
    url = {"ParameterKey": "ApiBaseUrl", "ParameterValue": _FakeEnhancer.url}
    pipeline.cloud.client("cloudformation").create_stack(
        StackName="elsewhere", TemplateBody=json.dumps(template), Parameters=[url]
    )
    yield _FakeEnhancer
    server.shutdown()
    server.server_close()


def test_an_endpoint_that_is_not_aws(lumendrop: Lumendrop, elsewhere: type[_FakeEnhancer]) -> None:
    elsewhere.status, elsewhere.body, elsewhere.headers_sent = 404, b"<html>", {}
    result = lumendrop("set-key", "--endpoint-url", elsewhere.url)
    assert (result.code, result.out) == (3, "")
    assert "is not an AWS response. Check --endpoint-url." in result.err


@pytest.mark.parametrize(
    ("status", "body", "headers", "message"),
    [
        (500, b"top-secret-key", {}, "returned 500"),
        (302, b"", {"Location": "/elsewhere"}, "returned 302"),
        (200, b"<html>", {}, "not JSON"),
        (200, b"[]", {}, "list of models"),
        (200, b'{"data": [{"id": "another"}]}', {}, "can't use the model phota-image-enhance"),
        (200, b"[", {"Content-Length": "10"}, "does not respond"),
        (200, b"x" * (2 << 20), {}, "does not respond"),
    ],
)
def test_unusable_responses_of_the_enhancer(
    lumendrop: Lumendrop,
    elsewhere: type[_FakeEnhancer],
    status: int,
    body: bytes,
    headers: dict[str, str],
    message: str,
) -> None:
    elsewhere.status, elsewhere.body, elsewhere.headers_sent, elsewhere.requested = status, body, headers, []
    result = lumendrop("--stack", "elsewhere", "set-key", stdin="top-secret-key\n")
    assert result.code == 1
    assert message in result.err
    assert "top-secret-key" not in result.err
    assert elsewhere.requested == ["/v1/models"]


def test_a_key_as_an_argument_is_refused_and_not_repeated(lumendrop: Lumendrop, api_key: str, stored: Any) -> None:
    result = lumendrop("--json", "set-key", "sk-typed-by-mistake")
    assert (result.code, stored()) == (2, api_key)
    assert "set-key got too many arguments" in result.json["error"]
    assert "sk-typed" not in result.out + result.err


def test_the_stacks_output_names_the_command(lumendrop: Lumendrop, pipeline: Pipeline, api_key: str) -> None:
    program, *arguments = pipeline.outputs["SetKeyCommand"].split()
    assert program == "lumendrop"
    assert lumendrop.ok(*arguments, stdin=f"{api_key}\n") == {"stored": True, "checked": True}


def test_a_key_that_is_not_text_is_refused(pipeline: Pipeline, api_key: str, stored: Any) -> None:
    environment = {name: value for name, value in ENVIRONMENT.items() if value is not None}
    environment |= {"AWS_ENDPOINT_URL": pipeline.cloud.endpoint, "PYTHONPATH": "cli", "PATH": os.defpath}
    command = [sys.executable, "-m", "lumendrop_cli", "set-key", "--no-check"]
    done = subprocess.run(command, cwd=ROOT, env=environment, input=b"\xff\xfe\n", capture_output=True, timeout=60)
    assert (done.returncode, b"not an API key" in done.stderr, stored()) == (1, True, api_key)


@pytest.mark.parametrize("balance", ["Infinity", "-Infinity", "NaN", "1e999", "9" * 400, "true", '"12"', "null"])
def test_a_balance_that_is_no_ordinary_number_is_unknown(monkeypatch: pytest.MonkeyPatch, balance: str) -> None:
    monkeypatch.setattr(enhancer, "_get", lambda *_: json.loads(f'{{"data": {{"remaining_credits": {balance}}}}}'))
    assert enhancer.remaining_credits("https://enhancer.test", "key") is None
