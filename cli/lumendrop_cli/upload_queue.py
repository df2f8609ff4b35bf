"""The upload queue and its event source, which feeds it to submit."""

from __future__ import annotations

from lumendrop_cli.stack import Stack

# In the queue and visible, handed to submit right now, and requeued with a delay.
_COUNTS = (
    "ApproximateNumberOfMessages",
    "ApproximateNumberOfMessagesNotVisible",
    "ApproximateNumberOfMessagesDelayed",
)


def length(stack: Stack, url: str) -> int:
    """How many messages a queue holds, by SQS's estimate, whatever they wait for."""
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=list(_COUNTS))
    return sum(int(answer["Attributes"][name]) for name in _COUNTS)


def arn(stack: Stack, url: str) -> str:
    """A queue's ARN."""
    answer = stack.client("sqs").get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])
    found: str = answer["Attributes"]["QueueArn"]
    return found


def event_source_state(stack: Stack) -> str:
    """`Enabled`, `Disabled`, or on the way to one of them, such as `Disabling`."""
    mapping = stack.resource("SubmitFunctionUploads")
    state: str = stack.client("lambda").get_event_source_mapping(UUID=mapping)["State"]
    return state
