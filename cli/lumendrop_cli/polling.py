"""Polling, with a timeout."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

INTERVAL_SECONDS = 1.0

T = TypeVar("T")


def poll_until(poll: Callable[[], T | None], seconds: float) -> T | None:
    """Polls until the result is not None, and returns it. Returns None after the timeout."""
    deadline = time.monotonic() + seconds
    while (result := poll()) is None and time.monotonic() < deadline:
        time.sleep(INTERVAL_SECONDS)
    return result
