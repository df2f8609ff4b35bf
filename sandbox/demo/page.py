"""The demo's page: before and after under a slider, in a single file that makes no network requests."""

import base64
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jinja2
import pyvips

from sandbox.demo.images import Comparison, luminance

PAGE = "index.html"
PAGE_BYTES = 14_000_000  # limit for the embedded pictures, as base64
LARGEST_SIDE, SMALLEST_SIDE = 1600, 640  # pixels
DETAIL_SIDE = 400  # pixels of the result
COARSE_SIDE = 96  # pixels; a rough position of the detail is enough

Box = tuple[int, int, int, int]  # left, top, width, height in pixels


@dataclass(frozen=True)
class Outcome:
    """The outcome of one upload. The paths of `result` and `report` are below the page's folder."""

    key: str
    state: str
    original: Path
    seconds: float = 0.0
    polls: int = 0
    result: Path | None = None
    report: Path | None = None
    reason: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    comparison: Comparison | None = None
    kept: dict[str, str] = field(default_factory=dict)
    """What the result has of the photo's metadata."""


@dataclass(frozen=True)
class Pair:
    """The same view before and after as data URIs, and its size."""

    before: str
    after: str
    width: int
    height: int


@dataclass(frozen=True)
class Figure:
    """One photo on the page, without views if the page is full or the photo can't be decoded."""

    outcome: Outcome
    whole: Pair | None = None
    detail: Pair | None = None
    link: str = ""


class Writer:
    """Collects the figures of a page in `folder`, and writes it.

    It keeps only encoded pictures, so that a page with many photos needs little memory.
    """

    def __init__(self, folder: Path, expected: int) -> None:
        self.folder = folder
        # Each of a photo's two views takes about 0.35 bytes per pixel. Many photos get fewer pixels each.
        side = int((PAGE_BYTES / max(expected, 1) / 0.7) ** 0.5)
        self.side = max(SMALLEST_SIDE, min(LARGEST_SIDE, side))
        self.figures: list[Figure] = []
        self.bytes = 0

    def add(self, outcome: Outcome, before: pyvips.Image | None = None, after: pyvips.Image | None = None) -> None:
        """Add a photo; without `before` and `after`, only a caption and a link."""
        link = _link(outcome.result or outcome.report, self.folder)
        if before is None or after is None or self.bytes > PAGE_BYTES:
            self.figures.append(Figure(outcome, link=link))
            return
        whole, detail = whole_view(before, after, self.side), detail_view(before, after)
        self.bytes += sum(len(pair.before) + len(pair.after) for pair in (whole, detail) if pair)
        self.figures.append(Figure(outcome, whole, detail, link))

    def write(self) -> Path:
        """Write `index.html` to the folder and return its path."""
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(Path(__file__).parent),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        environment.filters["size"] = size_text
        page = self.folder / PAGE
        pictures_first = sorted(self.figures, key=lambda figure: figure.whole is None)
        html = environment.get_template("page.html.j2").render(
            figures=pictures_first, **_summary([figure.outcome for figure in self.figures])
        )
        page.write_text(html, encoding="utf-8")
        return page


def size_text(size: tuple[int, int]) -> str:
    """Width and height with a multiplication sign."""
    return f"{size[0]}\N{MULTIPLICATION SIGN}{size[1]}"


def _summary(outcomes: Sequence[Outcome]) -> dict[str, object]:
    states = sorted(outcome.state for outcome in outcomes)
    return {"count": len(outcomes), "states": {state: len(list(same)) for state, same in groupby(states)}}


def _link(path: Path | None, folder: Path) -> str:
    # With "./", a name such as "javascript:x.jpg" is a path.
    return "./" + quote(path.relative_to(folder).as_posix()) if path else ""


def whole_view(before: pyvips.Image, after: pyvips.Image, side: int) -> Pair:
    """The whole photo, both pictures at most `side` pixels long. A smaller `before` is not enlarged."""
    shown = _at_most(after, side)
    return Pair(_data_uri(_at_most(before, side)), _data_uri(shown), shown.width, shown.height)


def detail_view(before: pyvips.Image, after: pyvips.Image) -> Pair | None:
    """The most detailed part of the photo, 400 pixels of the result on the long side, at full size.

    `None` if the result is not much larger than that.
    """
    if max(after.width, after.height) < 1.5 * DETAIL_SIDE:
        return None
    # Chosen in `before`, because only whole pixels of the smaller picture are at the same place in both.
    share = DETAIL_SIDE / max(after.width, after.height)
    left, top, width, height = most_detailed(before, share)
    across, down = after.width / before.width, after.height / before.height
    box = (round(left * across), round(top * down), round(width * across), round(height * down))
    cut = after.crop(*_inside(box, after))
    return Pair(_data_uri(before.crop(left, top, width, height)), _data_uri(cut), cut.width, cut.height)


def most_detailed(image: pyvips.Image, share: float) -> Box:
    """The part of `image`, `share` of its width and height, with the most edges in it."""
    width, height = max(1, round(image.width * share)), max(1, round(image.height * share))
    edges = luminance(image).sobel()
    scale = min(1.0, COARSE_SIDE / max(image.width, image.height))
    small = edges.resize(scale, kernel="linear")
    window = pyvips.Image.black(max(1, round(width * scale)), max(1, round(height * scale))) + 1
    _, x, y = small.cast("float").conv(window, precision="float").maxpos()
    box = (round(x / scale - width / 2), round(y / scale - height / 2), width, height)
    return _inside(box, image)


def _inside(box: Box, image: pyvips.Image) -> Box:
    left, top, width, height = box
    width, height = min(width, image.width), min(height, image.height)
    return max(0, min(left, image.width - width)), max(0, min(top, image.height - height)), width, height


def _at_most(image: pyvips.Image, side: int) -> pyvips.Image:
    return image.thumbnail_image(side, height=side, size="down")


def _data_uri(image: pyvips.Image) -> str:
    webp = image.webpsave_buffer(Q=90, smart_subsample=True, keep="none")
    return "data:image/webp;base64," + base64.b64encode(webp).decode("ascii")
