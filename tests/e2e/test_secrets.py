"""Presigned URLs, result links, and the API key stay inside the functions."""

import json
import re
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import FUNCTIONS, EventRecorder, Json, Pipeline, Upload

PREFIX = "secrets/"
REFUSED, FAILED, REDIRECTED, REQUEUED = (
    f"{PREFIX}{name}.jpg" for name in ("refused", "failed", "redirected", "requeued")
)
SIGNED = re.compile("x-amz-|signature|credential=", re.IGNORECASE)


class Traces(NamedTuple):
    """Texts by their location, and the secrets that must not be in them."""

    found: dict[str, str]
    task_id: str
    api_key: str
    links: list[str]


@pytest.fixture(scope="module")
def traces(pipeline: Pipeline, events: EventRecorder, tmp_path_factory: pytest.TempPathFactory) -> Traces:
    """The texts of all uploads so far, and of some more for which the enhancer quotes the request."""
    refusal = {"kind": "http", "status": 422, "quotes": True}
    failure = {"end": "failed", "code": "unknown_error", "seconds": 0, "quotes": True}
    redirect = {"kind": "redirect", "to": "ftp://127.0.0.1/result.jpg?X-Amz-Signature=0123456789abcdef"}
    dropped = [
        pipeline.drop_with_faults({"submit": [refusal]}, REFUSED, jpeg(), "rejected"),
        pipeline.drop_with_faults({"task": [failure]}, FAILED, jpeg(), "submitted", "failed"),
        pipeline.drop_with_faults({"result": [redirect]}, REDIRECTED, jpeg(), "failed"),
    ]
    requeued, messages = _drop_to_requeue(pipeline, tmp_path_factory.mktemp("invoke"))
    pipeline.wait([requeued, *dropped])
    executions = [one for several in pipeline.executions().values() for one in several]
    found = {f"log of {function}": pipeline.cloud.logs(function) for function in FUNCTIONS}
    found["executions"] = _text([pipeline.history(one) for one in executions])
    scan = (
        pipeline.cloud.client("dynamodb").get_paginator("scan").paginate(TableName=pipeline.outputs["LedgerTableName"])
    )
    found["ledger"] = _text([page["Items"] for page in scan])
    found["metadata of results"] = _text([pipeline.metadata(key) for key in pipeline.keys("")])
    found["reports"] = _text([pipeline.report_at(key) for key in pipeline.keys("errors/") if key.endswith(".json")])
    found["events"] = _text([events.about(one, "Photo Not Enhanced") for one in dropped] + events.received)
    found["queue"] = _text(messages)
    secret = ("--secret-id", pipeline.outputs["KeySecretArn"])
    api_key = pipeline.aws("secretsmanager", "get-secret-value", *secret)["SecretString"]
    links = [link for task in pipeline.completed_tasks(api_key) for link in _links(task)]
    return Traces(found, pipeline.rows()[requeued]["task_id"], api_key, links)


def _drop_to_requeue(pipeline: Pipeline, folder: Path) -> tuple[Upload, list[Json]]:
    """An upload that submit requeues, and the messages of the queue: S3's and submit's."""
    event, answer = folder / "event.json", folder / "answer.json"
    with pipeline.event_source_disabled():
        upload = pipeline.drop(REQUEUED, jpeg())
        body = next(one["Body"] for one in _messages(pipeline) if upload.key in one["Body"])
        event.write_text(json.dumps({"Records": [{"messageId": "by hand", "body": body}]}))
        pipeline.plan(submit=[{"kind": "http", "status": 402, "retry_after": 1, "quotes": True}])
        function = ("--function-name", pipeline.cloud.resources["SubmitFunction"])
        pipeline.aws("lambda", "invoke", *function, "--payload", f"file://{event}", str(answer))

        def requeued() -> list[Json]:
            found = _messages(pipeline)
            return found if any(one["Body"] == body and "MessageAttributes" in one for one in found) else []

        messages: list[Json] = pipeline.wait_until(requeued, "submit has requeued the upload", [upload])
    return upload, messages


def _messages(pipeline: Pipeline) -> list[Json]:
    """The messages in the upload queue, which stay there."""
    queue = ("--queue-url", pipeline.outputs["UploadQueueUrl"])
    many = ("--max-number-of-messages", "10", "--visibility-timeout", "0", "--message-attribute-names", "All")
    answer = pipeline.aws("sqs", "receive-message", *queue, *many, "--wait-time-seconds", "5")
    found: list[Json] = answer["Messages"] if answer else []
    return found


def _text(value: object) -> str:
    return json.dumps(value, default=str)


def _links(task: Json) -> list[str]:
    """The random names in a task's result links."""
    return re.findall(r"/results/([a-z0-9]{32})", json.dumps(task))


def test_every_place_has_texts_and_there_are_secrets(traces: Traces) -> None:
    assert [place for place, text in traces.found.items() if PREFIX not in text and traces.task_id not in text] == []
    assert len(traces.api_key) > 20
    assert len(set(traces.links)) >= 2


def test_secrets_that_the_enhancer_quotes_are_redacted(pipeline: Pipeline, traces: Traces) -> None:
    assert "?[redacted]" in pipeline.report(FAILED)["what_happened"]
    assert "Bearer [key]" in pipeline.report(REFUSED)["what_happened"]
    assert "Bearer [key]" in traces.found["log of SubmitFunction"]


def test_no_text_contains_a_signature(traces: Traces) -> None:
    assert {place: SIGNED.findall(text) for place, text in traces.found.items() if SIGNED.search(text)} == {}


def test_no_text_contains_the_api_key(traces: Traces) -> None:
    assert [place for place, text in traces.found.items() if traces.api_key in text] == []


def test_no_text_contains_a_result_link(traces: Traces) -> None:
    leaks = [place for place, text in traces.found.items() for link in traces.links if link in text]
    assert leaks == []
