"""The command line: its arguments, its errors, and its output while it processes photos."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from botocore.exceptions import ClientError
from rich.console import Console

from lumendrop import ledger
from lumendrop_cli.photo_files import LocalFile
from sandbox.__main__ import main
from sandbox.demo import demo, up
from sandbox.demo.demo import Outcome, Process, present, size_text
from sandbox.demo.images import load, samples
from sandbox.demo.saved_board import SavedBoard
from sandbox.demo.start import Sandbox
from sandbox.demo.status import StatusReader, UploadStatus
from tests.demo.locked import REPO


@pytest.fixture(autouse=True)
def keep_signal_handler() -> Iterator[None]:
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demo", "--photos", "missing"], "missing is not a folder"),
        (["demo", "--photos", "empty"], "empty has no files"),
        (["demo", "--photos", "photos", "--out", "photos"], "Choose another folder: OUT=DIR"),
        (["demo", "--photos", "photos", "--out", "."], "Choose another folder: OUT=DIR"),
        (["demo", "--photos", "photos", "--out", "photos/photo.jpg"], "can't be a folder for results"),
    ],
)
def test_an_unusable_folder_is_reported_immediately(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos/photo.jpg").write_bytes(b"x")
    assert main(arguments) == 2
    assert message in capsys.readouterr().err
    assert list((tmp_path / "photos").iterdir()) == [tmp_path / "photos/photo.jpg"]


@pytest.mark.parametrize(
    "arguments", [[], ["fly"], ["up", "--port", "http"], ["up", "--port", "65536"], ["demo", "--resolution", "8K"]]
)
def test_a_usage_error_prints_the_usage(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("usage: python -m sandbox")


@pytest.mark.parametrize("arguments", [["--help"], ["up", "--help"], ["demo", "--help"]])
def test_help_has_examples(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    assert ended.value.code == 0
    assert "examples:\n  python -m sandbox" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("last_state", "has_report", "code"),
    [
        ("enhanced", False, 0),
        ("rejected", True, 0),
        ("failed", True, 0),
        ("superseded", False, 0),
        ("timed out", False, 1),
        ("failed", False, 1),  # the upload, or the download of the report
    ],
)
def test_the_demo_succeeds_if_every_file_has_a_result(
    last_state: str,
    has_report: bool,
    code: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def process(_: Process, photos: list[LocalFile]) -> list[Outcome]:
        *most, last = [
            Outcome(photo.name, "enhanced", photo.path, result=tmp_path / photo.name, version_id=photo.name)
            for photo in photos
        ]
        for photo in photos:
            load(photo.path).resize(2).write_to_file(str(tmp_path / photo.name))
        report = tmp_path / "errors/last.json" if has_report else None
        return [
            *most,
            last if last_state == "enhanced" else replace(last, state=last_state, result=None, report=report),
        ]

    cloud: Any = SimpleNamespace(outputs={"InputBucketName": "in"}, client=lambda _: None, warm=lambda: None)
    requested: list[dict[str, str]] = []

    @contextmanager
    def sandbox(parameters: dict[str, str]) -> Iterator[Sandbox]:
        requested.append(parameters)
        yield Sandbox(cloud, "http://127.0.0.1:1", tmp_path)

    monkeypatch.setattr(Process, "run", process)
    monkeypatch.setattr(Process, "stack", None)
    uploads = [{"card": {"version": photo.name}, "kept": ""} for photo in samples()]
    monkeypatch.setattr(demo, "record", lambda _: {"uploads": uploads})
    monkeypatch.setattr(demo, "sandbox", sandbox)
    assert main(["demo", "--out", str(tmp_path)]) == code
    assert requested == [{"Resolution": "1K"}]
    shown = capsys.readouterr().out
    assert f"{size_text((384, 384))} → {size_text((768, 768))}" in shown
    assert (tmp_path / "index.html").exists()
    assert ("5 of 6 files enhanced. Each other has its reason above." in shown) == (last_state != "enhanced")


def test_only_the_files_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    cloud: Any = SimpleNamespace(outputs={"OutputBucketName": "out"}, client=lambda _: s3)
    s3 = SimpleNamespace(download_file=lambda *arguments: Path(arguments[-1]).touch())
    out = tmp_path / "out"
    (out / "b").mkdir(parents=True)
    for mine in ("mine.jpg", "b/mine.jpg", "../mine.jpg"):
        (out / mine).touch()
    demo._remove_earlier(out)
    process = Process(Sandbox(cloud, "http://127.0.0.1:1", tmp_path), out)
    for key in ("a.jpg", "b/ü \n.jpg", "c/d/e.jpg", "errors/f.json", "../elsewhere.jpg"):
        process._fetch(key)
    with (out / demo.RECORD).open("a") as record:
        record.write('"../mine.jpg"\n')
    process.recorded(out / "index.html").touch()
    demo._remove_earlier(out)
    left = {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}
    assert left == {"mine.jpg", "b/mine.jpg", demo.RECORD}
    assert not (out / "c").exists()
    assert (tmp_path / "mine.jpg").exists()


@pytest.mark.parametrize("earlier", [None, "", '"a.jpg"\n'])
def test_a_page_of_somebody_else_is_not_replaced(
    tmp_path: Path, earlier: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "index.html").write_text("mine")
    (tmp_path / "a.jpg").write_text("of the earlier run")
    if earlier is not None:
        (tmp_path / demo.RECORD).write_text(earlier)
    before = {path: path.read_text() for path in tmp_path.iterdir()}
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "index.html is not the page of an earlier run, so it is not replaced. Choose" in capsys.readouterr().err
    assert {path: path.read_text() for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("content", [b"my list\n", b"\xff"])
def test_a_record_of_somebody_else_is_reported(
    tmp_path: Path, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / demo.RECORD).write_bytes(content)
    assert main(["demo", "--out", str(tmp_path)]) == 2
    assert "is not the list of files of an earlier run. Choose" in capsys.readouterr().err
    assert (tmp_path / demo.RECORD).read_bytes() == content


def test_a_report_gets_another_name_than_a_file_of_somebody_else(tmp_path: Path) -> None:
    s3 = SimpleNamespace(download_file=lambda *arguments: Path(arguments[-1]).write_text("report"))
    cloud: Any = SimpleNamespace(outputs={"OutputBucketName": "out"}, client=lambda _: s3)
    (tmp_path / "errors").mkdir()
    (tmp_path / "errors/a.json").write_text("mine")
    report = Process(Sandbox(cloud, "http://127.0.0.1:1", tmp_path), tmp_path)._fetch("errors/a.json")
    assert (report.read_text(), (tmp_path / "errors/a.json").read_text()) == ("report", "mine")


@pytest.mark.parametrize(
    ("row", "state"),
    [
        ({"status": "claimed"}, "claimed"),
        ({"status": "submitted"}, "enhancing"),
        ({"status": "retrying"}, "retrying"),
        ({"status": "rejected"}, "reporting"),
        ({"status": "rejected", "finished_at": "now"}, "rejected"),
        ({"status": "enhanced", "finished_at": "now"}, "enhanced"),
    ],
)
def test_the_state_comes_from_the_ledger(
    row: dict[str, Any], state: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    row = {"key": "a.jpg", "version_id": "1", "task_id": "t", "submitted_at": 0, "estimated_seconds": 5, **row}
    monkeypatch.setattr(StatusReader, "_rows", lambda _: [row])
    cloud: Any = SimpleNamespace(outputs={}, client=lambda _: None)
    [status] = StatusReader(Sandbox(cloud, "http://127.0.0.1:1", tmp_path)).read()
    assert status.state == state
    assert status.is_final == ("finished_at" in row)


def test_every_ending_has_a_color() -> None:
    assert set(demo.ENDINGS) >= ledger.FINAL


@pytest.mark.parametrize("code", ["NoSuchBucket", "ResourceNotFoundException"])
def test_up_reports_a_deleted_stack_and_stays(code: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_changes", partial(fail, code))
    monkeypatch.setattr(up.time, "sleep", partial(fail, "stays"))
    lines = up.changes(Any)
    assert next(lines).startswith("The stack or its input bucket was deleted. Press Ctrl-C")
    with pytest.raises(ClientError, match="stays"):
        next(lines)


def test_up_does_not_hide_another_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(up, "_changes", partial(fail, "AccessDenied"))
    with pytest.raises(ClientError, match="AccessDenied"):
        next(up.changes(Any))


def fail(code: str, *_: object) -> Any:
    raise ClientError({"Error": {"Code": code, "Message": code}}, "Operation")


def test_ctrl_c_prints_no_traceback_however_early(tmp_path: Path) -> None:
    early = "import os, signal, runpy, sys, argparse\nsys.argv[:] = ['sandbox', 'demo']\n"
    early += "argparse.ArgumentParser.parse_args = lambda *_: os.kill(os.getpid(), signal.SIGINT)\n"
    done = subprocess.run(
        [sys.executable, "-c", f"{early}runpy.run_module('sandbox', run_name='__main__')"],
        cwd=REPO,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (-signal.SIGINT, "")


def test_a_result_that_cannot_be_decoded_is_reported_and_linked(tmp_path: Path) -> None:
    (tmp_path / "in.jpg").write_bytes(b"not an image")
    (tmp_path / "out.jpg").write_bytes(b"not an image")
    outcome = Outcome("in.jpg", "enhanced", tmp_path / "in.jpg", result=tmp_path / "out.jpg", version_id="1")
    upload: dict[str, Any] = {"card": {"version": "1"}, "kept": ""}
    [shown], page = present([outcome], tmp_path, SavedBoard({"uploads": [upload]}))
    assert shown.comparison is None
    assert "in.jpg can't be shown" in shown.reason
    assert '"file": "./out.jpg"' in page.read_text()


HOSTILE = "a\x1b]0;owned\x07\x9b31m\u202e\u2066\u200b\r\n[bold]:smile:.jpg"


def test_hostile_names_are_printed_literally(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    console = Console(highlight=False, width=200)
    outcome = Outcome(HOSTILE, "failed", tmp_path / HOSTILE, 1.0, reason=HOSTILE)
    demo._print_results([outcome], tmp_path / HOSTILE, console)
    assert main(["demo", "--photos", str(tmp_path / HOSTILE)]) == 2
    shown = capsys.readouterr()
    for text in (shown.out, shown.err):
        assert all(one == "\n" or one.isprintable() for one in text), ascii(text)
        assert "[bold]:smile:.jpg" in text


def test_up_prints_hostile_keys_literally(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    @contextmanager
    def sandbox(*_: object) -> Iterator[Any]:
        yield SimpleNamespace(cloud=SimpleNamespace(warm=lambda: None, endpoint=""))

    monkeypatch.setattr(up, "sandbox", sandbox)
    monkeypatch.setattr(up, "board", lambda _: nullcontext())
    monkeypatch.setattr(up, "introduction", lambda *_: "")
    monkeypatch.setattr(up, "changes", lambda _: iter([up._line(HOSTILE, "failed", HOSTILE)]))
    up.run(0, False, Console(highlight=False))
    shown = capsys.readouterr().out
    assert all(one == "\n" or one.isprintable() for one in shown), ascii(shown)
    assert shown.count("[bold]:smile:.jpg") == 2
    assert shown.count("\n") <= 4


def test_up_skips_only_folder_markers_and_names_a_report_only_if_there_is_one(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = {"folder/": 0, "empty.jpg": 0, "photo/": 9}
    uploads = [{"Key": key, "Size": size, "LastModified": datetime.now(UTC)} for key, size in sizes.items()]
    outcome = {"message": "A newer upload was enhanced first.", "advice": "No action is needed."}
    rows = [{"outcome": outcome, "report_key": report} for report in (None, "errors/b.jpg.json")]
    ended = [UploadStatus(f"{number}.jpg", "1", "superseded", row) for number, row in enumerate(rows)]
    monkeypatch.setattr(up, "_uploads", lambda _: uploads)
    monkeypatch.setattr(up, "StatusReader", lambda _: SimpleNamespace(read=lambda: ended))
    running: Any = SimpleNamespace(cloud=SimpleNamespace(outputs={"OutputBucketName": "out"}))
    lines = [line[10:].split("  ") for line in islice(up.changes(running), 5)]
    assert [line[0].strip() for line in lines[:3]] == ["skipped", "dropped", "dropped"]
    assert [line[-1] for line in lines[3:]] == [
        "A newer upload was enhanced first. No action is needed.",
        "A newer upload was enhanced first. No action is needed. Report: s3://out/errors/b.jpg.json",
    ]
