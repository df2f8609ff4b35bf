"""The upload queue: reads its messages, and sends an upload back to wait."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import msgspec
from botocore.exceptions import BotoCoreError, ClientError

from lumendrop.aws_errors import is_transient
from lumendrop.ledger import Ledger, LedgerBusy, PaidTask

if TYPE_CHECKING:
    from mypy_boto3_sqs import SQSClient
    from mypy_boto3_sqs.type_defs import MessageAttributeValueTypeDef

_FIRST_SECONDS = 15
_LONGEST_SECONDS = 900  # the longest delay that SQS supports
AWS_UNAVAILABLE = "aws_unavailable"


class _Attribute(msgspec.Struct, rename="camel"):
    string_value: str = ""


class Message(msgspec.Struct, rename="camel", frozen=True):
    """An SQS record, as Lambda passes it."""

    message_id: str
    body: str
    message_attributes: dict[str, _Attribute] = msgspec.field(default_factory=dict)

    @property
    def requeue_count(self) -> int:
        """How many times this upload was requeued."""
        return self._number("waits")

    @property
    def resend_after(self) -> int:
        """The attempt after which the owner sends this upload again, or 0."""
        return self._number("send-again")

    @property
    def pay_again(self) -> bool:
        """Whether the owner wants another task, even if the photo is already enhanced."""
        return self._number("pay") == 1

    @property
    def chain(self) -> str:
        """The ID of the first message, of which this one is a copy of a copy."""
        return self._text("chain") or self.message_id

    @property
    def task(self) -> PaidTask | None:
        """A paid task that could not be recorded when its submit was answered."""
        try:
            return msgspec.json.decode(self._text("task"), type=PaidTask)
        except msgspec.MsgspecError:
            return None

    def _number(self, name: str) -> int:
        text = self._text(name)
        return int(text) if text.isdecimal() and len(text) < 10 else 0

    def _text(self, name: str) -> str:
        return self.message_attributes.get(name, _Attribute()).string_value


class _Event(msgspec.Struct):
    records: list[Message] = msgspec.field(name="Records")


class Deferred(Exception):
    """The upload has to wait, for `seconds` if that is known. A `transient` reason may be over in a moment.

    `task` is a paid task that could not be recorded.
    """

    def __init__(
        self,
        reason: str,
        message: str,
        seconds: float | None = None,
        *,
        transient: bool = False,
        task: PaidTask | None = None,
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.seconds = seconds
        self.transient = transient
        self.task = task


WAITS = (Deferred, BotoCoreError, ClientError, LedgerBusy)
"""What `defer` understands."""


def defer(error: Exception) -> Deferred:
    """Why the upload has to wait, if an AWS service throttles or does not answer. Raises any other error of AWS."""
    if isinstance(error, Deferred):
        return error
    if isinstance(error, LedgerBusy) or is_transient(error):
        return Deferred(AWS_UNAVAILABLE, f"{type(error).__name__}: {error}")
    raise error


def messages(event: object) -> list[Message]:
    """The messages of a Lambda event from an SQS event source. Raises msgspec.ValidationError for any other event."""
    return msgspec.convert(event, _Event).records


def delay(requeue_count: int, seconds: float | None = None) -> int:
    """Seconds until a requeued message is visible: `seconds`, or a time that grows with the number of requeues."""
    if seconds is None:
        seconds = random.uniform(0.5, 1) * _FIRST_SECONDS * 2 ** min(requeue_count, 10)  # noqa: S311  # jitter, no secret
    return int(min(max(seconds, 1), _LONGEST_SECONDS))


def is_current(ledger: Ledger, message: Message) -> bool:
    """Whether no other copy of the message continues. If the ledger can't tell, a copy too many beats a lost upload."""
    try:
        return ledger.take_requeue(message.chain, message.requeue_count + 1, message.message_id)
    except WAITS:
        return True


def requeue(client: SQSClient, queue_url: str, message: Message, deferred: Deferred) -> int:
    """Sends a delayed copy of the message, and returns its delay.

    A failed receive would count towards the dead-letter queue, and the message would exceed its retention; a copy does
    neither. Its delay is jittered, so that uploads that are deferred together do not come back together.
    """
    wait = delay(message.requeue_count, deferred.seconds)
    attributes: dict[str, MessageAttributeValueTypeDef] = {
        "waits": {"DataType": "Number", "StringValue": str(message.requeue_count + 1)},
        "reason": {"DataType": "String", "StringValue": deferred.reason},
        "chain": {"DataType": "String", "StringValue": message.chain},
    }
    if message.resend_after:
        attributes["send-again"] = {"DataType": "Number", "StringValue": str(message.resend_after)}
    if message.pay_again:
        attributes["pay"] = {"DataType": "Number", "StringValue": "1"}
    if task := deferred.task or message.task:
        attributes["task"] = {"DataType": "String", "StringValue": msgspec.json.encode(task).decode()}
    client.send_message(QueueUrl=queue_url, MessageBody=message.body, DelaySeconds=wait, MessageAttributes=attributes)
    return wait
