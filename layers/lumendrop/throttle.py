"""Decides when `submit` may call the enhancer: not after an account error, and not faster than the vendor accepts."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from lumendrop.upload_queue import Deferred

if TYPE_CHECKING:
    from lumendrop.circuit_breaker import CircuitBreaker
    from lumendrop.enhancer import Unavailable
    from lumendrop.rate_limiter import RateLimiter

RETRY_SECONDS = 1
"""The pause after a refusal without Retry-After."""


class Throttle:
    """The circuit breaker of one warm function, and the rate limiter that all of them share.

    `probe` sends the enhancer a request that costs nothing, and raises Unavailable.
    """

    def __init__(self, breaker: CircuitBreaker, limiter: RateLimiter, probe: Callable[[], None]) -> None:
        self._breaker = breaker
        self._limiter = limiter
        self._probe = probe

    def wait(self, deadline: float) -> None:
        """Waits until this function may send. Raises Deferred if it may not by `deadline`.

        In an outage, a photo follows only if a request that costs nothing succeeded.
        """
        if reason := self._breaker.open_reason():
            raise Deferred(*reason)
        if not self._limiter.wait(deadline):
            raise Deferred("pace", "uploads arrive faster than the enhancer accepts tasks, or it is unavailable")
        if self._limiter.must_probe:
            self._probe()

    def on_send(self) -> None:
        """Must be called immediately before each send."""
        self._limiter.on_send()

    def on_accepted(self) -> None:
        """The enhancer created a task."""
        self._breaker.close()
        self._limiter.on_accepted()

    def on_refused(self) -> None:
        """The enhancer refused the photo, so neither the account nor the rate is a problem."""
        self._breaker.close()
        self._limiter.on_accepted()

    def on_ambiguous(self) -> None:
        """It is unknown whether a task was created: the enhancer is in trouble, so all functions pause."""
        self._limiter.on_throttled(0, too_fast=False, ambiguous=True)

    def defer(self, error: Unavailable) -> Deferred:
        """Stops or slows down the next calls, which would fail for the same reason."""
        if error.account:
            self._breaker.open(error.code, error.message, error.retry_after)
            self._limiter.on_unused()
        else:
            seconds = error.retry_after or (RETRY_SECONDS if error.too_fast else 0)
            self._limiter.on_throttled(seconds, too_fast=error.too_fast)
        return Deferred(error.code, error.message, error.retry_after, transient=not error.account)

    def stop(self, reason: str, message: str) -> Deferred:
        """Stops the next calls for a while."""
        self._breaker.open(reason, message)
        self._limiter.on_unused()
        return Deferred(reason, message)
