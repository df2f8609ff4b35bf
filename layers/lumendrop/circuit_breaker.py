"""A circuit breaker: after an account error, a warm function stops calling the enhancer for a while."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

_FIRST_SECONDS = 2
_LONGEST_SECONDS = 60


class CircuitBreaker:
    """Remembers the last error in one warm function. When it closes after a while, the next call is a probe.

    The state is not shared: a cold function makes one call and knows.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = 0.0
        self._failures = 0
        self._reason = ("", "")

    def open_reason(self) -> tuple[str, str] | None:
        """The code and the message of the error while the breaker is open, otherwise None."""
        return self._reason if self._now() < self._until else None

    def open(self, code: str, message: str, seconds: float | None = None) -> None:
        """Opens for `seconds`, or for 2 to 60 seconds, which grow with each failed probe and are jittered."""
        self._failures += 1
        if seconds is None:
            grown = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** min(self._failures - 1, 10))
            seconds = grown * random.uniform(0.5, 1)  # noqa: S311  # jitter, no secret
        self._until = self._now() + max(seconds, 1)
        self._reason = (code, message)

    def close(self) -> None:
        """Closes, because the enhancer answered without an account error."""
        self._until = 0.0
        self._failures = 0
