"""Programs receive an event for the outcome of each upload, through the topic and through the owner's own target."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.e2e.photos import jpeg
from tests.e2e.pipeline import Pipeline
from tests.event_schemas import problems
from tests.production.conftest import TARGET

Json = dict[str, Any]


@pytest.fixture(scope="module")
def subscriber(versioned: Pipeline) -> Iterator[str]:
    """The URL of a queue that receives the topic's messages without an envelope."""
    cloud = versioned.cloud
    queue = cloud.client("sqs").create_queue(QueueName="subscriber")["QueueUrl"]
    cloud.client("sns").subscribe(
        TopicArn=versioned.outputs["PhotoTopicArn"],
        Protocol="sqs",
        Endpoint=TARGET.replace("after-photos", "subscriber"),
        Attributes={"RawMessageDelivery": "true"},
    )
    yield queue


def test_topic_and_target_receive_the_event_of_every_upload(versioned: Pipeline, subscriber: str) -> None:
    photo, text = versioned.drop("notified/photo.jpg", jpeg()), versioned.drop("notified/diary.txt", b"Dear diary")
    versioned.wait([photo, text])
    expected = {(photo.key, "Photo Enhanced"), (text.key, "Photo Not Enhanced")}
    target = versioned.cloud.client("sqs").get_queue_url(QueueName="after-photos")["QueueUrl"]
    for queue in (subscriber, target):
        events: list[Json] = []

        def received_both(queue: str = queue, events: list[Json] = events) -> bool:
            events += _receive(versioned, queue)
            return expected <= {(one["detail"]["upload"]["key"], one["detail-type"]) for one in events}

        versioned.wait_until(received_both, f"{queue} receives both events")
        assert [problems(event) for event in events if problems(event)] == []


def _receive(pipeline: Pipeline, queue: str) -> list[Json]:
    sqs = pipeline.cloud.client("sqs")
    messages = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages", [])
    return [json.loads(message["Body"]) for message in messages]


def test_alarms_notify_the_owner_by_email(pipeline: Pipeline) -> None:
    topic = pipeline.outputs["AlarmTopicArn"]
    sns, cloudwatch = pipeline.cloud.client("sns"), pipeline.cloud.client("cloudwatch")
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "owner@example.com")
    alarms = cloudwatch.describe_alarms()["MetricAlarms"]
    assert alarms
    assert {(*one["AlarmActions"], *one["OKActions"]) for one in alarms} == {(topic, topic)}
