"""SQS: concurrent requests, the cost of sending, and message move tasks."""

import time
import uuid
from collections.abc import Iterable
from threading import local
from types import SimpleNamespace
from typing import Any, cast

from moto.core.responses import ActionResult
from moto.core.utils import unix_time
from moto.sqs.exceptions import InvalidAttributeName, ReceiptHandleIsInvalid
from moto.sqs.models import Message, Queue, SQSBackend
from moto.sqs.responses import SQSResponse

from sandbox.aws.moto_patches.patching import Context, Replace
from sandbox.aws.moto_patches.sqs_messages import AvailableMessages, Messages, messages_of


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    _index_messages(replace)
    _serialize_receives_and_deletes(replace)
    _read_few_attributes(replace)
    _send_without_counting(replace)
    _move_messages(replace)


def _index_messages(replace: Replace) -> None:
    # moto 5.2.5: each receive, delete, change of visibility, and wakeup of a receive that waits reads all messages of
    # the queue. AWS: constant time. The list of messages is assigned on creation and on a purge.
    def set_messages(self: Queue, messages: Iterable[Message]) -> None:
        vars(self)["_messages"] = Messages(messages)

    replace(Queue, "_messages", property(lambda self: vars(self)["_messages"], set_messages))
    replace(Queue, "messages", property(AvailableMessages))


def _serialize_receives_and_deletes(replace: Replace) -> None:
    # moto 5.2.5: queues are not thread-safe; concurrent requests lose messages or receive one twice. AWS: neither.
    # The lock is free while a receive waits for messages.
    receive, change = SQSBackend.receive_message, SQSBackend.change_message_visibility

    def receive_alone(self: SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        with self.get_queue(queue_name)._messages_lock:
            return receive(self, queue_name, *args, **kwargs)

    def delete_alone(self: Queue, receipt_handle: str) -> None:
        with self._messages_lock:
            if receipt_handle in self.deleted_messages:
                return
            message = _find(self, receipt_handle)
            messages_of(self).remove(message)
            self.pending_messages.discard(message)
            self.deleted_messages.update(handle for handle in message.all_receipt_handles if handle)

    def change_alone(self: SQSBackend, queue_name: str, receipt_handle: str, visibility_timeout: int) -> None:
        queue = self.get_queue(queue_name)
        with queue._messages_lock:
            message = _find(queue, receipt_handle)
            only: Any = SimpleNamespace(
                get_queue=lambda _: SimpleNamespace(_messages=[message], pending_messages=queue.pending_messages)
            )
            change(only, queue_name, receipt_handle, visibility_timeout)
            messages_of(queue).update(message)
            queue._messages_lock.notify_all()

    # moto 5.2.5: waits until there are messages. Here a receive that waits checks again after any change, so that an
    # event source that was disabled stops at once.
    def wait_for_change(self: Queue, timeout: int) -> None:
        with self._messages_lock:
            if not self.messages:
                self._messages_lock.wait(timeout)

    replace(Queue, "wait_for_messages", wait_for_change)
    replace(SQSBackend, "receive_message", receive_alone)
    replace(SQSBackend, "change_message_visibility", change_alone)
    replace(Queue, "delete_message", delete_alone)


def _find(queue: Queue, receipt_handle: str) -> Message:
    message = messages_of(queue).find(receipt_handle)
    if message is None:
        raise ReceiptHandleIsInvalid
    return message


def _read_few_attributes(replace: Replace) -> None:
    # moto 5.2.5: GetQueueAttributes computes all attributes twice for each of them, and each received message does so
    # for its retention period. AWS: constant time.
    def get(self: SQSBackend, queue_name: str, attribute_names: list[str]) -> dict[str, Any]:
        queue = self.get_queue(queue_name)
        known = {"All", *queue.BASE_ATTRIBUTES, *queue.FIFO_ATTRIBUTES, *queue.KMS_ATTRIBUTES}
        for name in attribute_names:
            if name not in known:
                raise InvalidAttributeName(name)
        attributes = queue.attributes if attribute_names else {}
        if "All" in attribute_names:
            return attributes
        return {name: attributes[name] for name in attribute_names if attributes.get(name) is not None}

    def is_retained(self: SQSBackend, queue_name: str, message: Any) -> bool:
        retained: Any = self.get_queue(queue_name)
        return bool(retained.message_retention_period + message.sent_timestamp / 1000 > unix_time())

    replace(SQSBackend, "get_queue_attributes", get)
    replace(SQSBackend, "is_message_valid_based_on_retention_period", is_retained)


def _send_without_counting(replace: Replace) -> None:
    # moto 5.2.5: each SendMessage computes every attribute of the queue several times, in time linear in its length.
    # AWS: constant time. SendMessage reads attributes only for FIFO queues.
    send, attributes, sending = SQSBackend.send_message, cast(Any, Queue.attributes), local()

    def send_quickly(self: SQSBackend, *args: Any, **kwargs: Any) -> Any:
        sending.now = True
        try:
            return send(self, *args, **kwargs)
        finally:
            sending.now = False

    replace(SQSBackend, "send_message", send_quickly)
    replace(Queue, "attributes", property(lambda self: {} if getattr(sending, "now", False) else attributes.fget(self)))


def _move_messages(replace: Replace) -> None:
    # moto 5.2.5: has no message move tasks. AWS: they redrive a dead-letter queue. Here a task completes at once.
    tasks: dict[str, dict[str, Any]] = {}

    def start(self: SQSResponse) -> ActionResult:
        source, destination = self._get_param("SourceArn"), self._get_param("DestinationArn")
        if not destination:
            destination = self.sqs_backend.list_dead_letter_source_queues(_name(source))[0].queue_arn
        moved = _move(self.sqs_backend, _name(source), _name(destination))
        tasks[source] = {
            "SourceArn": source,
            "DestinationArn": destination,
            "Status": "COMPLETED",
            "StartedTimestamp": time.time_ns() // 1_000_000,
            "ApproximateNumberOfMessagesMoved": moved,
            "ApproximateNumberOfMessagesToMove": moved,
        }
        return ActionResult({"TaskHandle": str(uuid.uuid4())})

    def list_tasks(self: SQSResponse) -> ActionResult:
        source = self._get_param("SourceArn")
        return ActionResult({"Results": [tasks[source]] if source in tasks else []})

    replace(SQSResponse, "start_message_move_task", start)
    replace(SQSResponse, "list_message_move_tasks", list_tasks)


def _move(backend: SQSBackend, source: str, destination: str) -> int:
    """Move every message; returns how many."""
    moved = 0
    while messages := backend.receive_message(source, 10, 0, 60, ["All"]):
        for message in messages:
            backend.send_message(destination, message.body, message.message_attributes)
            backend.delete_message(source, str(message.receipt_handle))
        moved += len(messages)
    return moved


def _name(arn: str) -> str:
    return arn.rpartition(":")[2]
