"""Width and height of uploads and results."""

from __future__ import annotations

from typing import Literal

from lumendrop.options import Resolution
from lumendrop.outcomes import Rejected

LargerThanResult = Literal["enhance", "reject"]
LONG_SIDE: dict[Resolution, int] = {"1K": 1024, "4K": 4096}
"""The longer side of a result in pixels, at most."""

_TOLERANCE = 0.01  # models round sides, to multiples of 16 for example


def parse(pixels: str | None) -> tuple[int, int] | None:
    """Width and height of a text as in `4032x3024`."""
    width, _, height = (pixels or "").partition("x")
    return (int(width), int(height)) if width.isdecimal() and height.isdecimal() else None


def is_smaller(upload: str | None, result: str | None) -> bool:
    """Whether a result has fewer pixels than its upload. False if either is unknown."""
    before, after = parse(upload), parse(result)
    return before is not None and after is not None and after[0] * after[1] < before[0] * before[1]


def has_other_ratio(upload: str | None, result: str | None, *, swapped: bool | None) -> bool:
    """Whether a result has another aspect ratio than its upload as it is shown, beyond rounding.

    `swapped` is whether the upload is shown with its sides exchanged. If that is None, both are allowed.
    """
    before, after = parse(upload), parse(result)
    if before is None or after is None or not all(before + after):
        return False
    ways = {False: [before], True: [before[::-1]], None: [before, before[::-1]]}[swapped]
    return not any(_is_same_ratio(one, after) for one in ways)


def _is_same_ratio(before: tuple[int, ...], after: tuple[int, int]) -> bool:
    """Within a hundredth, or one pixel of the shorter side of a long and narrow picture."""
    expected = after[0] * before[1] / before[0]
    return abs(expected - after[1]) <= max(1, _TOLERANCE * after[1])


def check_size(upload: str | None, resolution: Resolution, policy: LargerThanResult) -> None:
    """Raises Rejected if a result would be smaller than its upload, and the owner does not want to pay for that."""
    found = parse(upload)
    most = LONG_SIDE[resolution]
    if policy == "enhance" or found is None or max(found) <= most:
        return
    smaller = "x".join(str(max(1, round(side * most / max(found)))) for side in found)
    raise Rejected("larger_than_result", upload=upload, resolution=resolution, result=smaller)
