"""What all commands share: options, exit codes, and error messages."""

import http.server
import importlib
import json
import re
import socket
import sys
import threading
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

import pytest

from lumendrop_cli.__main__ import run
from lumendrop_cli.main import app
from tests.cli.command import Lumendrop
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
NO_CREDENTIALS = {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None}


def test_help_lists_the_shared_options_and_the_exit_codes(lumendrop: Lumendrop) -> None:
    result = lumendrop("--help")
    assert result.code == 0
    assert {"--stack", "--endpoint-url", "--profile", "--region", "--json", "status"} <= set(result.out.split())
    assert "Exit codes: 0 success" in result.out
    assert "Exit codes: 0 success" in lumendrop("status", "--help").out


def test_the_version_is_that_of_the_package(lumendrop: Lumendrop) -> None:
    expected = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert lumendrop("--version").out == f"lumendrop {expected}\n"
    assert lumendrop("--version", "--json").json == {"version": expected}


def test_a_width_of_zero_is_ignored(lumendrop: Lumendrop) -> None:
    assert "lumendrop" in lumendrop("--version", env={"COLUMNS": "0"}).out


def test_help_shows_no_values_for_flags(lumendrop: Lumendrop) -> None:
    assert "bool" not in lumendrop("--help").out + lumendrop("destroy", "--help").out


@pytest.mark.parametrize("command", [one.name for one in app.registered_commands])
def test_each_command_shows_the_shared_options(lumendrop: Lumendrop, command: str) -> None:
    shown = lumendrop(command, "--help").out
    assert {"--stack", "--endpoint-url", "--profile", "--region", "--json", "--help"} <= set(shown.split())
    assert shown.count("--help") == 1
    assert "--install-completion" not in shown


def test_a_sandbox_is_reached_without_a_proxy(lumendrop: Lumendrop) -> None:
    proxies = dict.fromkeys(("HTTP_PROXY", "http_proxy", "ALL_PROXY"), "http://127.0.0.1:9")
    result = lumendrop("status", "in/a.jpg", env={**proxies, "NO_PROXY": None})
    assert (result.code, "(InputPrefix)" in result.out) == (1, False), result.err


@pytest.mark.parametrize("arguments", [("--json", "status", "in/a.jpg"), ("status", "in/a.jpg", "--json")])
def test_shared_options_are_accepted_before_and_after_the_command(
    lumendrop: Lumendrop, arguments: tuple[str, ...]
) -> None:
    result = lumendrop("--stack=lumendrop", *arguments, "--region", "us-east-1")
    assert (result.code, result.json["rows"]) == (1, [])


def test_arguments_after_two_dashes_belong_to_the_command(lumendrop: Lumendrop) -> None:
    assert lumendrop("--json", "status", "--", "--stack").json["key"] == "--stack"


@pytest.mark.parametrize("arguments", [("status",), ("nothing",), ("status", "a", "--nothing"), ("--json",)])
def test_invalid_usage_exits_with_2(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    assert lumendrop(*arguments).code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("statu",), "No such command 'statu'. Did you mean 'status'? See `lumendrop COMMAND --help`."),
        (("spend", "--by", "foo"), "Invalid value for '--by': 'foo' is not one of 'day', 'folder',"),
        (("list", "--region", "../x"), "doesn't match a supported format. Check --region, --endpoint-url,"),
    ],
)
def test_a_message_is_a_sentence(lumendrop: Lumendrop, arguments: tuple[str, ...], message: str) -> None:
    result = lumendrop(*arguments)
    assert (result.code, message in result.err) == (2, True), result.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("enhance", "/nowhere"),
        ("--stack", "other", "enhance", ".", "--nothing"),
        ("enhance", ".", "--resolution", "9K"),
        ("list", "--follow", "--status", "lost"),
        ("list", "-f", "--limit", "0"),
    ],
)
def test_errors_of_commands_that_print_lines_are_one_line(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    result = lumendrop(*arguments, "--json")
    (line,) = result.out.splitlines()
    assert (result.code, json.loads(line)["event"], json.loads(line)["exit_code"]) == (2, "error", 2)


def test_a_stack_that_does_not_exist(lumendrop: Lumendrop) -> None:
    result = lumendrop("--json", "--stack", "other", "status", "a.jpg")
    assert (result.code, result.json["exit_code"]) == (3, 3)
    assert result.json["error"] in result.err
    assert "no stack other in us-east-1" in result.err
    assert "--stack" in result.err


def test_a_stack_that_is_not_lumendrop(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    template = '{"Resources": {"Topic": {"Type": "AWS::SNS::Topic"}}}'
    pipeline.cloud.client("cloudformation").create_stack(StackName="else", TemplateBody=template)
    for command in (("status", "a.jpg"), ("doctor",)):
        result = lumendrop("--stack", "else", *command)
        assert result.code == 3
        assert "has no output LedgerTableName. It is not a Lumendrop stack" in result.err


def test_missing_credentials(lumendrop: Lumendrop) -> None:
    result = lumendrop("status", "a.jpg", env={**NO_CREDENTIALS, "AWS_ENDPOINT_URL": None})
    assert result.code == 3
    assert "Unable to locate credentials. Log in as for the AWS CLI" in result.err
    assert "For the sandbox, add --endpoint-url http://127.0.0.1:4566." in result.err


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_sandbox_needs_neither_credentials_nor_region(lumendrop: Lumendrop, pipeline: Pipeline, host: str) -> None:
    endpoint = pipeline.cloud.endpoint.replace("127.0.0.1", host)
    nothing = {**NO_CREDENTIALS, "AWS_DEFAULT_REGION": None, "AWS_ENDPOINT_URL": None}
    by_option = lumendrop("--endpoint-url", endpoint, "status", "elsewhere/a.jpg", env=nothing)
    by_variable = lumendrop("status", "elsewhere/a.jpg", env={**nothing, "AWS_ENDPOINT_URL": endpoint})
    for result in (by_option, by_variable):
        assert (result.code, "(InputPrefix)" in result.out) == (1, True), result.err


def test_a_sandbox_gets_the_given_credentials_if_there_are_any(lumendrop: Lumendrop) -> None:
    result = lumendrop("status", "a.jpg", env={"AWS_DEFAULT_REGION": "eu-west-1"})
    assert (result.code, "no stack lumendrop in eu-west-1" in result.err) == (3, True)


def test_missing_region(lumendrop: Lumendrop) -> None:
    result = lumendrop("status", "a.jpg", env={"AWS_DEFAULT_REGION": None})
    assert result.code == 3
    assert "Set --region or AWS_DEFAULT_REGION. For the sandbox, add --endpoint-url" in result.err


def test_a_profile_that_does_not_exist(lumendrop: Lumendrop) -> None:
    result = lumendrop("--profile", "nobody", "status", "a.jpg")
    assert result.code == 3
    assert "aws configure list-profiles" in result.err


def test_an_endpoint_that_does_not_respond(lumendrop: Lumendrop) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    result = lumendrop("--endpoint-url", f"http://127.0.0.1:{port}", "status", "a.jpg")
    assert result.code == 3
    assert "If you use the sandbox, start it with `make sandbox`." in result.err


def test_credentials_without_permission(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    role = pipeline.cloud.client("iam").get_role(RoleName=pipeline.cloud.resources["DeliverRole"])["Role"]["Arn"]
    result = lumendrop("status", "a.jpg", env=dict(pipeline.cloud._permissions.credentials(role)))
    assert result.code == 3
    assert "These credentials lack the permission." in result.err
    assert "Traceback" not in result.err


def test_the_package_shares_no_code_with_the_stack() -> None:
    modules = {path.name: path.read_text() for path in (ROOT / "cli").rglob("*.py")}
    foreign = r"^\s*(?:from|import) (?:lumendrop|functions|sandbox)\b"
    assert [name for name, text in modules.items() if re.search(foreign, text, re.MULTILINE)] == []


def test_the_package_requires_what_the_lock_file_has() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = (ROOT / "requirements/sandbox.in").read_text().splitlines()
    assert {one.partition(">")[0] for one in project["dependencies"]} <= set(locked)
    module, _, name = project["scripts"]["lumendrop"].partition(":")
    assert getattr(importlib.import_module(module), name) is run


def test_an_interrupt_during_the_start_prints_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    class Interrupted(ModuleType):
        def __getattr__(self, name: str) -> None:
            raise KeyboardInterrupt

    monkeypatch.setitem(sys.modules, "lumendrop_cli.main", Interrupted("main"))
    with pytest.raises(SystemExit, match="130"):
        run()


def test_commands_in_docs_alarms_and_reports_exist(lumendrop: Lumendrop) -> None:
    patterns = (
        "README.md",
        "*.yaml",
        "statemachines/*.yaml",
        "docs/*.md",
        "functions/*/app.py",
        "layers/lumendrop/*.py",
    )
    texts = [path for pattern in patterns for path in ROOT.glob(pattern)]
    commands = {
        tuple(found.split())
        for path in texts
        for found in re.findall(
            r"(?<!from )lumendrop ([a-z][a-z-]*(?: [A-Za-z/]+\.jpg| KEY)?(?: --[a-z-]+)*)", path.read_text()
        )
    }
    assert {command for command, *_ in commands} >= {
        "doctor",
        "set-key",
        "status",
        "retry",
        "fetch",
        "redrive",
        "pause",
    }
    for command, *rest in commands:
        result = lumendrop(command, "--help")
        assert result.code == 0, f"{command}: {result.err}"
        assert [one for one in rest if one.startswith("--") and one not in result.out] == [], command


@pytest.mark.parametrize(
    "url",
    [
        "nonsense",
        "127.0.0.1:4566",
        "http://",
        "http://[::1",
        "http://host:99999",
        "http://a b",
        "ftp://host",
        "http://höst",
    ],
)
def test_a_malformed_endpoint_url_is_invalid_usage(lumendrop: Lumendrop, url: str) -> None:
    for result in (
        lumendrop("--json", "--endpoint-url", url, "status", "a"),
        lumendrop("--json", "status", "a", env={"AWS_ENDPOINT_URL": url}),
    ):
        assert (result.code, result.json["exit_code"]) == (2, 2), result.err
        assert "--endpoint-url" in result.err


def test_a_malformed_endpoint_url_of_one_service(lumendrop: Lumendrop) -> None:
    result = lumendrop("status", "a", env={"AWS_ENDPOINT_URL_CLOUDFORMATION": "nonsense"})
    assert (result.code, "Invalid endpoint" in result.err) == (2, True)


BODIES = {
    "HTML": b"<!DOCTYPE html><html><body>It works!</body></html>",
    "XHTML": b"<html><body>It works!</body></html>",
    "JSON": b"{}",
    "nothing": b"",
    "bytes": b"\x00\xff",
    "foreign XML": b"<DescribeStacksResponse><DescribeStacksResult/></DescribeStacksResponse>",
}


@contextmanager
def _web_server(status: int, body: bytes) -> Iterator[str]:
    class Page(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_PUT(self) -> None:
            self.do_POST()

        def do_GET(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            """Nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.mark.parametrize("status", [200, 301, 404, 500])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
def test_an_endpoint_that_is_not_aws(lumendrop: Lumendrop, status: int, body: bytes) -> None:
    with _web_server(status, body) as url:
        result = lumendrop("--json", "--endpoint-url", url, "status", "a")
    assert (result.code, result.json["exit_code"]) == (3, 3), result.err


@pytest.mark.parametrize(
    ("service", "arguments"),
    [
        ("DYNAMODB", ("status", "in/a.jpg")),
        ("SQS", ("redrive",)),
        ("LAMBDA", ("pause",)),
        ("SFN", ("stop", "--all", "--yes")),
        ("SECRETS_MANAGER", ("set-key", "--no-check")),
        ("S3", ("smoke", "--yes")),
    ],
)
@pytest.mark.parametrize("body", ["XHTML", "JSON", "bytes"])
def test_an_endpoint_of_one_service_that_is_not_aws(
    lumendrop: Lumendrop, service: str, arguments: tuple[str, ...], body: str
) -> None:
    with _web_server(200, BODIES[body]) as url:
        result = lumendrop("--json", *arguments, stdin="sk-key\n", env={f"AWS_ENDPOINT_URL_{service}": url})
    # botocore takes an answer of S3 that is not XML for a failure.
    expected = "AWS returned 500" if service == "S3" and body != "XHTML" else "not an AWS response"
    assert (result.code, expected in result.json["error"]) == (3, True), result.err


def test_an_endpoint_of_one_service_that_fails(lumendrop: Lumendrop) -> None:
    with _web_server(500, b"\x00\xff") as url:
        result = lumendrop("--json", "status", "in/a.jpg", env={"AWS_ENDPOINT_URL_DYNAMODB": url})
    assert (result.code, "AWS returned 500 for Query" in result.json["error"]) == (3, True), result.err


def test_doctor_continues_without_a_service_that_is_not_aws(lumendrop: Lumendrop) -> None:
    with _web_server(200, b"{}") as url:
        result = lumendrop("--json", "doctor", env={"AWS_ENDPOINT_URL_CLOUDWATCH": url})
    findings = {one["check"]: one["finding"] for one in result.json["findings"]}
    assert (result.code, "not an AWS response" in findings["alarms"]) == (1, True)
    assert findings["rules"]


PROCESSES = {
    "no JSON": "echo hello",
    "no program": "/nowhere/program",
    "no permission": "/etc/hostname",
    "an error": "sh -c 'exit 3'",
    "another version": """echo '{"Version": 7}'""",
    "no keys": """echo '{"Version": 1}'""",
    "a list": "echo []",
    "a wrong time": """echo '{"Version": 1, "AccessKeyId": "a", "SecretAccessKey": "b", "Expiration": "soon"}'""",
}


@pytest.mark.parametrize("process", PROCESSES.values(), ids=PROCESSES)
def test_a_broken_credential_process(lumendrop: Lumendrop, tmp_path: Path, process: str) -> None:
    config = tmp_path / "config"
    config.write_text(f"[profile broken]\ncredential_process = {process}\n")
    result = lumendrop("--json", "--profile", "broken", "status", "a", env={"AWS_CONFIG_FILE": str(config)})
    assert (result.code, result.json["exit_code"]) == (3, 3), result.err
    assert "aws configure" in result.err


def test_a_config_file_that_is_not_one(lumendrop: Lumendrop, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_bytes(b"\xff\xfe[[[")
    assert lumendrop("status", "a", env={"AWS_CONFIG_FILE": str(config)}).code == 3
