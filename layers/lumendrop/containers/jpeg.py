"""JPEG: segments. Source: ITU T.81, annex B."""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from lumendrop.containers.image import Image, malformed, truncated, unsupported
from lumendrop.containers.readers import EndsReader, Reader, Unseen, exactly
from lumendrop.images import JPEG

SOI, EOI, SOS, APP2 = 0xD8, 0xD9, 0xDA, 0xE2
_FRAMES = frozenset([0xC0, 0xC1, 0xC2, 0xC9, 0xCA])
# Lossless, differential, and hierarchical frames, and JPEG-LS.
_UNSUPPORTED_FRAMES = frozenset([0xC3, 0xC5, 0xC6, 0xC7, 0xCB, 0xCD, 0xCE, 0xCF, 0xF7])
# In entropy-coded data, 0xFF is followed by 0x00 or a restart marker. 0xFF may be repeated before a marker.
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd7\xff]")
_SCAN_BYTES = 1 << 16
_MOST_SEGMENTS = 100_000


class Segment(msgspec.Struct, frozen=True):
    """`at` is the offset of the marker, `data_at` and `length` say where the segment's data is."""

    marker: int
    at: int
    data_at: int
    length: int

    @property
    def end(self) -> int:
        return self.data_at + self.length


def segments(reader: Reader) -> Iterator[Segment]:
    """The segments after SOI up to EOI, which is the last. Raises Broken and Unseen."""
    at = 2
    for _ in range(_MOST_SEGMENTS):
        at = _find_marker(reader, at)
        marker = exactly(reader, at + 1, 1)[0]
        if marker == EOI:
            yield Segment(marker, at, at + 2, 0)
            return
        if marker == SOI:
            raise malformed("an image starts inside another")
        length = int.from_bytes(exactly(reader, at + 2, 2), "big")
        if length < 2:
            raise malformed("a segment is shorter than its own length")
        segment = Segment(marker, at, at + 4, length - 2)
        if segment.end > reader.size:
            raise truncated()
        yield segment
        at = segment.end
    raise malformed("it has too many segments")


def _find_marker(reader: Reader, at: int) -> int:
    """The offset of the next marker from `at`. Raises Broken if the file ends before it, and Unseen."""
    while at < reader.size:
        window = reader.read(at, _SCAN_BYTES)
        if found := _MARKER.search(window):
            return at + found.start()
        may_start_one = window[-1] == 0xFF and len(window) > 1
        at += len(window) - may_start_one
    raise truncated()


def examine(reader: Reader) -> Image:
    """Raises Broken."""
    width = height = None
    scans, several = 0, False
    try:
        for segment in segments(reader):
            if segment.marker in _UNSUPPORTED_FRAMES:
                raise unsupported("a lossless, hierarchical, or JPEG-LS image")
            if segment.marker in _FRAMES and width is None:
                height, width = _dimensions(reader, segment)
            if segment.marker == APP2 and segment.length >= 4 and exactly(reader, segment.data_at, 4) == b"MPF\0":
                several = True
            if segment.marker == SOS:
                scans += 1
                if width is None:
                    raise malformed("its data starts before its dimensions")
    except Unseen:
        if scans and _ends_in_a_scan(reader):
            raise truncated() from None
    else:
        if not scans:
            raise malformed("it has no image data")
    return Image(JPEG, width, height, "several" if several else "one")


def _dimensions(reader: Reader, segment: Segment) -> tuple[int, int]:
    if segment.length < 6:
        raise malformed("its frame header is too short")
    data = exactly(reader, segment.data_at, 5)
    height, width = int.from_bytes(data[1:3], "big"), int.from_bytes(data[3:5], "big")
    if not width or not height:
        raise malformed("its width or height is 0")
    return height, width


def _ends_in_a_scan(reader: Reader) -> bool:
    """Whether the end of the file is entropy-coded data without a marker, so that EOI is missing.

    Anything may follow EOI: a movie, another picture, an editor's data. Such bytes almost always look like a marker.
    """
    return isinstance(reader, EndsReader) and bool(reader.tail) and not _MARKER.search(reader.tail)
