"""SQS: concurrent requests, the cost of sending, and message move tasks."""

import time
import uuid
from threading import local
from typing import Any, cast

from moto.core.responses import ActionResult
from moto.sqs.models import Queue, SQSBackend
from moto.sqs.responses import SQSResponse

from sandbox.aws.moto_patches.patching import Context, Replace


def apply(replace: Replace, _: Context) -> None:
    """Apply the patches of this service."""
    _serialize_receives_and_deletes(replace)
    _send_without_counting(replace)
    _move_messages(replace)


def _serialize_receives_and_deletes(replace: Replace) -> None:
    # moto 5.2.5: queues are not thread-safe; concurrent requests lose messages or receive one twice. AWS: neither.
    # The lock is free while a receive waits for messages.
    receive, delete = SQSBackend.receive_message, Queue.delete_message

    def receive_alone(self: SQSBackend, queue_name: str, *args: Any, **kwargs: Any) -> Any:
        with self.get_queue(queue_name)._messages_lock:
            return receive(self, queue_name, *args, **kwargs)

    def delete_alone(self: Queue, receipt_handle: str) -> None:
        with self._messages_lock:
            delete(self, receipt_handle)

    replace(SQSBackend, "receive_message", receive_alone)
    replace(Queue, "delete_message", delete_alone)


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
