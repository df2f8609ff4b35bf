"""Programs receive the outcome of each upload, through the topic and through the owner's hook."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.event_schemas import problems
from tests.production.conftest import INPUT, TARGET

Json = dict[str, Any]


@pytest.fixture(scope="module")
def subscriber(pipeline: Pipeline) -> Iterator[str]:
    """The URL of a queue that the topic sends its messages to, as they are."""
    queue = pipeline.aws("sqs", "create-queue", "--queue-name", "subscriber")["QueueUrl"]
    arn = TARGET.replace("after-photos", "subscriber")
    topic = ("--topic-arn", pipeline.outputs["PhotoTopicArn"])
    raw = ("--attributes", "RawMessageDelivery=true")
    pipeline.aws("sns", "subscribe", *topic, "--protocol", "sqs", "--notification-endpoint", arn, *raw)
    yield queue


def test_topic_and_hook_get_the_event_of_every_upload(pipeline: Pipeline, subscriber: str) -> None:
    versioning = ("--versioning-configuration", "Status=Enabled")
    pipeline.aws("s3api", "put-bucket-versioning", "--bucket", INPUT, *versioning)
    photo, text = pipeline.drop("notified/photo.jpg", jpeg()), pipeline.drop("notified/diary.txt", b"Dear diary")
    pipeline.wait([photo, text])
    expected = {("notified/photo.jpg", "Photo Enhanced"), ("notified/diary.txt", "Photo Not Enhanced")}
    for queue in (subscriber, pipeline.aws("sqs", "get-queue-url", "--queue-name", "after-photos")["QueueUrl"]):
        heard: list[Json] = []

        def all_heard(queue: str = queue, heard: list[Json] = heard) -> bool:
            heard += _received(pipeline, queue)
            return expected <= {(one["detail"]["upload"]["key"], one["detail-type"]) for one in heard}

        pipeline.wait_until(all_heard, f"{queue} hears of both")
        assert [problems(event) for event in heard if problems(event)] == []


def _received(pipeline: Pipeline, queue: str) -> list[Json]:
    sqs = pipeline.cloud.client("sqs")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def test_alarms_tell_the_owner_by_e_mail(pipeline: Pipeline) -> None:
    topic = pipeline.outputs["AlarmTopicArn"]
    (subscription,) = pipeline.aws("sns", "list-subscriptions-by-topic", "--topic-arn", topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@example.com")
    alarms = pipeline.aws("cloudwatch", "describe-alarms")["MetricAlarms"]
    assert alarms
    assert {(*one["AlarmActions"], *one["OKActions"]) for one in alarms} == {(topic, topic)}
