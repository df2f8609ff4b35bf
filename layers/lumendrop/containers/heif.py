"""HEIC and HEIF: boxes and items. Sources: ISO/IEC 14496-12 (boxes), ISO/IEC 23008-12 (items and their properties)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import msgspec

from lumendrop.containers.image import Broken, Image, malformed, truncated
from lumendrop.containers.readers import Reader, Unseen, exactly
from lumendrop.images import HEIC

_MOST_BOXES = 10_000
_MOST_META_BYTES = 4 << 20
_SEQUENCES = (b"hevc", b"hevx", b"msf1")


class Box(msgspec.Struct, frozen=True):
    """`at` is the offset of the box; its data is from `data_at` to `end`."""

    type: bytes
    at: int
    data_at: int
    end: int


def boxes(reader: Reader, at: int, end: int) -> Iterator[Box]:
    """The boxes from offset `at` to `end`. Raises Broken if one ends after `end`, and Unseen."""
    for _ in range(_MOST_BOXES):
        if at >= end:
            return
        if at + 8 > end:
            raise truncated()
        head = exactly(reader, at, 8)
        size, data_at = int.from_bytes(head[:4], "big"), at + 8
        if size == 1:
            size, data_at = int.from_bytes(exactly(reader, at + 8, 8), "big"), at + 16
        box = Box(head[4:], at, data_at, at + size if size else end)
        if box.end < box.data_at:
            raise malformed("a box is shorter than its own header")
        if box.end > end:
            raise truncated()
        yield box
        at = box.end
    raise malformed("it has too many boxes")


def examine(reader: Reader) -> Image:
    """Raises Broken."""
    sequence = exactly(reader, 8, 4) in _SEQUENCES
    pictures: Literal["one", "animation"] = "animation" if sequence else "one"
    meta, has_image, cut = None, False, None
    try:
        for box in boxes(reader, 0, reader.size):
            meta = meta or (box if box.type == b"meta" else None)
            has_image |= box.type in (b"moov", b"mini")
    except Unseen:
        has_image = True  # perhaps: a box that was not read may be one
    except Broken as error:
        cut = error
    if meta is None or sequence:
        if cut or not (meta or has_image):
            raise cut or malformed("it has no image")
        return Image(HEIC, pictures=pictures)
    dimensions = _primary_dimensions(reader, meta)
    if cut and not dimensions:
        raise cut
    # Without a doubt about the data of any item, what ends too early is something else that follows the image.
    return Image(HEIC, *(dimensions or (None, None)), pictures)


def _primary_dimensions(reader: Reader, meta: Box) -> tuple[int | None, int | None] | None:
    """Width and height of the primary item, None for both if they are not stated. Returns None if too little was read.

    Raises Broken if the data of an item is not within the file.
    """
    if meta.end - meta.at > _MOST_META_BYTES:
        return None
    try:
        parts = {box.type: box for box in boxes(reader, meta.data_at + 4, meta.end)}
        if b"pitm" not in parts or b"iloc" not in parts:
            raise malformed("it has no primary image")
        primary = primary_item(reader, parts[b"pitm"])
        _check_extents(reader, parts[b"iloc"], primary)
        return _dimensions(reader, parts.get(b"iprp"), primary)
    except Unseen:
        return None


class Fields:
    """Reads the numbers of a box one after the other. Raises Broken after the box's end, and Unseen."""

    def __init__(self, reader: Reader, box: Box) -> None:
        self._start = box.data_at
        self._data = exactly(reader, box.data_at, box.end - box.data_at)
        self._at = 0

    @property
    def at(self) -> int:
        """The offset of the next number in the file."""
        return self._start + self._at

    def number(self, count: int) -> int:
        if self._at + count > len(self._data):
            raise malformed("a box ends before its fields")
        self._at += count
        return int.from_bytes(self._data[self._at - count : self._at], "big")


def primary_item(reader: Reader, box: Box) -> int:
    """The ID of the image that is shown."""
    fields = Fields(reader, box)
    version = fields.number(4) >> 24
    return fields.number(4 if version else 2)


class Extent(msgspec.Struct, frozen=True):
    """A part of an item's data, from `start` to `end`: of the file (`method` 0), or of the item data box (1)."""

    item: int
    method: int
    is_external: bool
    start: int
    end: int


def extents(reader: Reader, box: Box) -> Iterator[Extent]:
    """Where the data of each item is, according to an `iloc` box. An item without extents has an empty one."""
    fields = Fields(reader, box)
    version = fields.number(4) >> 24
    sizes = fields.number(2)
    offset_size, length_size, base_size, index_size = (sizes >> shift & 0xF for shift in (12, 8, 4, 0))
    wide = 4 if version == 2 else 2
    for _ in range(fields.number(wide)):
        item = fields.number(wide)
        method = fields.number(2) & 0xF if version else 0
        is_external = fields.number(2) != 0
        base = fields.number(base_size)
        count = fields.number(2)
        if not offset_size + length_size:  # one extent, the whole file; a loop over them would read nothing
            count = 0
        for _ in range(count):
            fields.number(index_size if version else 0)
            start = base + fields.number(offset_size)
            yield Extent(item, method, is_external, start, start + fields.number(length_size))
        if not count:
            yield Extent(item, method, is_external, 0, 0)


def _check_extents(reader: Reader, box: Box, primary: int) -> None:
    """Raises Broken if the data of an item is not within the file, or the primary item has none."""
    found = False
    for one in extents(reader, box):
        if one.method == 0 and not one.is_external and one.end > reader.size:
            raise truncated()
        found |= one.item == primary
    if not found:
        raise malformed("its primary image has no data")


def _dimensions(reader: Reader, box: Box | None, primary: int) -> tuple[int | None, int | None]:
    if box is None:
        return None, None
    found = {one.type: one for one in properties(reader, box, primary)}
    if b"clap" in found:  # the clean aperture: what remains once the encoder's padding is cut off
        fields = Fields(reader, found[b"clap"])
        width, width_divisor, height, height_divisor = (fields.number(4) for _ in range(4))
        return width // (width_divisor or 1), height // (height_divisor or 1)
    if b"ispe" in found:
        fields = Fields(reader, found[b"ispe"])
        fields.number(4)
        return fields.number(4), fields.number(4)
    return None, None


def properties(reader: Reader, box: Box, primary: int) -> Iterator[Box]:
    """The primary item's properties, according to an `iprp` box."""
    parts = list(boxes(reader, box.data_at, box.end))
    every = [one for part in parts if part.type == b"ipco" for one in boxes(reader, part.data_at, part.end)]
    for index in (index for part in parts if part.type == b"ipma" for index in _associated(reader, part, primary)):
        yield from every[index - 1 : index]


def _associated(reader: Reader, box: Box, primary: int) -> list[int]:
    """The indexes of the primary item's properties, from 1."""
    fields = Fields(reader, box)
    version_and_flags = fields.number(4)
    wide = version_and_flags & 1
    for _ in range(fields.number(4)):
        item = fields.number(4 if version_and_flags >> 24 else 2)
        found = [fields.number(2) & 0x7FFF if wide else fields.number(1) & 0x7F for _ in range(fields.number(1))]
        if item == primary:
            return found
    return []
