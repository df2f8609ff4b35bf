"""The upload queue: reading its messages, and sending an upload to its back to wait."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

_FIRST_SECONDS = 15
_LONGEST_SECONDS = 900  # the longest delay that SQS knows


class _Attribute(msgspec.Struct, rename="camel"):
    string_value: str = ""


class Message(msgspec.Struct, rename="camel", frozen=True):
    """An SQS record as Lambda hands it over."""

    message_id: str
    body: str
    message_attributes: dict[str, _Attribute] = msgspec.field(default_factory=dict)

    @property
    def requeue_count(self) -> int:
        """How often this upload went to the back of the queue already."""
        return self._number("waits")

    @property
    def resend_after(self) -> int:
        """The attempt after which the owner wants this upload sent again, or 0."""
        return self._number("send-again")

    def _number(self, name: str) -> int:
        text = self.message_attributes.get(name, _Attribute()).string_value
        return int(text) if text.isdecimal() and len(text) < 10 else 0


class _Event(msgspec.Struct):
    records: list[Message] = msgspec.field(name="Records")


def messages(event: object) -> list[Message]:
    """The messages of a Lambda event of an SQS event source. Raises msgspec.ValidationError for any other event."""
    return msgspec.convert(event, _Event).records


def delay(requeue_count: int, seconds: float | None = None) -> int:
    """Seconds at the back of the queue: as many as wanted, else a time that grows with the waits so far."""
    if seconds is None:
        seconds = random.uniform(0.5, 1) * _FIRST_SECONDS * 2 ** min(requeue_count, 10)  # noqa: S311  # jitter, no secret
    return int(min(max(seconds, 1), _LONGEST_SECONDS))


def requeue(client: SQSClient, queue_url: str, message: Message, reason: str, seconds: float | None = None) -> int:
    """Sends a copy that arrives after `seconds`, or after a time that grows with each wait; returns that time.

    A copy, not a receive that fails: waiting must neither count towards the dead-letter queue nor run out of retention.
    Jittered, so that uploads that were turned away together don't come back together.
    """
    wait = delay(message.requeue_count, seconds)
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        "waits": {"DataType": "Number", "StringValue": str(message.requeue_count + 1)},
        "reason": {"DataType": "String", "StringValue": reason},
    }
    if message.resend_after:
        attributes["send-again"] = {"DataType": "Number", "StringValue": str(message.resend_after)}
    client.send_message(QueueUrl=queue_url, MessageBody=message.body, DelaySeconds=wait, MessageAttributes=attributes)
    return wait
