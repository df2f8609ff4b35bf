"""Metadata chunks of WebP: EXIF and XMP, which only the extended format (VP8X) has. Source: RFC 9649."""

from __future__ import annotations

from lumendrop.containers.image import Image
from lumendrop.containers.readers import Reader, exactly
from lumendrop.containers.webp import Chunk, chunks, riff_end
from lumendrop.metadata.blocks import MOST_BLOCK_BYTES, Blocks, Kind, LeftOut, strip_exif_header
from lumendrop.metadata.spliced import Piece, without

_ALPHA, _EXIF, _XMP = 0x10, 0x08, 0x04
_LOSSLESS_ALPHA = 1 << 28  # of the 32 bits after the signature
_HEADER_BYTES = 12
_KINDS: dict[bytes, Kind] = {b"EXIF": "exif", b"XMP ": "xmp"}
_REPLACED = (b"EXIF", b"XMP ", b"VP8X")


def read(reader: Reader) -> Blocks:
    """Raises Broken."""
    found = Blocks()
    for chunk in chunks(reader):
        kind = _KINDS.get(chunk.type)
        if kind and chunk.length > MOST_BLOCK_BYTES:
            found.left_out.append(LeftOut(kind, f"it has {chunk.length} bytes"))
        elif kind and chunk.length and found.has_room(kind):
            data = exactly(reader, chunk.data_at, chunk.length)
            found.add(kind, strip_exif_header(data) if kind == "exif" else data)
        found.has_icc |= chunk.type == b"ICCP"
        found.is_signed |= chunk.type == b"C2PA"
    return found


def write(reader: Reader, image: Image, exif: bytes, packet: bytes) -> list[Piece]:
    """The file with these blocks instead of its own, at the end, as the format requires. Raises Broken."""
    found = list(chunks(reader))
    first, last = found[0], found[-1]
    end = min(riff_end(reader), last.end)
    drop = [(one.at, min(one.end, end)) for one in found if one.type in _REPLACED]
    flags = (_EXIF if exif else 0) | (_XMP if packet else 0)
    header = _extended(reader, first, image, flags)
    body = list(without(drop, _HEADER_BYTES, end))
    padding = b"" if last.type in _REPLACED else bytes(last.end - end)  # which some writers leave out
    added = padding + _chunk(b"EXIF", exif) + _chunk(b"XMP ", packet)
    size = 4 + len(header) + sum(one.end - one.start for one in body) + len(added)
    return [b"RIFF" + size.to_bytes(4, "little") + b"WEBP" + header, *body, added]


def _extended(reader: Reader, first: Chunk, image: Image, flags: int) -> bytes:
    """The VP8X chunk: that of the file with other flags, or a new one."""
    if first.type == b"VP8X":
        data = bytearray(exactly(reader, first.data_at, first.length))
        data[0] = data[0] & ~(_EXIF | _XMP) | flags
        return _chunk(b"VP8X", bytes(data))
    if first.type == b"VP8L":
        bits = int.from_bytes(exactly(reader, first.data_at + 1, 4), "little")
        flags |= _ALPHA if bits & _LOSSLESS_ALPHA else 0
    width, height = (image.width or 1) - 1, (image.height or 1) - 1
    return _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + width.to_bytes(3, "little") + height.to_bytes(3, "little"))


def _chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk, b"" if it would be empty."""
    return kind + len(data).to_bytes(4, "little") + data + bytes(len(data) % 2) if data else b""
