"""Queues behave as SQS's do, and requests touch as many messages in a long queue as in a short one."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from botocore.exceptions import ClientError
from moto.sqs.models import Message, sqs_backends

from sandbox.aws.cloud import ACCOUNT, Cloud

WAITING = 10_000


@pytest.fixture
def queues(cloud: Cloud) -> Any:
    return cloud.client("sqs")


@pytest.fixture
def url(queues: Any) -> Iterator[str]:
    url = str(queues.create_queue(QueueName=uuid.uuid4().hex, Attributes={"VisibilityTimeout": "60"})["QueueUrl"])
    yield url
    queues.delete_queue(QueueUrl=url)


def send(cloud: Cloud, url: str, count: int, delay: int = 0) -> None:
    """Sends messages without HTTP requests."""
    for number in range(count):
        sqs_backends[ACCOUNT][cloud.region].send_message(url.rpartition("/")[2], str(number), delay_seconds=delay)


def receive(queues: Any, url: str, **arguments: Any) -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = queues.receive_message(QueueUrl=url, **arguments).get("Messages", [])
    return messages


@contextmanager
def counting(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], int]]:
    """Counts the messages that are read while the context is open, once for each attribute that is read."""
    touched = [0]

    def read(self: Any, name: str) -> Any:
        touched[0] += 1
        return object.__getattribute__(self, name)

    with monkeypatch.context() as patched:
        patched.setattr(Message, "__getattribute__", read, raising=False)
        yield lambda: touched[0]


@pytest.mark.parametrize("delay", [0, 900])
def test_requests_touch_no_more_messages_in_a_long_queue(
    cloud: Cloud, queues: Any, url: str, delay: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def touched() -> int:
        queues.send_message(QueueUrl=url, MessageBody="one")
        (message,) = receive(queues, url, AttributeNames=["All"])
        handle = {"QueueUrl": url, "ReceiptHandle": message["ReceiptHandle"]}
        with counting(monkeypatch) as count:
            queues.send_message(QueueUrl=url, MessageBody="two")
            queues.change_message_visibility(**handle, VisibilityTimeout=30)
            queues.delete_message(**handle)
            (other,) = receive(queues, url, AttributeNames=["All"], WaitTimeSeconds=1)
            queues.delete_message(QueueUrl=url, ReceiptHandle=other["ReceiptHandle"])
            return count()

    short = touched()
    send(cloud, url, WAITING, delay)
    assert touched() <= short * 1.2 + 10


def test_messages_are_received_in_order_and_once_until_they_are_visible_again(
    cloud: Cloud, queues: Any, url: str
) -> None:
    send(cloud, url, 25)
    received = [message["Body"] for _ in range(25) for message in receive(queues, url)]
    assert received == [str(number) for number in range(25)]
    assert receive(queues, url) == []


def test_a_message_that_becomes_visible_comes_back_with_every_handle_valid(cloud: Cloud, queues: Any, url: str) -> None:
    send(cloud, url, 2)
    (first,) = receive(queues, url)
    queues.change_message_visibility(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"], VisibilityTimeout=0)
    bodies = sorted(message["Body"] for message in receive(queues, url, MaxNumberOfMessages=10, WaitTimeSeconds=1))
    bodies += [message["Body"] for message in receive(queues, url, MaxNumberOfMessages=10)]
    assert sorted(bodies) == ["0", "1"]
    queues.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    attributes = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    counts = queues.get_queue_attributes(QueueUrl=url, AttributeNames=attributes)["Attributes"]
    assert counts == {"ApproximateNumberOfMessages": "0", "ApproximateNumberOfMessagesNotVisible": "1"}


def test_a_handle_that_was_never_given_is_refused(queues: Any, url: str) -> None:
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        queues.delete_message(QueueUrl=url, ReceiptHandle="no such handle")
    with pytest.raises(ClientError, match="ReceiptHandleIsInvalid"):
        queues.change_message_visibility(QueueUrl=url, ReceiptHandle="no such handle", VisibilityTimeout=1)


def test_a_message_that_is_received_too_often_goes_to_the_dead_letters(cloud: Cloud, queues: Any, url: str) -> None:
    dead = str(queues.create_queue(QueueName="dead")["QueueUrl"])
    arn = f"arn:aws:sqs:{cloud.region}:{ACCOUNT}:dead"
    policy = f'{{"deadLetterTargetArn": "{arn}", "maxReceiveCount": 2}}'
    queues.set_queue_attributes(QueueUrl=url, Attributes={"RedrivePolicy": policy})
    send(cloud, url, 1)
    for _ in range(2):
        (message,) = receive(queues, url, WaitTimeSeconds=1)
        queues.change_message_visibility(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"], VisibilityTimeout=0)
    assert receive(queues, url) == []
    assert [message["Body"] for message in receive(queues, dead)] == ["0"]


def test_a_purged_queue_is_empty(cloud: Cloud, queues: Any, url: str) -> None:
    send(cloud, url, 3)
    queues.purge_queue(QueueUrl=url)
    assert receive(queues, url) == []


def test_attributes_are_those_that_were_asked_for(queues: Any, url: str) -> None:
    get = queues.get_queue_attributes
    assert "VisibilityTimeout" in get(QueueUrl=url, AttributeNames=["All"])["Attributes"]
    assert get(QueueUrl=url, AttributeNames=["VisibilityTimeout"])["Attributes"] == {"VisibilityTimeout": "60"}
    with pytest.raises(ClientError, match="InvalidAttributeName"):
        get(QueueUrl=url, AttributeNames=["NoSuchAttribute"])
