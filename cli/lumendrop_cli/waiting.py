"""Waiting for what goes on in the stack, with an end."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

_LOOK_SECONDS = 1.0

T = TypeVar("T")


def until(look: Callable[[], T | None], seconds: float) -> T | None:
    """What `look` gives once that is not None; None when the time is over. Looks once a second."""
    deadline = time.monotonic() + seconds
    while (found := look()) is None and time.monotonic() < deadline:
        time.sleep(_LOOK_SECONDS)
    return found
