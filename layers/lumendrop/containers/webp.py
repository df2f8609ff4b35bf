"""WebP: RIFF chunks. Source: RFC 9649."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from lumendrop.containers.image import Image, malformed, truncated
from lumendrop.containers.readers import Reader, Unseen, exactly
from lumendrop.images import WEBP

_FIRST = (b"VP8 ", b"VP8L", b"VP8X")
_IMAGE_DATA = (b"VP8 ", b"VP8L", b"ANMF")
_ANIMATION_FLAG = 0x02
_MOST_CHUNKS = 1_000_000


class Chunk(msgspec.Struct, frozen=True):
    """`at` is the offset of the chunk, `data_at` and `length` say where its data is; odd lengths are padded."""

    type: bytes
    at: int
    length: int

    @property
    def data_at(self) -> int:
        return self.at + 8

    @property
    def end(self) -> int:
        return self.at + 8 + self.length + self.length % 2


def riff_end(reader: Reader) -> int:
    """The offset at which the RIFF container ends. Raises Broken."""
    end = 8 + int.from_bytes(exactly(reader, 4, 4), "little")
    if end > reader.size:
        raise truncated()
    return end


def chunks(reader: Reader) -> Iterator[Chunk]:
    """The chunks of the RIFF container. Raises Broken and Unseen."""
    at, end = 12, riff_end(reader)
    for _ in range(_MOST_CHUNKS):
        if at + 8 > end:
            return
        head = exactly(reader, at, 8)
        chunk = Chunk(head[:4], at, int.from_bytes(head[4:], "little"))
        if chunk.data_at + chunk.length > end:
            raise malformed("a chunk is longer than the file says it is")
        yield chunk
        at = chunk.end
    raise malformed("it has too many chunks")


def examine(reader: Reader) -> Image:
    """Raises Broken."""
    parts = chunks(reader)
    first = next(parts, None)
    if first is None or first.type not in _FIRST:
        raise malformed("its first chunk is not image data")
    width, height = _dimensions(reader, first)
    animated = first.type == b"VP8X" and bool(exactly(reader, first.data_at, 1)[0] & _ANIMATION_FLAG)
    has_data = first.type in _IMAGE_DATA
    try:
        for chunk in parts:
            has_data |= chunk.type in _IMAGE_DATA
    except Unseen:
        has_data = True  # perhaps: the container has all its bytes, so nothing rules it out
    if not has_data:
        raise malformed("it has no image data")
    return Image(WEBP, width, height, "animation" if animated else "one")


def _dimensions(reader: Reader, chunk: Chunk) -> tuple[int, int]:
    data = exactly(reader, chunk.data_at, min(chunk.length, 10))
    if chunk.type == b"VP8 " and len(data) >= 10 and data[3:6] == b"\x9d\x01\x2a":
        width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    elif chunk.type == b"VP8L" and len(data) >= 5 and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    elif chunk.type == b"VP8X" and len(data) >= 10:
        width, height = (int.from_bytes(data[at : at + 3], "little") + 1 for at in (4, 7))
    else:
        raise malformed("its header is not one of WebP")
    if not width or not height:
        raise malformed("its width or height is 0")
    return width, height
