"""The event source mapping invokes the function, and handles its result, as Lambda does."""

import json
import re
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.aws import event_source
from sandbox.aws.cloud import Cloud


@pytest.fixture
def send(cloud: Cloud) -> Callable[..., str]:
    """Sends a message for the worker; returns a mark that is part of its body."""

    def put(delay: int = 0, **body: Any) -> str:
        mark = uuid.uuid4().hex
        cloud.client("sqs").send_message(
            QueueUrl=cloud.resources["Queue"],
            MessageBody=json.dumps({**body, "mark": mark}),
            MessageAttributes={"colour": {"DataType": "String", "StringValue": "blue"}},
            DelaySeconds=delay,
        )
        return mark

    return put


@pytest.fixture
def deliveries(cloud: Cloud) -> Callable[[str], list[dict[str, Any]]]:
    """The records with which the worker received a message, oldest first."""

    def find(mark: str) -> list[dict[str, Any]]:
        events = [json.loads(line) for line in cloud.logs("Worker").splitlines() if line.startswith('{"Records"')]
        return [record for event in events for record in event["Records"] if mark in record["body"]]

    return find


@pytest.fixture
def come_back(
    cloud: Cloud, deliveries: Callable[[str], list[dict[str, Any]]], eventually: Callable[..., Any]
) -> Callable[[str, int], None]:
    """Makes a message visible again at once after its nth delivery, if it is still in the queue."""

    def hasten(mark: str, times: int) -> None:
        eventually(lambda: len(deliveries(mark)) == times)
        newest = max(deliveries(mark), key=lambda one: int(one["attributes"]["ApproximateReceiveCount"]))
        cloud.client("sqs").change_message_visibility(
            QueueUrl=cloud.resources["Queue"], ReceiptHandle=newest["receiptHandle"], VisibilityTimeout=0
        )

    return hasten


@pytest.fixture
def dead(cloud: Cloud) -> Callable[[], list[dict[str, Any]]]:
    """The messages that have arrived in the dead-letter queue since the last call."""

    def receive() -> list[dict[str, Any]]:
        messages: list[dict[str, Any]] = (
            cloud.client("sqs")
            .receive_message(QueueUrl=cloud.resources["DeadLetters"], MaxNumberOfMessages=10, VisibilityTimeout=600)
            .get("Messages", [])
        )
        return messages

    return receive


def counts(cloud: Cloud) -> dict[str, str]:
    names = ["ApproximateNumberOfMessages", "ApproximateNumberOfMessagesNotVisible"]
    answer = cloud.client("sqs").get_queue_attributes(QueueUrl=cloud.resources["Queue"], AttributeNames=names)
    attributes: dict[str, str] = answer["Attributes"]
    return attributes


def is_empty(cloud: Cloud) -> bool:
    return set(counts(cloud).values()) == {"0"}


def test_a_record_has_the_shape_of_an_sqs_event(
    cloud: Cloud, send: Callable[..., str], deliveries: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    mark = send()
    (record,) = eventually(lambda: deliveries(mark))
    assert set(record) == {
        "messageId",
        "receiptHandle",
        "body",
        "attributes",
        "messageAttributes",
        "md5OfBody",
        "eventSource",
        "eventSourceARN",
        "awsRegion",
    }
    assert record["attributes"]["ApproximateReceiveCount"] == "1"
    assert record["attributes"]["SentTimestamp"].isdigit()
    assert record["messageAttributes"]["colour"]["stringValue"] == "blue"
    assert record["messageAttributes"]["colour"]["dataType"] == "String"
    assert (record["eventSource"], record["awsRegion"]) == ("aws:sqs", "us-east-1")
    assert record["eventSourceARN"].endswith(cloud.resources["Queue"].rpartition("/")[2])
    eventually(lambda: is_empty(cloud))


def test_only_the_failed_message_of_a_batch_is_retried_until_it_is_a_dead_letter(
    cloud: Cloud,
    send: Callable[..., str],
    deliveries: Callable[..., Any],
    dead: Callable[..., Any],
    come_back: Callable[[str, int], None],
    eventually: Callable[..., Any],
) -> None:
    good, bad = send(), send(do="fail")
    come_back(bad, 1)
    come_back(bad, 2)
    (message,) = eventually(dead)
    assert bad in message["Body"]
    # Two environments' lines need not come in order.
    assert sorted(r["attributes"]["ApproximateReceiveCount"] for r in deliveries(bad)) == ["1", "2"]
    assert len(deliveries(good)) == 1


def test_an_exception_returns_the_whole_batch(
    send: Callable[..., str],
    deliveries: Callable[..., Any],
    dead: Callable[..., Any],
    come_back: Callable[[str, int], None],
    eventually: Callable[..., Any],
) -> None:
    mark = send(do="raise")
    come_back(mark, 1)
    come_back(mark, 2)
    (message,) = eventually(dead)
    assert mark in message["Body"]
    assert len(deliveries(mark)) == 2


def test_a_message_that_is_being_handled_is_invisible_until_its_visibility_timeout(
    cloud: Cloud,
    send: Callable[..., str],
    deliveries: Callable[..., Any],
    tmp_path: Path,
    eventually: Callable[..., Any],
) -> None:
    go_on = tmp_path / "continue"
    mark = send(do="wait", until=str(go_on))
    eventually(lambda: deliveries(mark))
    assert counts(cloud)["ApproximateNumberOfMessagesNotVisible"] == "1"
    go_on.touch()
    eventually(lambda: is_empty(cloud))
    assert len(deliveries(mark)) == 1


def test_the_mapping_limits_concurrent_batches(
    cloud: Cloud, send: Callable[..., str], eventually: Callable[..., Any]
) -> None:
    before = len(cloud.logs("Worker").splitlines())
    for _ in range(20):
        send(do="sleep", seconds=0.5)  # enough for the third environment to start meanwhile on a busy machine
    eventually(lambda: is_empty(cloud))
    running, most = 0, 0
    for line in cloud.logs("Worker").splitlines()[before:]:
        running += bool(re.match("START ", line)) - bool(re.match("END ", line))
        most = max(most, running)
    assert most == 3


def test_a_delayed_message_waits(
    send: Callable[..., str], deliveries: Callable[..., Any], eventually: Callable[..., Any]
) -> None:
    mark = send(delay=2)
    (record,) = eventually(lambda: deliveries(mark))
    times = record["attributes"]
    assert int(times["ApproximateFirstReceiveTimestamp"]) - int(times["SentTimestamp"]) >= 2000


def test_a_disabled_mapping_delivers_nothing(
    cloud: Cloud,
    send: Callable[..., str],
    deliveries: Callable[..., Any],
    eventually: Callable[..., Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    awslambda, mapping = cloud.client("lambda"), cloud.resources["WorkerQueue"]
    with monkeypatch.context() as patched:
        patched.setattr(event_source, "_WAIT_SECONDS", 600)
        time.sleep(1.5)  # from now on, only a change ends the poller's wait
        awslambda.update_event_source_mapping(UUID=mapping, Enabled=False)
        eventually(lambda: awslambda.get_event_source_mapping(UUID=mapping)["State"] == "Disabled")
    mark = send()
    time.sleep(1.5)
    assert not deliveries(mark)
    awslambda.update_event_source_mapping(UUID=mapping, Enabled=True)
    eventually(lambda: deliveries(mark))
