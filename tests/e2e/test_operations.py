"""Commands from the README and docs/operations.md."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.photos import jpeg, opened
from tests.e2e.pipeline import Pipeline


def test_readme_commands(pipeline: Pipeline, tmp_path: Path) -> None:
    photo, result = tmp_path / "my photo+1%.jpg", tmp_path / "result.jpg"
    photo.write_bytes(jpeg())
    bucket = pipeline.outputs["InputBucketName"]
    key, output = "a/my photo+1%.jpg", f"s3://{pipeline.outputs['OutputBucketName']}"
    metadata = ("--metadata", "resolution=1K,creativity=0.3")
    pipeline.aws("s3", "cp", str(photo), f"s3://{bucket}/a/", *metadata)
    pipeline.wait_until(lambda: key in pipeline.keys("a/"), "the photo is in the output bucket")
    assert key in pipeline.aws("s3", "ls", f"{output}/", "--recursive")
    pipeline.aws("s3", "cp", f"{output}/{key}", str(result))
    assert opened(result.read_bytes()).width == 1024
    head = pipeline.aws("s3api", "head-object", "--bucket", output.removeprefix("s3://"), "--key", key)
    assert head["Metadata"]["source-key"] == "a/my%20photo%2B1%25.jpg"
    assert (head["Metadata"]["resolution"], head["Metadata"]["creativity"]) == ("1K", "0.3")
    rows = pipeline.aws(
        "dynamodb", "query", "--table-name", pipeline.outputs["LedgerTableName"],
        "--key-condition-expression", "pk = :k",
        "--expression-attribute-values", json.dumps({":k": {"S": f"object#{bucket}/{key}"}}),
    )  # fmt: skip
    assert [row["task_id"]["S"] for row in rows["Items"]] == [head["Metadata"]["task-id"]]


def test_a_stopped_execution_is_reported_and_can_be_restarted_without_another_charge(pipeline: Pipeline) -> None:
    slow = {"task": [{"seconds": 4}]}
    upload = pipeline.drop_with_faults(slow, "operations/stopped.jpg", jpeg(), "submitted")
    (execution,) = pipeline.wait_until(lambda: pipeline.executions().get(upload), "its execution starts", [upload])
    which = ("--execution-arn", execution["executionArn"])
    pipeline.aws("stepfunctions", "stop-execution", *which)
    pipeline.wait_for_status(upload, "failed")
    report = pipeline.report(upload.key)
    assert (report["code"], report["may_have_cost_money"]) == ("execution_aborted", True)
    assert execution["name"] in report["what_to_do"]

    start = pipeline.aws("stepfunctions", "describe-execution", *which, "--query", "input", "--output", "text")
    machine = ("--state-machine-arn", pipeline.outputs["WorkflowArn"])
    pipeline.aws("stepfunctions", "start-execution", *machine, "--input", json.dumps(start))
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == 1
    assert pipeline.result(upload.key).image.width == 1024
    assert "outcome" not in pipeline.rows()[upload]
    assert pipeline.keys(f"errors/{upload.key}") == []


@pytest.mark.parametrize(
    ("key", "fault", "tasks"),
    [
        ("operations/failed.jpg", {"task": [{"end": "failed", "code": "unknown_error", "seconds": 0}]}, 2),
        ("operations/unknown.jpg", {"submit": [{"kind": "reset"}]}, 1),
    ],
)
def test_an_upload_is_retried_once_on_request(
    pipeline: Pipeline, key: str, fault: dict[str, list[Any]], tasks: int
) -> None:
    upload = pipeline.drop_with_faults(fault, key, jpeg(), "failed", "unknown")
    pipeline.wait([upload])
    row = pipeline.rows()[upload]
    named = {"key": key, "version-id": upload.version_id, "etag": row["etag"], "sequencer": row["sequencer"]}
    body = {"detail": {"bucket": {"name": row["bucket"]}, "object": {**named, "size": int(row["size"])}}}
    message = {
        "MessageBody": json.dumps(body),
        "MessageAttributes": {"send-again": {"DataType": "Number", "StringValue": str(row["attempt"])}},
    }
    queue = ("--queue-url", pipeline.outputs["UploadQueueUrl"])
    for _ in range(2):
        pipeline.aws("sqs", "send-message", *queue, "--cli-input-json", json.dumps(message))
    pipeline.wait_for_status(upload, "enhanced")
    assert len(pipeline.tasks(upload)) == tasks
    assert pipeline.result(key).metadata["attempt"] == "2"
    assert pipeline.keys(f"errors/{key}") == []
