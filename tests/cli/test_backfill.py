"""`lumendrop backfill` says what it would cost, sends what lay in the bucket before, and says what it sent."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from tests.cli.owner import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline, Upload


@contextmanager
def _deaf(pipeline: Pipeline) -> Iterator[None]:
    """No event of the input bucket comes through for a while."""
    events, rule = pipeline.cloud.client("events"), pipeline.cloud.resources["UploadRule"]
    events.disable_rule(Name=rule)
    try:
        yield
    finally:
        events.enable_rule(Name=rule)


def _put(pipeline: Pipeline, key: str, body: bytes, **more: Any) -> Upload:
    put = pipeline.cloud.client("s3").put_object
    return Upload(key, put(Bucket=pipeline.outputs["InputBucketName"], Key=key, Body=body, **more)["VersionId"])


def test_what_lies_outside_the_stacks_prefix_is_no_upload(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    refused = lumendrop("backfill", "--prefix", "elsewhere/", "--dry-run")
    assert refused.code == 2
    assert "InputPrefix" in refused.err
    # Nor does the workflow take it, whoever asks; a shorter prefix means the stack's own.
    states, which = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    ends = {}
    for prefix in ("elsewhere/", "i"):
        start = {"stateMachineArn": which, "input": json.dumps({"prefix": prefix})}
        execution = states.start_execution(**start)["executionArn"]
        pipeline.until(
            lambda execution=execution: states.describe_execution(executionArn=execution)["status"] != "RUNNING", "ends"
        )
        ends[prefix] = states.describe_execution(executionArn=execution)
    assert (ends["elsewhere/"]["status"], ends["elsewhere/"]["error"]) == ("FAILED", "outside_input_prefix")
    assert json.loads(ends["i"]["output"])["prefix"] == "in/"


def test_a_dry_run_says_how_many_what_they_cost_and_sends_nothing(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place = "in/backfill/survey/"
    done = [_put(pipeline, f"{place}done.jpg", jpeg()), _put(pipeline, f"{place}note.txt", b"Dear diary")]
    pipeline.wait(done)
    before = _runs(pipeline)
    with _deaf(pipeline):
        for number in range(110):
            _put(pipeline, f"{place}new/{number}.jpg", b"photo")
        _put(pipeline, f"{place}done.jpg", jpeg())  # a new version of it
        _put(pipeline, f"{place}old.jpg", jpeg(), StorageClass="GLACIER")
        _put(pipeline, f"{place}folder/", b"")
        _put(pipeline, f"{place}empty.jpg", b"")
        _put(pipeline, "in/backfill/elsewhere.jpg", jpeg())
    found = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert found == {
        "prefix": place,
        "photos": 113,
        "ended": {"rejected": 1},
        "under_way": 0,
        "too_big": 0,
        "archived": 1,
        "tasks": 111,
        "price_usd": 0.12,
        "cost_usd": 13.32,
        "days": 1,
    }
    told = lumendrop("backfill", "--prefix", place, "--dry-run")
    assert told.code == 0
    assert f"113 photos lie below s3://{pipeline.outputs['InputBucketName']}/{place}:" in told.out
    assert "about 13.32 USD at 0.12 USD a task" in told.out
    refused = lumendrop("backfill", "--prefix", place, stdin="n\n")
    assert refused.code == 1
    assert "at most 111 tasks, about 13.32 USD. Go on?" in refused.err
    assert _runs(pipeline) == before


def _runs(pipeline: Pipeline) -> int:
    """How often the backfill ran so far."""
    states, machine = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    return len(states.list_executions(stateMachineArn=machine)["executions"])


def test_it_sends_what_no_event_told_of_and_pays_once(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    place = "in/backfill/run/"
    with _deaf(pipeline):
        lost = [_put(pipeline, f"{place}{number}.jpg", jpeg()) for number in range(3)]
    done = lumendrop("backfill", "--prefix", place, stdin="y\n")
    assert done.code == 0, done.err
    assert "3 photos were sent to the upload queue" in done.out
    pipeline.wait(lost)
    assert lumendrop.ok("backfill", "--prefix", place, "--yes")["sent"] == 3
    again = lumendrop.ok("backfill", "--prefix", place, "--dry-run")
    assert (again["ended"], again["tasks"]) == ({"enhanced": 3}, 0)
    assert [len(pipeline.tasks(upload)) for upload in lost] == [1, 1, 1]


def test_the_newest_upload_is_known_among_those_that_no_event_told_of(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    key = "in/backfill/again/note.jpg"
    first = _put(pipeline, key, b"Dear diary")
    pipeline.wait([first])
    with _deaf(pipeline):
        second = _put(pipeline, key, b"Dear me")
    lumendrop.ok("backfill", "--prefix", key, "--yes")
    pipeline.wait([second])
    assert [row["version_id"] for row in lumendrop.ok("status", key)["rows"]] == [second.version_id, first.version_id]


def test_it_need_not_be_waited_for(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    _put(pipeline, "in/backfill/later/note.txt", b"Dear diary")
    started = lumendrop.ok("backfill", "--prefix", "in/backfill/later/", "--yes", "--no-wait")
    states = pipeline.cloud.client("stepfunctions")
    pipeline.until(
        lambda: states.describe_execution(executionArn=started["execution"])["status"] == "SUCCEEDED", "it ends"
    )


def test_without_a_prefix_it_takes_the_stacks_own(lumendrop: Lumendrop) -> None:
    assert lumendrop.ok("backfill", "--dry-run")["prefix"] == "in/"


def test_nothing_to_send_is_said_and_exits_with_1(lumendrop: Lumendrop) -> None:
    nothing = lumendrop("backfill", "--prefix", "in/backfill/nothing/", "--yes", "--dry-run")
    assert nothing.code == 1
    assert "No photo lies below" in nothing.out


def test_a_run_that_fails_says_why(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    """The role may not send messages for a while; what a child can't send ends the run."""
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
