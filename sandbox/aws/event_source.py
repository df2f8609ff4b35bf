"""Lambda's event source mapping: polls a queue and invokes a function.

Rules: https://docs.aws.amazon.com/lambda/latest/dg/with-sqs.html and
https://docs.aws.amazon.com/lambda/latest/dg/services-sqs-errorhandling.html.
"""

import json
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, ExitStack, nullcontext
from threading import Event, Semaphore, Thread
from typing import Any, Protocol

from botocore.exceptions import BotoCoreError, ClientError

from sandbox.aws.runtime import Closed, Outcome, Throttled

# Concurrent invocations of a mapping without MaximumConcurrency. On AWS, up to 1,000.
DEFAULT_CONCURRENCY = 10
# Seconds until a poller that waits for messages checks its mapping again.
_WAIT_SECONDS = 1
# Seconds until a poller that can't receive tries again.
_PAUSE = 1.0
_log = logging.getLogger(__name__)


class Mapping(Protocol):
    """An event source mapping of moto. The poller reads it for each batch, because an API call may change it.

    The poller sets `receiving` while it may receive messages.
    """

    receiving: bool
    batch_size: int
    enabled: bool | str
    event_source_arn: str
    scaling_config: dict[str, Any] | None
    function_response_types: list[str] | None


class Poller:
    """Receives from one queue, invokes one function, and deletes the messages that succeeded.

    `sqs` is a boto3 client with the function's role. `wait` returns when the queue may have messages, when the mapping
    was changed, or after so many seconds. `invoke` runs the function on a JSON event. A `polling` context is held from
    before a batch is received until it is handled.
    """

    def __init__(
        self,
        mapping: Mapping,
        sqs: Any,
        queue_url: str,
        region: str,
        wait: Callable[[int], None],
        invoke: Callable[[bytes], Outcome],
        polling: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        self._mapping = mapping
        self._sqs = sqs
        self._url = queue_url
        self._region = region
        self._wait = wait
        self._invoke = invoke
        self._polling = polling
        self._closed = Event()
        concurrency = int((mapping.scaling_config or {}).get("MaximumConcurrency", DEFAULT_CONCURRENCY))
        self._slots = Semaphore(concurrency)
        self._workers = ThreadPoolExecutor(concurrency, thread_name_prefix="event-source")
        self._thread = Thread(target=self._poll, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop receiving; a batch that is being handled continues."""
        self._closed.set()
        self._workers.shutdown(wait=False, cancel_futures=True)

    def _poll(self) -> None:
        while not self._closed.is_set():
            if not self._enabled:
                self._closed.wait(_PAUSE)
                continue
            # A message that waited here for a free worker could become visible in the queue again.
            if not self._slots.acquire(timeout=_PAUSE):
                continue
            work = ExitStack()
            work.callback(self._slots.release)
            work.enter_context(self._polling())
            # Not a long poll, which would continue after the mapping is disabled.
            self._wait(_WAIT_SECONDS)
            messages = self._receive_if_enabled()
            if messages and not self._closed.is_set():
                self._workers.submit(self._handle, messages, work)
            else:
                work.close()

    def _receive_if_enabled(self) -> list[dict[str, Any]]:
        # Set before the state is read again: once the state is Disabled, nothing more is received.
        self._mapping.receiving = True
        try:
            return self._receive() if self._enabled else []
        finally:
            self._mapping.receiving = False

    @property
    def _enabled(self) -> bool:
        return str(self._mapping.enabled).lower() == "true"

    def _receive(self) -> list[dict[str, Any]]:
        try:
            answer = self._sqs.receive_message(
                QueueUrl=self._url,
                MaxNumberOfMessages=min(self._mapping.batch_size, 10),
                WaitTimeSeconds=0,
                MessageSystemAttributeNames=["All"],
                MessageAttributeNames=["All"],
            )
        except (BotoCoreError, ClientError) as error:
            if not self._closed.is_set():
                _log.error("cannot receive from %s: %s", self._url, error)
            self._closed.wait(_PAUSE)
            return []
        messages: list[dict[str, Any]] = answer.get("Messages", [])
        return messages

    def _handle(self, messages: list[dict[str, Any]], work: ExitStack) -> None:
        try:
            outcome = self._invoke(json.dumps({"Records": [self._record(m) for m in messages]}).encode())
            self._delete(messages, self._failed(outcome, messages))
        except (BotoCoreError, ClientError, Throttled) as error:
            # The messages become visible again after the queue's visibility timeout.
            if not self._closed.is_set():
                _log.error("a batch from %s was not handled: %s", self._url, error)
        except Closed:
            self._closed.set()
        finally:
            work.close()

    def _failed(self, outcome: Outcome, messages: list[dict[str, Any]]) -> set[str]:
        """The IDs of the messages that failed and stay in the queue."""
        everything = {message["MessageId"] for message in messages}
        if outcome.failed:
            return everything
        if "ReportBatchItemFailures" not in (self._mapping.function_response_types or []):
            return set()
        try:
            answer = json.loads(outcome.payload) or {}
            failed = {failure["itemIdentifier"] for failure in answer.get("batchItemFailures") or []}
        except (ValueError, KeyError, TypeError, AttributeError):
            return everything
        # With an ID that is not in the batch, AWS treats the whole batch as failed.
        return failed if failed <= everything else everything

    def _delete(self, messages: list[dict[str, Any]], failed: set[str]) -> None:
        done = [m for m in messages if m["MessageId"] not in failed]
        if done:
            self._sqs.delete_message_batch(
                QueueUrl=self._url,
                Entries=[{"Id": m["MessageId"], "ReceiptHandle": m["ReceiptHandle"]} for m in done],
            )

    def _record(self, message: dict[str, Any]) -> dict[str, Any]:
        return {
            "messageId": message["MessageId"],
            "receiptHandle": message["ReceiptHandle"],
            "body": message["Body"],
            "attributes": message.get("Attributes", {}),
            "messageAttributes": {
                name: _attribute(value) for name, value in message.get("MessageAttributes", {}).items()
            },
            "md5OfBody": message["MD5OfBody"],
            "eventSource": "aws:sqs",
            "eventSourceARN": self._mapping.event_source_arn,
            "awsRegion": self._region,
        }


def _attribute(value: dict[str, Any]) -> dict[str, Any]:
    lists: dict[str, Any] = {"stringListValues": [], "binaryListValues": []}
    return {name[0].lower() + name[1:]: item for name, item in value.items()} | lists
