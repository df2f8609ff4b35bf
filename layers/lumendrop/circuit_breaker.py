"""A breaker: while the account is in trouble, a warm function doesn't ask again and again."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

_FIRST_SECONDS = 2
_LONGEST_SECONDS = 60


class CircuitBreaker:
    """Remembers trouble in one warm function. Open, it answers for the enhancer; then one call goes through as a probe.

    Nothing is lost with the memory: a cold function asks once and knows.
    """

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._until = 0.0
        self._failures = 0
        self._reason = ("", "")

    def open_reason(self) -> tuple[str, str] | None:
        """A code and a sentence about the trouble while the breaker is open, else None."""
        return self._reason if self._now() < self._until else None

    def open(self, code: str, message: str, seconds: float | None = None) -> None:
        """Opens for `seconds`, or for a time that grows with each failed probe: 2 seconds to a minute, jittered."""
        self._failures += 1
        if seconds is None:
            grown = min(_LONGEST_SECONDS, _FIRST_SECONDS * 2 ** min(self._failures - 1, 10))
            seconds = grown * random.uniform(0.5, 1)  # noqa: S311  # jitter, no secret
        self._until = self._now() + max(seconds, 1)
        self._reason = (code, message)

    def close(self) -> None:
        """The enhancer answered, and not with trouble."""
        self._until = 0.0
        self._failures = 0
