"""The upload queue and its dead-letter queue."""

from __future__ import annotations

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
