"""The functions have only what their roles allow, and the topic gets only the events of this stack."""

import json
from collections.abc import Iterator

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline


@pytest.fixture
def _without_read_access(pipeline: Pipeline) -> Iterator[None]:
    """Takes the statement from SubmitRole that lets it read uploads."""
    iam, which = (
        pipeline.cloud.client("iam"),
        {"RoleName": pipeline.cloud.resources["SubmitRole"], "PolicyName": "submit"},
    )
    document = iam.get_role_policy(**which)["PolicyDocument"]
    without = [one for one in document["Statement"] if one["Sid"] != "ReadUploads"]
    assert len(without) == len(document["Statement"]) - 1
    iam.put_role_policy(**which, PolicyDocument=json.dumps({**document, "Statement": without}))
    yield
    iam.put_role_policy(**which, PolicyDocument=json.dumps(document))


def test_without_read_access_to_uploads_nothing_is_paid_for(pipeline: Pipeline, _without_read_access: None) -> None:
    upload = pipeline.drop("permissions/read.jpg", jpeg())
    pipeline.wait_until(
        lambda: any(line["reason"] == "access_denied" for line in pipeline.submit_log(upload, "upload requeued")),
        "it is denied",
    )
    assert upload not in pipeline.rows()
    assert pipeline.tasks(upload) == []


def test_the_topic_gets_the_events_of_this_stack_alone(pipeline: Pipeline) -> None:
    """Its rule matches the ARN of the workflow, which Step Functions adds to an event."""
    sqs, topic = pipeline.cloud.client("sqs"), pipeline.outputs["PhotoTopicArn"]
    url = sqs.create_queue(QueueName="notices")["QueueUrl"]
    arn = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    statement = {"Effect": "Allow", "Principal": "*", "Action": "sqs:SendMessage", "Resource": arn}
    policy = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    raw = {"RawMessageDelivery": "true"}
    pipeline.cloud.client("sns").subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn, Attributes=raw)
    detail = json.dumps({"upload": {"key": "of another stack.jpg", "version_id": "1"}})
    foreign = {"Source": "lumendrop", "DetailType": "Photo Enhanced", "Detail": detail}
    assert pipeline.cloud.client("events").put_events(Entries=[foreign])["FailedEntryCount"] == 0
    upload = pipeline.drop("notices/notes.txt", b"Dear diary")
    pipeline.wait([upload])
    messages = pipeline.wait_until(lambda: sqs.receive_message(QueueUrl=url).get("Messages"), "the topic has an event")
    (event,) = (json.loads(message["Body"]) for message in messages)
    assert (event["detail-type"], event["detail"]["upload"]["key"]) == ("Photo Not Enhanced", upload.key)
