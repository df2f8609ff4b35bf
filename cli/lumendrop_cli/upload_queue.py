"""The upload queue and its dead-letter queue."""

from __future__ import annotations

import json
from typing import Any

from lumendrop_cli.stack import Stack

# Visible, in flight (submit is handling them), and requeued with a delay.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def count_messages(stack: Stack, url: str) -> int:
    """The number of messages in a queue in any state, as estimated by SQS."""
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
    return sum(int(answer["Attributes"][name]) for name in _COUNTS)


def queue_arn(stack: Stack, url: str) -> str:
    """A queue's ARN."""
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    arn: str = answer["Attributes"]["QueueArn"]
    return arn


def upload_message(row: dict[str, Any], *, send_again: bool, pay: bool = False) -> dict[str, Any]:
    """The message of a row's upload.

    With `send_again`, it asks for a new attempt and names the previous one, so that a duplicate doesn't pay twice. With
    `pay`, it also asks for a new task if the photo, or the same photo of another upload, is already enhanced.
    """
    named = {"key": row["key"], "version-id": row["version_id"], "size": row["size"]}
    found = {**named, "etag": row["etag"], "sequencer": row["sequencer"]}
    detail = {"bucket": {"name": row["bucket"]}, "object": found}
    numbers = ({"send-again": row["attempt"]} if send_again else {}) | ({"pay": 1} if pay else {})
    return {
        "MessageBody": json.dumps({"time": row.get("time", ""), "detail": detail}),
        "MessageAttributes": {
            name: {"DataType": "Number", "StringValue": str(number)} for name, number in numbers.items()
        },
    }
