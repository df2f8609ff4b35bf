"""Whatever a command prints is safe for a terminal, and --json prints exactly one document."""

import json
import os
import pty
import re
import signal
import subprocess
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from boto3.dynamodb.types import TypeSerializer

from lumendrop_cli.errors import CliError
from lumendrop_cli.printer import Printer
from lumendrop_cli.text import clean, to_json
from lumendrop_cli.versions import delete_versions
from tests.cli.command import ENVIRONMENT, CommandResult, Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]
HOSTILE = {
    "an escape sequence": "\x1b[2J\x1b[31m",
    "a window title": "\x1b]0;owned\x07",
    "a link": "\x1b]8;;https://example.com\x1b\\here\x1b]8;;\x1b\\",
    "a device control string": "\x1bP1$r\x1b\\",
    "other controls": "\x00\x07\x08\x0b\x0c\x0e\x7f",
    "new lines": "\r\nok       key: fine\n\x85\u2028\u2029",
    "a C1 escape sequence": "\x9b31m\x9d0;owned\x9c\x90",
    "bidi overrides": "\u202egpj.exe\u202c\u202a\u202b\u202d",
    "bidi isolates": "\u2066\u2067\u2068\u2069\u200e\u200f\u061c",
    "zero-width characters": "\u200b\u200c\u200d\u2060\ufeff\u00ad\u180e",
    "invisible letters": "\u115f\u1160\u3164\uffa0\u034f",
    "tags": "\U000e0001\U000e0041",
    "markup": "[bold red]x[/bold red][link=https://example.com]y[/link][/]",
    "an emoji code": ":smile:",
}
KEY = "in/hostile/" + "".join(HOSTILE.values())
FORBIDDEN = ("Cc", "Cf", "Cs", "Zl", "Zp")


def _is_safe(text: str) -> bool:
    return not any(unicodedata.category(one) in FORBIDDEN and one != "\n" for one in text)


def _assert_safe(result: CommandResult) -> None:
    assert _is_safe(result.out), ascii(result.out)
    assert _is_safe(result.err), ascii(result.err)
    assert "\nok       key: fine" not in result.out + result.err


@pytest.fixture(scope="module")
def hostile_rows(pipeline: Pipeline) -> Iterator[None]:
    """Ledger rows with hostile text in every field that commands print."""
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    outcome = {"code": "hostile", "message": KEY, "advice": KEY, "may_have_cost": True}
    keys = []
    for number, status in enumerate(("failed", "submitted", "unknown")):
        row: dict[str, Any] = {
            "pk": f"upload#{KEY}",
            "sk": f"version{number}",
            "key": KEY,
            "version_id": f"version{number}",
            "bucket": pipeline.outputs["InputBucketName"],
            "size": 1,
            "etag": KEY,
            "sequencer": f"0{number}",
            "status": status,
            "deadline": 1,
            "attempt": 1,
            "options": KEY,
            "task_id": KEY,
            "report_key": KEY,
            "finished_at": KEY,
            "outcome": outcome,
        }
        dynamodb.put_item(TableName=table, Item=TypeSerializer().serialize(row)["M"])
        keys.append({name: {"S": row[name]} for name in ("pk", "sk")})
    yield
    for key in keys:
        dynamodb.delete_item(TableName=table, Key=key)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_text_is_cleaned_and_json_keeps_it(text: str) -> None:
    assert _is_safe(clean(f"a{text}b"))
    assert "\n" not in clean(f"a{text}b")
    document = to_json({text: text})
    assert document.isascii()
    assert _is_safe(document)
    assert json.loads(document) == {text: text}


def test_ordinary_text_is_not_changed() -> None:
    for text in ("a b+1%.jpg", "Zürich/東京/Ελλάδα 🏔.jpg", "e\u0301.jpg", "[a]"):
        assert clean(text) == text


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_the_printer_prints_hostile_text_literally(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    out = Printer(as_json=False)
    out.result({}, [text, ((text, "bold"), (text, ""))])
    out.note(text)
    out.fail(CliError(text))
    with out.progress(text) as progress:
        progress(f"{text} more")
    shown = capsys.readouterr()
    assert _is_safe(shown.out + shown.err)
    assert shown.out == f"{clean(text)}\n{clean(text)}{clean(text)}\n"


@pytest.mark.parametrize(
    "arguments",
    [
        ("status", KEY),
        ("status", KEY + "unknown"),
        ("status", "elsewhere" + KEY),
        ("retry", KEY, "--dry-run"),
        ("retry", KEY),
        ("retry", "--code", "hostile"),
        ("retry", "--code", KEY),
        ("retry", KEY, "--version-id", KEY),
        ("retry", "--unknown", "--dry-run"),
        ("fetch", KEY),
        ("fetch", KEY, "--version-id", "version0"),
        ("stop", KEY),
        ("backfill", "--prefix", KEY, "--dry-run"),
        ("backfill", "--prefix", f"x{KEY}"),
        ("smoke", f"/{KEY[:200]}.jpg"),
        ("--stack", KEY, "status", "a"),
        ("--profile", KEY, "status", "a"),
        ("--region", KEY, "status", "a"),
        ("--endpoint-url", KEY, "status", "a"),
        ("--endpoint-url", f"http://127.0.0.1:1/{KEY}", "status", "a"),
        (KEY,),
        ("status", "a", KEY),
        ("status", "a", f"--{KEY}"),
    ],
    ids=lambda arguments: " ".join(arguments).replace(KEY, "KEY")[:60],
)
def test_no_command_prints_hostile_text_raw(
    lumendrop: Lumendrop, hostile_rows: None, arguments: tuple[str, ...]
) -> None:
    shown = lumendrop(*arguments, typed="n\n")
    _assert_safe(shown)
    document = lumendrop("--json", *arguments, typed="n\n")
    _assert_safe(document)
    assert isinstance(document.json, dict)
    assert (document.code, document.json.get("exit_code", document.code)) == (shown.code, shown.code)


def test_only_the_printer_writes_to_the_terminal_and_asks() -> None:
    modules = {path.name: path.read_text() for path in (ROOT / "cli/lumendrop_cli").glob("*.py")}
    writes = re.compile(
        r"(?<![.\w])(?:print|input|Console)\(|getpass|typer\.(?:echo|secho|prompt|confirm)|std(out|err)\.w"
    )
    assert {name for name, text in modules.items() if writes.search(text)} == {"printer.py"}
    assert {name for name, text in modules.items() if "sys.exit(" in text} == {"main.py", "__main__.py"}


def test_doctor_and_smoke_clean_what_they_print(
    lumendrop: Lumendrop, pipeline: Pipeline, hostile_rows: None, tmp_path: Path
) -> None:
    cloudwatch, name = pipeline.cloud.client("cloudwatch"), pipeline.cloud.resources["DeadLetterAlarm"]
    alarm: Any = cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]
    kept = {one: alarm[one] for one in ("AlarmName", "MetricName", "Namespace", "Period", "Threshold")}
    kept |= {"ComparisonOperator": alarm["ComparisonOperator"], "EvaluationPeriods": 1, "Statistic": "Sum"}
    photo = tmp_path / ("photo.\x1b[31m\x9b\u202e" + os.fsdecode(b"\xff"))
    photo.write_bytes(b"Dear diary")
    cloudwatch.put_metric_alarm(**kept, AlarmDescription=KEY)
    cloudwatch.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="test")
    try:
        for options in ((), ("--json",)):
            found = lumendrop("doctor", *options)
            _assert_safe(found)
            assert "past the deadline" in found.out
            failed = lumendrop("smoke", str(photo), "--yes", "--clean", *options)
            assert (failed.code, "ended as rejected" in failed.err) == (1, True), failed.err
            _assert_safe(failed)
    finally:
        cloudwatch.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
        cloudwatch.put_metric_alarm(**kept, AlarmDescription=alarm["AlarmDescription"])


def _run(endpoint: str, *arguments: str | bytes, stdin: str = "", stdout: Any = subprocess.PIPE, **env: str) -> Any:
    """Runs `lumendrop` in a process of its own."""
    environment = {
        **{name: value for name, value in ENVIRONMENT.items() if value is not None},
        "AWS_ENDPOINT_URL": endpoint,
        "PYTHONPATH": "cli",
        "PATH": os.defpath,
        **env,
    }
    command = [sys.executable, "-m", "lumendrop_cli", *arguments]
    return subprocess.run(
        command, cwd=ROOT, env=environment, input=stdin.encode(), stdout=stdout, stderr=subprocess.PIPE, timeout=120
    )


def _run_with_closed(endpoint: str, redirection: str, *arguments: str) -> Any:
    """Runs `lumendrop` without some of its standard streams."""
    environment = {name: value for name, value in ENVIRONMENT.items() if value is not None}
    environment |= {"AWS_ENDPOINT_URL": endpoint, "PYTHONPATH": "cli", "PATH": os.defpath}
    shell = ["sh", "-c", f'exec "$@" {redirection}', "sh", sys.executable, "-m", "lumendrop_cli", *arguments]
    return subprocess.run(shell, cwd=ROOT, env=environment, capture_output=True, timeout=120)


CLOSED = (">&-", "2>&-", "<&-", "<&- >&- 2>&-")


@pytest.mark.parametrize("redirection", CLOSED)
def test_without_a_standard_stream_a_command_does_its_work(pipeline: Pipeline, redirection: str) -> None:
    tasks = len(pipeline._all_tasks())
    done = _run_with_closed(pipeline.cloud.endpoint, redirection, "smoke", "--yes", "--clean")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False), done.stderr
    assert len(pipeline._all_tasks()) == tasks + 1


@pytest.mark.parametrize("redirection", CLOSED)
def test_without_a_standard_stream_the_exit_code_is_right(pipeline: Pipeline, redirection: str) -> None:
    endpoint = pipeline.cloud.endpoint
    assert _run_with_closed(endpoint, redirection, "--help").returncode == 0
    assert _run_with_closed(endpoint, redirection, "--json", "status").returncode == 2
    refused = _run_with_closed(endpoint, redirection, "--json", "smoke")
    assert refused.returncode == 1
    assert b"Traceback" not in refused.stderr
    if redirection in ("2>&-", "<&-"):
        assert "needs a terminal" in json.loads(refused.stdout)["error"]


def test_keys_that_are_not_utf8_are_refused(pipeline: Pipeline) -> None:
    for arguments in (("status", b"in/\xff.jpg"), ("--json", "retry", "--code", b"\xff")):
        done = _run(pipeline.cloud.endpoint, *arguments)
        assert (done.returncode, b"is not valid UTF-8" in done.stderr) == (2, True), done.stderr
        assert b"Traceback" not in done.stderr


@pytest.mark.parametrize(
    "locale", [{"PYTHONIOENCODING": "ascii"}, {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}]
)
def test_a_terminal_without_utf8_gets_escapes(pipeline: Pipeline, locale: dict[str, str]) -> None:
    upload = pipeline.drop("in/locale/Zürich 🏔.jpg", jpeg())
    pipeline.wait([upload])
    done = _run(pipeline.cloud.endpoint, "status", upload.key, **locale)
    assert done.returncode == 0, done.stderr
    assert rb"in/locale/Z\xfcrich \U0001f3d4.jpg" in done.stdout
    questions = _run(pipeline.cloud.endpoint, "retry", "--unknown", **locale)
    assert b"Reading the ledger ..." in questions.stderr
    assert _run(pipeline.cloud.endpoint, "--help", **locale).returncode == 0


# Without this device, only a file system of its own could be full.
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("options", [(), ("--json",)])
def test_a_full_disk_is_reported(pipeline: Pipeline, options: tuple[str, ...]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = _run(pipeline.cloud.endpoint, *options, "status", "elsewhere/a.jpg", stdout=full)
    assert done.returncode == 1
    assert done.stderr.startswith(b"lumendrop: The command can't continue: [Errno 28] No space left on device")
    assert done.stderr.count(b"\n") == 1, done.stderr


def test_a_question_leaves_stdout_alone(lumendrop: Lumendrop) -> None:
    declined = lumendrop("smoke", typed="n\n")
    assert (declined.code, declined.out) == (1, "")
    assert declined.err.startswith("This pays for 1 task")
    assert lumendrop("--json", "smoke", typed="").json["exit_code"] == 1


@pytest.mark.parametrize("arguments", [("smoke",), ("destroy",)], ids=" ".join)
def test_without_a_terminal_every_question_is_refused(pipeline: Pipeline, arguments: tuple[str, ...]) -> None:
    tasks = len(pipeline._all_tasks())
    done = _run(pipeline.cloud.endpoint, "--json", *arguments, stdin="y\n")
    assert (done.returncode, json.loads(done.stdout)["exit_code"]) == (1, 1)
    assert "needs a terminal" in json.loads(done.stdout)["error"]
    assert "--yes" in json.loads(done.stdout)["error"]
    assert len(pipeline._all_tasks()) == tasks


@pytest.mark.parametrize(
    "arguments",
    [
        ("--stack", "", "status", "a"),
        ("--region", "", "status", "a"),
        ("--profile=", "status", "a"),
        ("--endpoint-url", "", "status", "a"),
        ("status", ""),
        ("retry", "--code", ""),
        ("retry", "a", "--version-id", ""),
        ("backfill", "--prefix", ""),
    ],
)
def test_an_empty_value_is_invalid_usage(lumendrop: Lumendrop, arguments: tuple[str, ...]) -> None:
    refused = lumendrop("--json", *arguments)
    assert (refused.code, refused.json["exit_code"], "is empty" in refused.json["error"]) == (2, 2, True)


@pytest.mark.parametrize("question", [True, False])
def test_ctrl_c_ends_a_process_with_130(pipeline: Pipeline, question: bool) -> None:
    events, rule = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=rule)
    # Tests in the background of a shell ignore SIGINT, and so would their processes.
    as_in_a_terminal = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('lumendrop_cli', run_name='__main__')"
    )
    command = [sys.executable, "-c", as_in_a_terminal, "--json", "smoke", *([] if question else ["--yes"])]
    environment = {name: value for name, value in ENVIRONMENT.items() if value is not None}
    environment |= {"AWS_ENDPOINT_URL": pipeline.cloud.endpoint, "PYTHONPATH": "cli", "PATH": os.defpath}
    terminal, end = pty.openpty()
    pipes: dict[str, Any] = dict.fromkeys(("stdout", "stderr"), subprocess.PIPE)
    try:
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=end, **pipes) as process:
            shown = b""
            while (b"Continue? [y/N]: " if question else b"waits for submit") not in shown:
                shown += os.read(process.stderr.fileno(), 4096)  # type: ignore[union-attr]
            process.send_signal(signal.SIGINT)
            try:
                out, err = process.communicate(timeout=60)
            finally:
                process.kill()
    finally:
        os.close(end)
        os.close(terminal)
        events.enable_rule(Name=rule)
        delete_versions(pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"], "in/lumendrop-smoke/")
    assert (process.returncode, json.loads(out)["exit_code"]) == (130, 130)
    assert b"lumendrop: Interrupted." in err
    assert (b"is still being processed" in err) is not question
    assert b"Traceback" not in err
