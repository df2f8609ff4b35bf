"""Commands that accept a key also accept --status, --since, and --prefix; and every command that acts has a dry run."""

import pytest

from lumendrop_cli.main import app
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

FAILED_TASK = {"end": "failed", "code": "image_processing_error", "seconds": 0}
UNREACHABLE = [{"kind": "http", "status": 503}] * 1000
READ_ONLY = {"board", "doctor", "list", "status", "spend"}


def test_status_shows_all_that_match(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    uploads = [pipeline.drop(f"in/select/status/{name}.jpg", b"Dear diary") for name in "ab"]
    pipeline.wait(uploads)
    rows = lumendrop.ok("status", "--prefix", "in/select/status/", "--since", "1h")["rows"]
    assert {row["key"] for row in rows} == {upload.key for upload in uploads}
    assert all(row["execution"] and row["correlation_id"] for row in rows)
    shown = lumendrop("status", "--prefix", "in/select/status/", "--status", "rejected")
    assert (shown.code, shown.out.count("rejected: can't be enhanced; nothing was paid")) == (0, 2)
    assert uploads[0].key in shown.out
    none = lumendrop("status", "--prefix", "in/select/status/", "--status", "enhanced")
    assert (none.code, none.out) == (1, "No upload matches.\n")


def test_retry_sends_what_matches_and_is_current(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.plan(task=[FAILED_TASK] * 2)
    failed, replaced = (pipeline.drop(f"in/select/retry/{name}.jpg", jpeg()) for name in ("failed", "replaced"))
    pipeline.wait([failed, replaced])
    newer = pipeline.drop(replaced.key, jpeg())
    pipeline.wait([newer])
    arguments = ("retry", "--prefix", "in/select/retry/", "--status", "failed")
    dry = lumendrop.ok(*arguments, "--dry-run")
    assert ([one["key"] for one in dry["uploads"]], dry["replaced"]) == ([failed.key], [replaced.key])
    assert lumendrop.ok(*arguments, "--yes")["sent"] == 1
    pipeline.wait_for_status(failed, "enhanced")
    assert pipeline.rows()[replaced]["attempt"] == 1
    assert lumendrop(*arguments, "--yes").code == 1


def test_stop_and_fetch_act_on_what_matches(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.plan(status=UNREACHABLE)
    uploads = [pipeline.drop(f"in/select/stop/{name}.jpg", jpeg()) for name in "ab"]
    other = pipeline.drop("in/select/other.jpg", jpeg())
    for upload in (*uploads, other):
        pipeline.wait_for_status(upload, "submitted")
    selected = ("--prefix", "in/select/stop/")
    assert len(lumendrop.ok("stop", *selected, "--dry-run")["would_stop"]) == 2
    assert len(lumendrop.ok("stop", *selected, "--yes")["stopped"]) == 2
    for upload in uploads:
        pipeline.wait_for_status(upload, "failed")
    assert pipeline.rows()[other]["status"] == "submitted"
    pipeline.plan()
    pipeline.wait([*uploads, other])
    dry = lumendrop.ok("fetch", *selected, "--status", "failed", "--dry-run")
    assert sorted(dry["would_fetch"]) == sorted(upload.key for upload in uploads)
    fetched = lumendrop.ok("fetch", *selected, "--status", "failed")
    assert (len(fetched["fetched"]), fetched["failed"]) == (2, {})
    assert [len(pipeline.tasks(upload)) for upload in uploads] == [1, 1]
    nothing = lumendrop("fetch", *selected, "--status", "failed")
    assert (nothing.code, nothing.out) == (1, "No matching upload can be fetched.\n")


@pytest.mark.parametrize("command", ["status", "retry", "fetch", "stop"])
def test_a_key_and_a_selection_exclude_each_other(lumendrop: Lumendrop, command: str) -> None:
    assert lumendrop(command).code == 2
    assert lumendrop(command, "a.jpg", "--status", "failed").code == 2
    assert lumendrop(command, "--status", "lost").code == 2


def test_every_command_that_acts_has_a_dry_run(lumendrop: Lumendrop) -> None:
    names = {command.name for command in app.registered_commands} - READ_ONLY
    assert names
    for name in names:
        assert "--dry-run" in lumendrop(str(name), "--help").out, name


def test_dry_runs_do_nothing(lumendrop: Lumendrop, pipeline: Pipeline, api_key: str) -> None:
    assert lumendrop("pause", "--dry-run").out == "This would disable the event source, which is enabled.\n"
    assert lumendrop("resume", "--dry-run").out == "This would enable the event source, which is enabled.\n"
    assert lumendrop("smoke", "--dry-run").out == "This would pay for 1 task, about 0.12 USD.\n"
    assert "This would store it." in lumendrop("set-key", "--dry-run", stdin=f"{api_key}\n").out
    assert "This would delete the stack lumendrop." in lumendrop("destroy", "--dry-run", "--delete-photos").out
    assert lumendrop.ok("doctor")["problems"] == 0
