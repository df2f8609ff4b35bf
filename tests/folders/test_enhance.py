"""`lumendrop enhance` uploads folders, and downloads each result once, whole, and to its place."""

import json
import os
import random
import re
import signal
import subprocess
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop_cli import delays, transfers
from tests.cli.command import ENVIRONMENT, CommandResult, Lumendrop
from tests.e2e.photos import jpeg, opened
from tests.e2e.pipeline import Pipeline

ROOT = Path(__file__).parents[2]


def _photo(path: Path, body: bytes | None = None) -> Path:
    """A photo that no other test has."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(body or jpeg() + os.urandom(16))
    return path


def _enhance(lumendrop: Lumendrop, folder: Path, out: Path, *options: str, code: int = 0) -> list[Any]:
    """Runs the command with --json and returns its events."""
    prefix = f"in/enhance/{folder.parent.name}/"
    result = lumendrop("--json", "enhance", str(folder), "-o", str(out), "--prefix", prefix, *options)
    assert result.code == code, result.out + result.err
    return _events(result)


def _events(result: CommandResult) -> list[Any]:
    return [json.loads(line) for line in result.out.splitlines()]


def _tree(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def _tasks(pipeline: Pipeline, folder: Path) -> list[str]:
    """The tasks of all uploads of a folder."""
    rows = pipeline.rows()
    below = {one: row for one, row in rows.items() if one.key.startswith(f"in/enhance/{folder.parent.name}/")}
    found = [row["task_id"] for row in below.values() if row.get("task_id") and not row.get("same_as")]
    return found + [one["task_id"] for row in below.values() for one in row.get("earlier", []) if one.get("task_id")]


def test_a_folder_is_enhanced_once(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    names = ["a.jpg", "day 1/ä+b%20#.jpg", "day 1/deep/[x] 'y'.JPG", "day 1/deep/copy.jpg"]
    for name in names[:3]:
        _photo(folder / name)
    _photo(folder / names[3], (folder / names[0]).read_bytes())
    os.utime(folder / names[0], (1_000_000_000, 1_000_000_000))
    (folder / "note.txt").write_text("Dear diary")
    (folder / ".hidden.jpg").write_bytes(b"x")

    events = _enhance(lumendrop, folder, out)
    plan, summary = events[0], events[-1]
    assert (plan["event"], plan["photos"], plan["upload"], plan["tasks"]) == ("plan", 4, 4, 3)
    assert plan["usd"] == 0.36
    assert {one["name"]: one["reason"] for one in plan["skipped"]} == {
        ".hidden.jpg": "hidden",
        "note.txt": "no photo (JPEG, PNG, WebP, HEIC)",
    }
    assert (summary["event"], summary["enhanced"], summary["failed"]) == ("summary", 4, 0)
    assert set(_tree(out)) == set(names)
    assert (out / names[0]).stat().st_mtime == 1_000_000_000
    assert len(_tasks(pipeline, folder)) == 3
    results = _tree(out)

    (out / names[1]).unlink()
    (out / names[2]).unlink()
    again = _enhance(lumendrop, folder, out)
    assert (again[0]["upload"], again[0]["fetch"], again[0]["done"]) == (0, 2, 2)
    assert (again[-1]["enhanced"], again[-1]["done_before"], again[-1]["uploaded"]) == (2, 2, 0)
    assert _tree(out) == results
    assert len(_tasks(pipeline, folder)) == 3


def test_what_other_tools_uploaded_is_not_uploaded_again(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    prefix = f"in/enhance/{tmp_path.name}/"
    enhanced, waiting = _photo(folder / "enhanced.jpg"), _photo(folder / "waiting.jpg")
    pipeline.wait([pipeline.drop_same(f"{prefix}enhanced.jpg", enhanced.read_bytes())])
    note = pipeline.drop_same(
        f"{prefix}other.jpg", _photo(folder / "other.jpg").read_bytes(), Metadata={"creativity": "9"}
    )
    pipeline.wait([note])
    with pipeline.event_source_disabled():
        pipeline.drop_same(f"{prefix}waiting.jpg", waiting.read_bytes())
        plan, *_ = _enhance(lumendrop, folder, out, "--dry-run")
        assert (plan["fetch"], plan["in_progress"], plan["upload"]) == (1, 1, 1)  # other.jpg has other options
    events = _enhance(lumendrop, folder, out)
    assert (events[-1]["enhanced"], events[-1]["uploaded"]) == (3, 1)
    assert len(_tasks(pipeline, folder)) == 3


def test_options_become_metadata_and_other_options_are_another_task(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    photo = _photo(folder / "a.jpg")
    _enhance(lumendrop, folder, out, "--creativity", "0.5", "--profile-ids", "one,two")
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    head = s3.head_object(Bucket=bucket, Key=f"in/enhance/{tmp_path.name}/a.jpg")
    assert head["Metadata"] == {"creativity": "0.5", "profile-ids": "one,two"}
    plan = _enhance(lumendrop, folder, out, "--dry-run")[0]
    assert (plan["upload"], plan["usd"]) == (1, 0.12)
    with_profiles = _enhance(lumendrop, folder, out, "--profile-ids", "one", "--dry-run")[0]
    assert with_profiles["usd"] == 0.15
    same = _enhance(lumendrop, photo, out, "--creativity", ".50", "--profile-ids", "one, two", "--dry-run")[0]
    assert (same["upload"], same["done"]) == (0, 1)


@pytest.mark.parametrize(
    "option", [("--creativity", "2"), ("--resolution", "8K"), ("--profile-ids", "a b"), ("--metadata", "x")]
)
def test_invalid_options_are_found_before_anything_is_uploaded(
    lumendrop: Lumendrop, tmp_path: Path, option: tuple[str, str]
) -> None:
    refused = lumendrop("--json", "enhance", str(_photo(tmp_path / "a.jpg")), "-o", str(tmp_path / "out"), *option)
    assert (refused.code, refused.json["exit_code"]) == (2, 2)


def test_failures_are_reported_with_their_text_and_not_uploaded_again(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "cut.jpg", jpeg()[:-800])
    prefix = f"in/enhance/{tmp_path.name}"
    shown = lumendrop("enhance", str(folder), "-o", str(out), "--prefix", prefix)
    assert (shown.code, "Upload the whole file" in shown.out) == (1, True)
    assert "failed    cut.jpg  " in shown.out
    assert "1 photo, " in shown.err
    plan, failed, summary = _enhance(lumendrop, folder, out, code=1)
    assert (plan["upload"], plan["failed"], failed["code"], summary["failed"]) == (0, 1, "truncated", 1)
    assert not _tree(out)


def test_a_dry_run_does_not_create_the_folder_for_results(lumendrop: Lumendrop, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "new/out"
    _photo(folder / "a.jpg")
    (plan,) = _enhance(lumendrop, folder, out, "--dry-run")
    assert (plan["out"], plan["upload"], list(tmp_path.iterdir())) == (str(out), 1, [folder])


def test_what_has_no_place_in_the_folder_for_results_is_not_paid_for(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path
) -> None:
    folder, out, elsewhere = tmp_path / "photos", tmp_path / "out", tmp_path / "elsewhere"
    for name in ("out", "dangling", "loop", "file"):
        _photo(folder / name / "a.jpg")
    out.mkdir()
    elsewhere.mkdir()
    (out / "out").symlink_to(elsewhere)
    (out / "dangling").symlink_to(tmp_path / "nowhere")
    (out / "loop").symlink_to("loop")
    (out / "file").write_text("mine")
    plan = _enhance(lumendrop, folder, out, code=1)[0]
    reasons = {one["name"]: one["reason"] for one in plan["skipped"]}
    leads_out = "a link in the folder for results leads out of it"
    taken = "the folder for results has something else in place of its folder"
    expected = {"out": leads_out, "dangling": leads_out, "loop": taken, "file": taken}
    assert reasons == {f"{name}/a.jpg": reason for name, reason in expected.items()}
    assert (list(elsewhere.iterdir()), _tasks(pipeline, folder)) == ([], [])


def test_above_twenty_photos_the_command_asks(lumendrop: Lumendrop, tmp_path: Path) -> None:
    for number in range(21):
        _photo(tmp_path / "photos" / f"{number}.jpg")
    declined = lumendrop(
        "enhance", str(tmp_path / "photos"), "-o", str(tmp_path / "out"), "--prefix", "in/q", typed="n\n"
    )
    assert (declined.code, "This pays for 21 tasks, about 2.52 USD. Continue?" in declined.err) == (1, True)


def test_without_waiting_the_next_run_fetches(lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    events = _enhance(lumendrop, folder, out, "--no-wait")
    assert ([one["event"] for one in events], events[-1]["uploaded"]) == (
        ["plan", "uploaded", "uploaded", "summary"],
        1,
    )
    assert not _tree(out)
    assert _enhance(lumendrop, folder, out)[-1]["enhanced"] == 1
    assert len(_tasks(pipeline, folder)) == 1


def test_nothing_to_enhance_is_a_failure(lumendrop: Lumendrop, tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    assert _enhance(lumendrop, tmp_path / "photos", tmp_path / "out", code=1)[0]["photos"] == 0
    missing = lumendrop("enhance", str(tmp_path / "nowhere"))
    assert missing.code == 2
    elsewhere = lumendrop("--json", "enhance", str(tmp_path / "photos"), "-o", str(tmp_path / "o"), "--prefix", "x/")
    assert (elsewhere.code, "InputPrefix" in json.loads(elsewhere.out)["error"]) == (2, True)


def test_delayed_uploads_are_shown_with_the_reason(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lumendrop_cli.enhance_run._DELAY_SECONDS", 0)
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")
    shown: list[str] = []

    def resume(stack: Any) -> str | None:
        shown.append(delays.delay_reason(stack) or "")
        paused.close()
        return shown[0]

    with ExitStack() as paused:
        paused.enter_context(pipeline.event_source_disabled())
        monkeypatch.setattr("lumendrop_cli.enhance_run.delays", SimpleNamespace(delay_reason=resume))
        events = _enhance(lumendrop, folder, out)
    assert shown[0].startswith("the stack is paused (disabled): run `lumendrop resume`")
    assert [one["reason"] for one in events if one["event"] == "delayed"] == shown[:1]
    assert events[-1]["enhanced"] == 1


def test_the_log_of_submit_has_the_reason(pipeline: Pipeline) -> None:
    pipeline.account(credits=11)
    upload = pipeline.drop("in/enhance/delayed.jpg", jpeg())
    pipeline.wait_until(lambda: pipeline.submit_log(upload, "upload requeued"), "submit has requeued it", [upload])
    pipeline.account(credits=100_000)
    cloud = pipeline.cloud
    stack: Any = SimpleNamespace(client=cloud.client, resource=lambda name: cloud.resources[name])
    assert delays._logged(stack) == "the balance with the vendor is empty: top it up"


def test_the_documentation_has_the_same_reasons() -> None:
    table = (ROOT / "docs/operations.md").read_text().partition("| reason | next step |")[2].partition("\n\n")[0]
    documented = set(re.findall(r"`([a-z_]+)`", "".join(re.findall(r"^\|([^|]+)\|", table, flags=re.MULTILINE))))
    assert set(delays.REASONS) == documented


def test_a_full_disk_ends_the_run_and_leaves_no_half_file(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    _photo(folder / "a.jpg")

    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("lumendrop_cli.result_folder.os.utime", full)
        *_, error = _enhance(lumendrop, folder, out, code=1)
    assert "is full. To continue, run the same command again" in error["error"]
    assert not _tree(out)
    assert _enhance(lumendrop, folder, out)[-1]["enhanced"] == 1
    assert len(_tasks(pipeline, folder)) == 1


def test_a_file_that_disappears_or_changes_is_reported(
    lumendrop: Lumendrop, pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    gone, changed, _ = (_photo(folder / name) for name in ("gone.jpg", "changed.jpg", "kept.jpg"))
    upload = transfers.upload

    def change_first(stack: Any, source: Any, *rest: Any) -> Any:
        if source.file.path == gone:
            gone.unlink()
        elif source.file.path == changed:
            changed.write_bytes(jpeg() + b"changed")
        return upload(stack, source, *rest)

    monkeypatch.setattr(transfers, "upload", change_first)
    events = _enhance(lumendrop, folder, out, code=1)
    failed = {one["name"]: one["error"] for one in events if one["event"] == "failed"}
    assert "No such file" in failed["gone.jpg"]
    assert "changed since it was read" in failed["changed.jpg"]
    assert set(_tree(out)) == {"kept.jpg"}


def test_two_runs_at_once_upload_and_pay_once(pipeline: Pipeline, lumendrop: Lumendrop, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    for number in range(6):
        _photo(folder / f"{number}.jpg")
    commands = [start(pipeline, folder, out) for _ in range(2)]
    outputs = [command.communicate(timeout=120) for command in commands]
    assert [command.returncode for command in commands] == [0, 0], outputs
    assert set(_tree(out)) == {f"{number}.jpg" for number in range(6)}
    assert len(_tasks(pipeline, folder)) == 6
    assert len(_versions(pipeline, folder)) == 6


def _versions(pipeline: Pipeline, folder: Path) -> list[Any]:
    s3, bucket = pipeline.cloud.client("s3"), pipeline.outputs["InputBucketName"]
    found: list[Any] = s3.list_object_versions(Bucket=bucket, Prefix=f"in/enhance/{folder.parent.name}/")["Versions"]
    return found


def start(pipeline: Pipeline, folder: Path, out: Path, *options: str) -> subprocess.Popen[bytes]:
    """The command as a process of its own."""
    prefix = f"in/enhance/{folder.parent.name}/"
    arguments = ["enhance", str(folder), "-o", str(out), "--prefix", prefix, "--yes", *options]
    # Tests in the background of a shell ignore SIGINT, and so would their processes.
    as_in_a_terminal = (
        "import runpy, signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "runpy.run_module('lumendrop_cli', run_name='__main__')"
    )
    environment = {name: value for name, value in ENVIRONMENT.items() if value is not None}
    environment |= {"AWS_ENDPOINT_URL": pipeline.cloud.endpoint, "PYTHONPATH": "cli", "PATH": os.defpath}
    return subprocess.Popen(
        [sys.executable, "-c", as_in_a_terminal, "--json", *arguments],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


KILLS = int(os.environ.get("KILLS", "4"))
PHOTOS = 4 * KILLS  # `make enhance-kills` kills it fifty times, with two hundred photos
ODD = [
    "a+b c",
    "ä",
    "a\u0308",
    "%20",
    "#?&;",
    "'\"`$(x)",
    "[x]{y}",
    "日本",
    "\N{CAMERA}",
    "-rf",
    "CON",
    "A",
    "a",
]


def test_a_run_that_was_killed_continues(pipeline: Pipeline, tmp_path: Path) -> None:
    folder, out = tmp_path / "photos", tmp_path / "out"
    names = {f"{'deep/' * (number % 3)}{ODD[number % len(ODD)]}/{number}.jpg" for number in range(PHOTOS)}
    for name in names:
        _photo(folder / name)
    _photo(folder / ".hidden.jpg")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    for number in range(KILLS):
        kill_at_random(pipeline, folder, out, signal.SIGINT if number % 2 else signal.SIGKILL)
    last = start(pipeline, folder, out)
    shown, err = last.communicate(timeout=600)
    assert last.returncode == 0, shown + err
    assert set(_tree(out)) - _left_behind(out) == names
    assert all(opened(body).width for name, body in _tree(out).items() if name in names)
    assert len(_tasks(pipeline, folder)) == PHOTOS
    assert len(_versions(pipeline, folder)) == PHOTOS


def _left_behind(out: Path) -> set[str]:
    """Temporary files of killed runs. A later run removes those that are an hour old."""
    return {path.relative_to(out).as_posix() for path in out.rglob(".lumendrop-*.partial")}


def kill_at_random(pipeline: Pipeline, folder: Path, out: Path, how: int) -> None:
    """Starts the command and ends it at a random moment.

    Before the command's modules are loaded, and after it has ended, Python itself handles a Ctrl-C.
    """
    command = start(pipeline, folder, out)
    shown = b"" if how == signal.SIGINT else b"Reading"
    while b"Reading" not in shown and command.stderr and (more := os.read(command.stderr.fileno(), 4096)):
        shown += more
    with suppress(subprocess.TimeoutExpired):
        command.wait(random.uniform(0, 4))  # noqa: S311  # a moment
    command.send_signal(how)
    _, err = command.communicate(timeout=60)
    assert command.returncode in (0, 130, -signal.SIGKILL, -signal.SIGINT), err
    assert b"Traceback" not in err or command.returncode == -signal.SIGINT
