"""PNG: chunks. Source: the PNG specification, third edition."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator

import msgspec

from lumendrop.containers.image import Image, malformed, truncated, unsupported
from lumendrop.containers.readers import EndsReader, Reader, Unseen, exactly
from lumendrop.images import PNG

_TYPE = re.compile(rb"[A-Za-z]{4}")
_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"
_MOST_NUMBER = 0x7FFF_FFFF
_MOST_CHUNKS = 1_000_000


class Chunk(msgspec.Struct, frozen=True):
    """`at` is the offset of the chunk, `data_at` and `length` say where its data is; a CRC of 4 bytes follows."""

    type: bytes
    at: int
    length: int

    @property
    def data_at(self) -> int:
        return self.at + 8

    @property
    def end(self) -> int:
        return self.at + 12 + self.length


def chunks(reader: Reader) -> Iterator[Chunk]:
    """The chunks up to IEND, which is the last. Raises Broken and Unseen."""
    at = 8
    for _ in range(_MOST_CHUNKS):
        head = exactly(reader, at, 8)
        chunk = Chunk(head[4:], at, int.from_bytes(head[:4], "big"))
        if not _TYPE.fullmatch(chunk.type) or chunk.length > _MOST_NUMBER:
            raise malformed("a chunk has no valid type or length")
        if chunk.end > reader.size:
            raise truncated()
        yield chunk
        if chunk.type == b"IEND":
            return
        at = chunk.end
    raise malformed("it has too many chunks")


def examine(reader: Reader) -> Image:
    """Raises Broken."""
    parts = chunks(reader)
    first = next(parts)
    if first.type == b"CgBI":
        raise unsupported("a PNG in Apple's CgBI variant")
    width, height = _dimensions(reader, first)
    has_data = animated = False
    try:
        for chunk in parts:
            has_data |= chunk.type == b"IDAT"
            animated |= chunk.type == b"acTL"
    except Unseen:
        if isinstance(reader, EndsReader) and b"IDAT" in reader.tail and _END not in reader.tail:
            raise truncated() from None
    else:
        if not has_data:
            raise malformed("it has no image data")
    return Image(PNG, width, height, "animation" if animated else "one")


def _dimensions(reader: Reader, header: Chunk) -> tuple[int, int]:
    if header.type != b"IHDR" or header.length != 13:
        raise malformed("its first chunk is not IHDR")
    data = exactly(reader, header.at + 4, 21)
    if zlib.crc32(data[:17]) != int.from_bytes(data[17:], "big"):
        raise malformed("its header is damaged")
    width, height = int.from_bytes(data[4:8], "big"), int.from_bytes(data[8:12], "big")
    if not 0 < width <= _MOST_NUMBER or not 0 < height <= _MOST_NUMBER:
        raise malformed("its width or height is 0 or too large")
    return width, height
