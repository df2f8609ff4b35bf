"""The messages of a queue, indexed: the time of a request does not grow with the number of messages that wait."""

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from moto.sqs import models
from moto.sqs.models import Message, Queue


class Messages:
    """Replaces moto's list of messages. `available` yields those that can be received, the first sent first.

    A message is in `_ready` when it may be available, and in `_later`, ordered by time, when it becomes available
    later. An entry of `_later` counts only while its time is the message's. Not thread-safe: hold the queue's lock.
    """

    def __init__(self, messages: Iterable[Message] = ()) -> None:
        self._all: dict[str, Message] = {}
        self._by_handle: dict[str, Message] = {}
        self._ready: OrderedDict[str, Message] = OrderedDict()
        self._later: list[tuple[float, int, Message]] = []
        self._order = count()
        for message in messages:
            self.append(message)

    def __iter__(self) -> Iterator[Message]:
        return iter(list(self._all.values()))

    def __len__(self) -> int:
        return len(self._all)

    def append(self, message: Message) -> None:
        """Add a message."""
        self._all[message.id] = message
        self.update(message)

    def remove(self, message: Message) -> None:
        """Remove a message. Raises KeyError if it is not here."""
        del self._all[message.id]
        self._ready.pop(message.id, None)
        for handle in message.all_receipt_handles:
            self._by_handle.pop(handle or "", None)

    def find(self, receipt_handle: str) -> Message | None:
        """The message that has, or had, a receipt handle."""
        return self._by_handle.get(receipt_handle)

    def update(self, message: Message) -> None:
        """Note that a message has another time or another receipt handle."""
        if message.receipt_handle:
            self._by_handle[message.receipt_handle] = message
        if _is_available(message):
            self._ready[message.id] = message
        else:
            self._ready.pop(message.id, None)
            heapq.heappush(self._later, (_time(message), next(self._order), message))

    def next_time(self) -> float | None:
        """When the next message is available, in milliseconds since the epoch; None without messages."""
        if next(self.available(), None):
            return _now()
        while self._later and not self._counts(self._later[0]):
            heapq.heappop(self._later)
        return self._later[0][0] if self._later else None

    def available(self) -> Iterator[Message]:
        """The messages that can be received. A consumer may change the one that it was given last."""
        self._move_due()
        given: list[Message] = []
        try:
            while self._ready:
                _, message = self._ready.popitem(last=False)
                given.append(message)
                if _is_available(message):
                    yield message
        finally:
            for message in reversed(given):
                if message.id in self._all:
                    self.update(message)
                if message.id in self._ready:
                    self._ready.move_to_end(message.id, last=False)

    def _move_due(self) -> None:
        now = _now()
        while self._later and self._later[0][0] < now:
            entry = heapq.heappop(self._later)
            if self._counts(entry):
                self._ready[entry[2].id] = entry[2]

    def _counts(self, entry: tuple[float, int, Message]) -> bool:
        time, _, message = entry
        return self._all.get(message.id) is message and time == _time(message)


class AvailableMessages:
    """What moto's `Queue.messages` is: a list of the messages that can be received, but not made before it is read."""

    def __init__(self, queue: Queue) -> None:
        self._queue = queue

    def __iter__(self) -> Iterator[Message]:
        with self._queue._messages_lock:
            yield from messages_of(self._queue).available()

    def __bool__(self) -> bool:
        return next(iter(self), None) is not None

    def __len__(self) -> int:
        with self._queue._messages_lock:
            return sum(map(_is_available, messages_of(self._queue)))


def messages_of(queue: Queue) -> Messages:
    """The messages of a queue of a cloud."""
    messages = queue._messages
    assert isinstance(messages, Messages)  # noqa: S101  # `sqs` has patched it
    return messages


def _now() -> float:
    """Milliseconds since the epoch, as moto's messages see them."""
    clock: Any = models
    return float(clock.unix_time_millis())


def _time(message: Message) -> float:
    return max(message.visible_at, message.delayed_until)


def _is_available(message: Message) -> bool:
    return message.visible and not message.delayed
