"""The points where the owner of a cloud can take part in its work: to inject faults, or to control time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from threading import Semaphore
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sandbox.aws.runtime import Function, Invocation

Environ = dict[str, Any]
App = Callable[[Environ, Any], Iterable[bytes]]


class Hooks:
    """What a cloud calls while it works. Override what you need; by default, nothing changes.

    The cloud calls these methods from many threads.
    """

    def patch(self, account: str, region: str) -> AbstractContextManager[None]:  # noqa: ARG002  # for overriding
        """A context that is entered after moto is patched, before the stack is created, and left on close."""
        return nullcontext()

    def wrap(self, app: App) -> App:
        """The WSGI application that authorized requests go to; `app` is moto's.

        A role's request carries `sandbox.call` in its environ: the service, the operation, and its permissions.
        """
        return app

    def publish(self, send: Callable[[], None]) -> None:
        """Publish an event of S3 to EventBridge by calling `send`."""
        send()

    def polling(self) -> AbstractContextManager[None]:
        """A context that an event source holds from before it receives a batch until the batch is handled."""
        return nullcontext()

    def limit(self, count: int) -> AbstractContextManager[Any]:
        """A context that at most `count` invocations of a function hold at a time; entering it waits."""
        return Semaphore(count)

    def now(self) -> float:
        """The time that deadlines of invocations are computed from, in seconds since the epoch."""
        return time.time()

    def configure(self, function: Function) -> Function:
        """The function to run in place of `function`."""
        return function

    def started(self, function: Function, invocation: Invocation) -> None:
        """Called before an invocation is handed to its process."""

    def ended(self, invocation: Invocation) -> None:
        """Called after an invocation, however it ended, before its outcome is returned."""
