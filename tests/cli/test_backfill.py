"""`lumendrop backfill` shows the cost, sends existing objects of the input bucket, and reports how many it sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest

from lumendrop_cli import polling
from lumendrop_cli.backfill import Survey, _count, _count_same
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, _unique


@contextmanager
def _without_events(pipeline: Pipeline) -> Iterator[None]:
    """Blocks the events of the input bucket."""
    events, rule = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def test_a_prefix_outside_input_prefix_is_rejected(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    rejected = lumendrop("backfill", "--prefix", "elsewhere/", "--dry-run")
    assert rejected.code == 2
    assert "InputPrefix" in rejected.err
    # The state machine rejects it as well. It replaces a shorter prefix by InputPrefix.
    states, which = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    ends = {}
    for prefix in ("elsewhere/", "i"):
        start = {"stateMachineArn": which, "input": json.dumps({"prefix": prefix})}
        execution = states.start_execution(**start)["executionArn"]
        pipeline.wait_until(
            lambda execution=execution: states.describe_execution(executionArn=execution)["status"] != "RUNNING", "ends"
        )
        ends[prefix] = states.describe_execution(executionArn=execution)
    assert (ends["elsewhere/"]["status"], ends["elsewhere/"]["error"]) == ("FAILED", "outside_input_prefix")
    assert json.loads(ends["i"]["output"])["prefix"] == "in/"


def test_a_dry_run_shows_the_number_and_the_cost_and_sends_nothing(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place = "in/backfill/survey/"
    done = [pipeline.drop(f"{place}done.jpg", jpeg()), pipeline.drop(f"{place}note.txt", b"Dear diary")]
    pipeline.wait(done)
    before = _runs(pipeline)
    with _without_events(pipeline):
        for number in range(110):
            pipeline.drop(f"{place}new/{number}.jpg", f"photo {number}".encode())
        pipeline.drop(f"{place}done.jpg", jpeg())  # a new version of it
        pipeline.drop(f"{place}old.jpg", jpeg(), StorageClass="GLACIER")
        pipeline.drop(f"{place}folder/", b"")
        pipeline.drop(f"{place}empty.jpg", b"")
        pipeline.drop("in/backfill/elsewhere.jpg", jpeg())
    found = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert found == {
        "prefix": place,
        "photos": 114,
        "ended": {"rejected": 1},
        "under_way": 0,
        "too_big": 0,
        "archived": 1,
        "same_photo": 0,
        "tasks": 112,
        "price_usd": 0.12,
        "cost_usd": 13.44,
        "waiting": 0,
        "days": 1,
        "event_source": "Enabled",
        "running": [],
    }
    shown = lumendrop("backfill", "--prefix", place, "--dry-run")
    assert shown.code == 0
    assert f"114 photos in s3://{pipeline.outputs['InputBucketName']}/{place}:" in shown.out
    assert "about 13.44 USD at 0.12 USD per task" in shown.out
    declined = lumendrop("backfill", "--prefix", place, typed="n\n")
    assert declined.code == 1
    assert "at most 112 tasks, about 13.44 USD. Continue?" in declined.err
    assert _runs(pipeline) == before


def test_a_dry_run_counts_the_same_photo_once(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place, photo, other = "in/backfill/same/", _unique(jpeg()), _unique(jpeg())
    done = pipeline.drop_same(f"{place}z.jpg", photo)
    pipeline.wait([done])
    with _without_events(pipeline):
        for number in range(3):
            pipeline.drop_same(f"{place}{number}.jpg", photo)  # listed before the one that is enhanced
            pipeline.drop_same(f"{place}other/{number}.jpg", other)
    found = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert (found["ended"], found["same_photo"], found["tasks"], found["cost_usd"]) == ({"enhanced": 1}, 5, 1, 0.12)
    shown = lumendrop("backfill", "--prefix", place, "--dry-run").out
    assert "same photo   5, not paid for again (estimate by size, ETag, and the stack's options)" in shown
    before = len(pipeline._all_tasks())
    assert lumendrop.ok("backfill", "--prefix", place, "--yes")["sent"] == 7
    pipeline.wait_until(
        lambda: [row["status"] for up, row in pipeline.rows().items() if up.key.startswith(place)] == ["enhanced"] * 7,
        "all photos are enhanced",
    )
    assert len(pipeline._all_tasks()) == before + 1


def test_the_same_photo_is_estimated_from_single_part_etags() -> None:
    survey = Survey({"resolution": "4K"})
    for number, etag in enumerate(["a", "a", "b", "c-2", "c-2"]):
        photo = {"Key": str(number), "VersionId": "v", "Size": 1, "ETag": f'"{etag}"'}
        _count(survey, photo, None, 10)
    paid = {"pk": "object#photos/x", "status": "enhanced", "finished_at": "x", "options": '{"resolution":"4K"}'}
    _count(survey, {"Key": "x", "VersionId": "v", "Size": 1, "ETag": '"b"'}, paid, 10)
    older = paid | {"pk": "upload#y"}
    _count(survey, {"Key": "y", "VersionId": "v", "Size": 1, "ETag": '"a"'}, older, 10)
    other = paid | {"options": '{"resolution":"4K","creativity":0.3}'}  # another result, which is not reused
    _count(survey, {"Key": "z", "VersionId": "v", "Size": 1, "ETag": '"a"'}, other, 10)
    assert (survey.new, survey.same_photo) == (5, 2)
    stack: Any = SimpleNamespace(parameters={"SamePhoto": "pay"})
    assert _count_same(stack, survey) == 0
    assert _count_same(SimpleNamespace(parameters={}), survey) == 0  # type: ignore[arg-type]


def _runs(pipeline: Pipeline) -> int:
    """The number of runs of the backfill so far."""
    states, machine = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    return len(states.list_executions(stateMachineArn=machine)["executions"])


def test_photos_without_an_event_are_sent_and_paid_once(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place = "in/backfill/run/"
    with _without_events(pipeline):
        lost = [pipeline.drop(f"{place}{number}.jpg", jpeg()) for number in range(3)]
    done = lumendrop("backfill", "--prefix", place, typed="y\n")
    assert done.code == 0, done.err
    assert "3 photos sent to the upload queue" in done.out
    pipeline.wait(lost)
    assert lumendrop.ok("backfill", "--prefix", place, "--yes")["sent"] == 3
    again = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert (again["ended"], again["tasks"]) == ({"enhanced": 3}, 0)
    assert [len(pipeline.tasks(upload)) for upload in lost] == [1, 1, 1]


def test_the_newest_upload_comes_first_without_events_too(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key = "in/backfill/again/note.jpg"
    first = pipeline.drop(key, b"Dear diary")
    pipeline.wait([first])
    with _without_events(pipeline):
        second = pipeline.drop(key, b"Dear me")
    lumendrop.ok("backfill", "--prefix", key, "--yes")
    pipeline.wait([second])
    assert [row["version_id"] for row in lumendrop.ok("status", key)["rows"]] == [second.version_id, first.version_id]


def test_no_wait_returns_before_the_end(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.drop("in/backfill/later/note.txt", b"Dear diary")
    started = lumendrop.ok("backfill", "--prefix", "in/backfill/later/", "--yes", "--no-wait")
    states = pipeline.cloud.client("stepfunctions")
    pipeline.wait_until(
        lambda: states.describe_execution(executionArn=started["execution"])["status"] == "SUCCEEDED", "it ends"
    )


def test_the_default_prefix_is_input_prefix(lumendrop: Lumendrop) -> None:
    assert lumendrop.ok("backfill", "--dry-run")["prefix"] == "in/"


def test_an_empty_prefix_exits_with_1(lumendrop: Lumendrop) -> None:
    nothing = lumendrop("backfill", "--prefix", "in/backfill/nothing/", "--yes", "--dry-run")
    assert nothing.code == 1
    assert "There are no photos in" in nothing.out
    started = lumendrop("backfill", "--prefix", "in/backfill/nothing/", "--yes")
    assert (started.code, "There are no photos in" in started.out) == (1, True)


def test_a_dry_run_shows_the_pause_and_the_queue(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    lumendrop.ok("pause")
    upload = pipeline.drop("in/backfill/paused/note.jpg", b"Dear diary")
    pipeline.wait_until(lambda: lumendrop.ok("pause")["waiting"], "the upload waits in the queue")
    shown = lumendrop("backfill", "--prefix", "in/backfill/paused/", "--dry-run")
    data = lumendrop.ok("backfill", "--prefix", "in/backfill/paused/", "--dry-run")
    lumendrop.ok("resume")
    assert "the event source is disabled: photos wait until `lumendrop resume`" in shown.out
    assert "1 upload waiting already" in shown.out
    assert (data["event_source"], data["waiting"]) == ("Disabled", 1)
    pipeline.wait([upload])


def test_ctrl_c_names_the_backfill_that_continues_and_stop_ends_it(
    lumendrop: Lumendrop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.drop("in/backfill/interrupted/note.jpg", b"Dear diary")
    with _slow_backfill(pipeline):
        with monkeypatch.context() as patch:
            patch.setattr(polling.time, "sleep", _interrupt)
            interrupted = lumendrop("--json", "backfill", "--prefix", "in/backfill/interrupted/", "--yes")
        execution = interrupted.json["execution"]
        assert interrupted.code == 130
        assert f"The backfill continues: {execution}. `lumendrop stop --backfill` stops it." in interrupted.err
        running = lumendrop("backfill", "--prefix", "in/backfill/interrupted/", "--dry-run")
        assert f"another backfill, {execution}" in running.out
        declined = lumendrop("stop", "--backfill", typed="n\n")
        assert (declined.code, "Stop 1 backfill?" in declined.err, execution in declined.err) == (1, True, True)
        assert lumendrop.ok("stop", "--backfill", "--yes")["backfills"] == [execution]
    states = pipeline.cloud.client("stepfunctions")
    pipeline.wait_until(
        lambda: states.describe_execution(executionArn=execution)["status"] == "ABORTED", "it is stopped"
    )
    assert lumendrop("stop", "--backfill", "--yes").code == 1


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt


@contextmanager
def _slow_backfill(pipeline: Pipeline) -> Iterator[None]:
    """Makes a backfill run for a minute. Its definition is restored afterward."""
    states, machine = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    definition = states.describe_state_machine(stateMachineArn=machine)["definition"]
    wait = {"StartAt": "Wait", "States": {"Wait": {"Type": "Wait", "Seconds": 60, "End": True}}}
    states.update_state_machine(stateMachineArn=machine, definition=json.dumps(wait))
    try:
        yield
    finally:
        states.update_state_machine(stateMachineArn=machine, definition=definition)


def test_a_failed_run_shows_the_cause(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    """Without permission to send messages, the children fail, and the run ends."""
    iam = pipeline.cloud.client("iam")
    which = {"RoleName": pipeline.cloud.resources["BackfillRole"], "PolicyName": "denial"}
    denial = {"Effect": "Deny", "Action": "states:StartExecution", "Resource": "*"}
    iam.put_role_policy(**which, PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [denial]}))
    try:
        failed = lumendrop("backfill", "--prefix", "in/backfill/", "--yes")
    finally:
        iam.delete_role_policy(**which)
    assert failed.code == 1
    assert "not authorized to perform: states:StartExecution" in failed.err
    assert "nothing is paid for twice" in failed.err
