"""`lumendrop stop` stops executions, and `lumendrop fetch` fetches their results without paying again."""

import pytest

from lumendrop_cli import polling
from tests.cli.command import Lumendrop
from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline

UNREACHABLE = [{"kind": "http", "status": 503}] * 1000


def test_a_stopped_upload_is_reported_and_fetched_without_paying_again(
    lumendrop: Lumendrop, pipeline: Pipeline
) -> None:
    pipeline.plan(status=UNREACHABLE)  # the workflow can't learn that the tasks end
    one, other = (pipeline.drop(f"in/stop/{name}.jpg", jpeg()) for name in ("one", "other"))
    for upload in (one, other):
        pipeline.wait_for_status(upload, "submitted")
    early = lumendrop("fetch", one.key)
    assert (early.code, "workflow is still running" in early.err) == (1, True)
    declined = lumendrop("stop", one.key, typed="n\n")
    assert (declined.code, "not refunded" in declined.err) == (1, True)
    assert len(lumendrop.ok("stop", one.key, "--yes")["stopped"]) == 1
    assert any("-other-jpg-" in execution for execution in lumendrop.ok("stop", "--all", "--yes")["stopped"])
    for upload in (one, other):
        pipeline.wait_for_status(upload, "failed")
        assert pipeline.report(upload.key)["code"] == "execution_aborted"
    pipeline.wait_until(lambda: lumendrop("stop", "--all", "--yes").code == 1, "no execution is running")

    paying = lumendrop("retry", one.key, typed="n\n")
    assert (
        "The result of 1 upload may still exist. To get one without paying again: `lumendrop fetch KEY`." in paying.err
    )
    running = lumendrop("fetch", one.key, "--timeout", "1")
    assert (running.code, "still running after 1 seconds" in running.err) == (1, True)
    twice = lumendrop("fetch", one.key, "--timeout", "1")
    assert (twice.code, "workflow is still running" in twice.err) == (1, True)
    assert lumendrop("stop", other.key, "--yes").code == 1
    assert len(lumendrop.ok("stop", one.key, "--yes")["stopped"]) == 1

    pipeline.plan()
    fetched = lumendrop.ok("fetch", one.key)
    assert fetched["photo"] == f"s3://{pipeline.outputs['OutputBucketName']}/{one.key}"
    assert (pipeline.rows()[one]["status"], len(pipeline.tasks(one))) == ("enhanced", 1)


def test_stop_requires_a_key_or_all(lumendrop: Lumendrop) -> None:
    assert lumendrop("stop").code == 2
    assert lumendrop("stop", "in/stop/one.jpg", "--all").code == 2
    assert lumendrop("stop", "--backfill", "--all").code == 2


def test_ctrl_c_names_the_execution_that_continues(
    lumendrop: Lumendrop, pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.plan(status=UNREACHABLE)
    upload = pipeline.drop("in/stop/interrupted.jpg", jpeg())
    pipeline.wait_for_status(upload, "submitted")
    lumendrop.ok("stop", upload.key, "--yes")
    pipeline.wait_for_status(upload, "failed")
    pipeline.wait_until(lambda: lumendrop("stop", upload.key, "--yes").code == 1, "no execution is running")
    with monkeypatch.context() as patch:
        patch.setattr(polling.time, "sleep", _interrupt)
        interrupted = lumendrop("--json", "fetch", upload.key)
    assert interrupted.code == 130
    assert f"continues: {interrupted.json['execution']}." in interrupted.err
    pipeline.plan()
    pipeline.wait_for_status(upload, "enhanced")


def test_a_paid_upload_whose_workflow_never_started_is_fetched(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    """The row and the task exist, as after a crash of submit, but no execution does."""
    upload = pipeline.drop("in/stop/never.jpg", jpeg())
    pipeline.wait_for_status(upload, "enhanced")
    pipeline.wait([upload])
    dynamodb, table = pipeline.cloud.client("dynamodb"), pipeline.outputs["LedgerTableName"]
    (item,) = [
        one
        for one in dynamodb.scan(TableName=table)["Items"]
        if one.get("key", {}).get("S") == upload.key and "status" in one
    ]
    for name in ("finished_at", "output"):
        item.pop(name, None)
    # Another attempt has another execution, which never started.
    dynamodb.put_item(TableName=table, Item=item | {"status": {"S": "submitted"}, "attempt": {"N": "2"}})
    fetched = lumendrop.ok("fetch", upload.key)
    assert fetched["execution"].endswith("-2")
    assert (fetched["row"]["status"], len(pipeline.tasks(upload))) == ("enhanced", 1)


def test_a_task_that_ended_without_a_result_is_not_fetched(lumendrop: Lumendrop, pipeline: Pipeline) -> None:
    pipeline.plan(task=[{"end": "failed", "code": "content_policy_violation", "seconds": 0}])
    upload = pipeline.drop("in/fetch/policy.jpg", jpeg())
    pipeline.wait([upload])
    before = pipeline.executions()[upload]
    for options in ((upload.key,), (upload.key, "--dry-run")):
        refused = lumendrop("fetch", *options)
        assert (refused.code, "ended without a result, so there is nothing to fetch." in refused.err) == (1, True)
        assert "Another task would fail in the same way." in refused.err
    assert lumendrop("fetch", "--prefix", "in/fetch/").code == 1
    assert pipeline.executions()[upload] == before


def _interrupt(_: float) -> None:
    raise KeyboardInterrupt
