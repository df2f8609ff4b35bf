"""Items in groups, because AWS accepts a limited number in one call."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def batches(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most `size`. Python 3.12 has this as `itertools.batched`."""
    left = iter(items)
    while batch := list(islice(left, size)):
        yield batch
