"""The sweep: a scheduled backfill that finds photos whose event was lost."""

import time

from moto.events.models import events_backends

from sandbox.aws.cloud import ACCOUNT
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline


def test_the_schedule_starts_the_backfill_over_the_whole_bucket(versioned: Pipeline) -> None:
    cloud = versioned.cloud
    events = cloud.client("events")
    events.disable_rule(Name=cloud.resources["UploadRule"])
    upload = versioned.drop("sweep/lost.jpg", jpeg())
    events.enable_rule(Name=cloud.resources["UploadRule"])

    before = _runs(versioned)
    _trigger_schedule(versioned)
    (run,) = _runs(versioned) - before
    versioned.wait([upload])
    versioned.enhanced(upload)
    versioned.wait_until(lambda: _status(versioned, run) == "SUCCEEDED", "the sweep ends")


def _trigger_schedule(pipeline: Pipeline) -> None:
    """Does what EventBridge does at the scheduled time. Moto doesn't run schedules."""
    rule = events_backends[ACCOUNT]["us-east-1"].event_buses["default"].rules[pipeline.cloud.resources["SweepRule"]]
    assert rule.scheduled_expression == "rate(1 day)"
    event = {"source": "aws.events", "detail-type": "Scheduled Event", "time": time.time(), "detail": {}}
    rule.send_to_targets(event, transform_input=False)  # type: ignore[arg-type]  # moto's type requires the fields that AWS sends


def _runs(pipeline: Pipeline) -> set[str]:
    states, machine = pipeline.cloud.client("stepfunctions"), pipeline.outputs["BackfillWorkflowArn"]
    return {one["executionArn"] for one in states.list_executions(stateMachineArn=machine)["executions"]}


def _status(pipeline: Pipeline, execution: str) -> str:
    status: str = pipeline.cloud.client("stepfunctions").describe_execution(executionArn=execution)["status"]
    return status
